// C = A·B for few rows of A, or a B too narrow for OpenBLAS's vectors: B is a packed panel, read
// once for every 6 rows. Each element is one chain of fused multiply-adds in the order of k, added
// to C at the end, which is what OpenBLAS's small-matrix kernels for AVX-512 compute too; so both
// give the same bits (x86-64-v4).

/// Vectors of columns and rows of A in registers at once; 24 sums where there are 32 registers.
#if CNL_WIDTH == 16 || defined(__aarch64__)
#define PRODUCT_VECTORS 4
#else
#define PRODUCT_VECTORS 2
#endif
enum { PRODUCT_ROWS = 6, PRODUCT_MANY_ROWS = 12 };

/// `R` rows times `V` vectors of columns, the last one `part` wide if that is not 0.
INLINE void product_block(
    const int R, const int V, float *c, long cRow, const float *a, long aRow, const float *b,
    long bRow, long depth, int accumulates, long part) {
  // Rows ask for enough arithmetic to stall behind memory unless the next lines are on their way.
  enum { AHEAD = 1024 };
  vf t[PRODUCT_MANY_ROWS][PRODUCT_VECTORS];
  UNROLL for (int r = 0; r < R; r++) {
    UNROLL for (int v = 0; v < V; v++) t[r][v] = splat(0);
  }
  for (long k = 0; k < depth; k++, a++, b += bRow) {
    vf f[PRODUCT_VECTORS];
    UNROLL for (int v = 0; v < V; v++) {
      f[v] = load_some(b + v * W, v == V - 1 ? part : 0);
      if (R > 1) __builtin_prefetch(b + v * W + AHEAD);
    }
    UNROLL for (int r = 0; r < R; r++) {
      const vf s = splat(a[r * aRow]);
      UNROLL for (int v = 0; v < V; v++) t[r][v] += s * f[v];
    }
  }
  UNROLL for (int r = 0; r < R; r++) {
    UNROLL for (int v = 0; v < V; v++) {
      float *to = c + r * cRow + v * W;
      const long some = v == V - 1 ? part : 0;
      store_some(to, accumulates ? load_some(to, some) + t[r][v] : t[r][v], some);
    }
  }
}

/// All rows of `V` vectors of columns.
INLINE void product_columns(
    const int V, float *c, long cRow, const float *a, long aRow, const float *b, long bRow,
    long rows, long depth, int accumulates, long part) {
  // Few vectors leave registers for more rows.
  if (2 * V <= PRODUCT_VECTORS) {
    enum { R = PRODUCT_MANY_ROWS };
    for (; rows >= R; rows -= R, c += R * cRow, a += R * aRow) {
      product_block(R, V, c, cRow, a, aRow, b, bRow, depth, accumulates, part);
    }
  }
  while (rows > 0) {
    // 8 rows are 4 and 4, not 6 and 2.
    const long blocks = (rows + PRODUCT_ROWS - 1) / PRODUCT_ROWS;
    const long count = (rows + blocks - 1) / blocks;
#define BLOCK(R)                                                                                  \
  case R: product_block(R, V, c, cRow, a, aRow, b, bRow, depth, accumulates, part); break
    switch (count) {
      BLOCK(1);
      BLOCK(2);
      BLOCK(3);
      BLOCK(4);
      BLOCK(5);
      BLOCK(6);
    }
#undef BLOCK
    rows -= count, c += count * cRow, a += count * aRow;
  }
}

static void panel_product(
    float *c, long cRow, const float *a, long aRow, const float *b, long bRow, long rows,
    long depth, long columns, int accumulates) {
  // What stays in the second-level cache while rows pass over it.
  enum { V = PRODUCT_VECTORS, DEEP = 512 };
  for (; depth > DEEP; depth -= DEEP, a += DEEP, b += DEEP * bRow, accumulates = 1) {
    panel_product(c, cRow, a, aRow, b, bRow, rows, DEEP, columns, accumulates);
  }
  for (; columns >= V * W; columns -= V * W, b += V * W, c += V * W) {
    product_columns(V, c, cRow, a, aRow, b, bRow, rows, depth, accumulates, 0);
  }
  const long part = columns % W;
#define COLUMNS(n, part)                                                                          \
  product_columns(n, c, cRow, a, aRow, b, bRow, rows, depth, accumulates, part)
  switch ((columns + W - 1) / W) {
    case 1: if (part) COLUMNS(1, part); else COLUMNS(1, 0); break;
    case 2: if (part) COLUMNS(2, part); else COLUMNS(2, 0); break;
#if PRODUCT_VECTORS == 4
    case 3: if (part) COLUMNS(3, part); else COLUMNS(3, 0); break;
    case 4: COLUMNS(4, part); break;
#endif
  }
#undef COLUMNS
}
#undef PRODUCT_VECTORS
