// C = A·B for few rows of A, or a B too narrow for OpenBLAS's vectors: B is a packed panel, read
// once for every 6 rows. Each element is one chain of fused multiply-adds in the order of k, added
// to C at the end, which is what OpenBLAS's small-matrix kernels for AVX-512 compute too; so both
// give the same bits (x86-64-v4). C = AᵀB, which a filter's gradient is, reads A by rows too.

/// Vectors of columns and rows of A in registers at once; 24 sums where there are 32 registers.
#if CNL_WIDTH == 16 || defined(__aarch64__)
#define PRODUCT_VECTORS 4
#else
#define PRODUCT_VECTORS 2
#endif
enum { PRODUCT_ROWS = 6, PRODUCT_MANY_ROWS = 12 };

/// The rows of a product C = A·B, or the columns from `column` on of one C = AᵀB whose rows of A lie
/// where pointers say.
typedef struct {
  int isTransposed;
  const float *a;
  long aRow;
  const float *const *rows;
  long column;
} product_source;

/// The next `R` rows of the result.
INLINE void advance(product_source *s, long R) {
  s->a += R * s->aRow;
  s->column += R;
}

/// What the next product reads, asked for while this one computes, a line of a factor at every step of
/// k: all at once, they would keep the product waiting. A transposed product walks down a line's width
/// of both factors in every pass over the depth; any other one asks for as many rows of the next A as
/// it multiplies, a line of each in turn.
typedef struct {
  const float *a;
  const cnl_operands *next;
  long aLines, bLines, pass;
} product_requests;

enum { LINE = 16, ROWS_IN_TURN = 8 };

/// `R` rows times `V` vectors of columns, the last one `part` wide if that is not 0.
INLINE void product_block(
    const int R, const int V, float *c, long cRow, const product_source *s, const float *b,
    long bRow, long depth, int accumulates, long part, product_requests *q) {
  // Rows ask for enough arithmetic to stall behind memory unless the next lines are on their way.
  enum { AHEAD = 1024 };
  const float *const *nextRows = s->rows;
  const float *nextA = q->a, *nextB = b;
  long nextColumn = 0, nextRow = 0;
  if (s->isTransposed) {
    nextRows = q->next->aRows;
    nextColumn = q->next->aOffset + LINE * (q->pass < q->aLines ? q->pass : 0);
    nextB = q->next->b + LINE * (q->pass < q->bLines ? q->pass : 0);
    nextRow = q->next->bRow;
    q->pass++;
  } else {
    q->a += R * s->aRow;
  }
  vf t[PRODUCT_MANY_ROWS][PRODUCT_VECTORS];
  UNROLL for (int r = 0; r < R; r++) {
    UNROLL for (int v = 0; v < V; v++) t[r][v] = splat(0);
  }
  for (long k = 0; k < depth; k++, b += bRow, nextB += nextRow) {
    const float *a = s->isTransposed ? s->rows[k] + s->column : s->a + k;
    const long aRow = s->isTransposed ? 1 : s->aRow;
    vf f[PRODUCT_VECTORS];
    UNROLL for (int v = 0; v < V; v++) {
      f[v] = load_some(b + v * W, v == V - 1 ? part : 0);
      if (R > 1 && !s->isTransposed) __builtin_prefetch(b + v * W + AHEAD);
    }
    if (s->isTransposed) {
      __builtin_prefetch(nextB, 0, 2);
      __builtin_prefetch(nextRows[k] + nextColumn, 0, 2);
    } else if (R > 1) {
      __builtin_prefetch(nextA + k % ROWS_IN_TURN * aRow + k, 0, 2);
    }
    UNROLL for (int r = 0; r < R; r++) {
      const vf x = splat(a[r * aRow]);
      UNROLL for (int v = 0; v < V; v++) t[r][v] += x * f[v];
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
    const int V, float *c, long cRow, product_source s, const float *b, long bRow, long rows,
    long depth, int accumulates, long part, product_requests *q) {
  // Few vectors leave registers for more rows.
  if (2 * V <= PRODUCT_VECTORS) {
    enum { R = PRODUCT_MANY_ROWS };
    for (; rows >= R; rows -= R, c += R * cRow, advance(&s, R)) {
      product_block(R, V, c, cRow, &s, b, bRow, depth, accumulates, part, q);
    }
  }
  while (rows > 0) {
    // 8 rows are 4 and 4, not 6 and 2.
    const long blocks = (rows + PRODUCT_ROWS - 1) / PRODUCT_ROWS;
    const long count = (rows + blocks - 1) / blocks;
#define BLOCK(R)                                                                                  \
  case R: product_block(R, V, c, cRow, &s, b, bRow, depth, accumulates, part, q); break
    switch (count) {
      BLOCK(1);
      BLOCK(2);
      BLOCK(3);
      BLOCK(4);
      BLOCK(5);
      BLOCK(6);
    }
#undef BLOCK
    rows -= count, c += count * cRow;
    advance(&s, count);
  }
}

/// All columns, 64 or fewer.
INLINE void product_panel(
    float *c, long cRow, product_source s, const float *b, long bRow, long rows, long depth,
    long columns, int accumulates, product_requests *q) {
  enum { V = PRODUCT_VECTORS };
  for (; columns >= V * W; columns -= V * W, b += V * W, c += V * W) {
    product_columns(V, c, cRow, s, b, bRow, rows, depth, accumulates, 0, q);
  }
  const long part = columns % W;
#define COLUMNS(n, part)                                                                          \
  product_columns(n, c, cRow, s, b, bRow, rows, depth, accumulates, part, q)
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

static void panel_product(
    float *c, long cRow, const float *a, long aRow, const float *b, long bRow, long rows,
    long depth, long columns, int accumulates, const float *next) {
  // What stays in the second-level cache while rows pass over it.
  enum { DEEP = 512 };
  do {
    const long part = depth < DEEP ? depth : DEEP;
    product_requests q = {.a = next};
    const product_source s = {.a = a, .aRow = aRow};
    product_panel(c, cRow, s, b, bRow, rows, part, columns, accumulates, &q);
    depth -= part, a += part, next += part, b += part * bRow, accumulates = 1;
  } while (depth > 0);
}

static void transposed_product(
    float *c, long cRow, const cnl_operands *now, const cnl_operands *next, long rows, long depth,
    long columns, int accumulates) {
  product_requests q = {
      .next = next, .aLines = (rows + LINE - 1) / LINE, .bLines = (columns + LINE - 1) / LINE};
  const product_source s = {.isTransposed = 1, .rows = now->aRows, .column = now->aOffset};
  product_panel(c, cRow, s, now->b, now->bRow, rows, depth, columns, accumulates, &q);
}

static void pixel_rows(
    const float **rows, const float *x, const float *zeros, const cnl_window *w, long tap,
    long first, long count) {
  const long top = tap / w->kernelWidth * w->dilationHeight - w->padTop;
  const long left = tap % w->kernelWidth * w->dilationWidth - w->padLeft;
  long oy = first / w->outputWidth, ox = first % w->outputWidth;
  while (count > 0) {
    const long n = count < w->outputWidth - ox ? count : w->outputWidth - ox;
    const long iy = oy * w->strideHeight + top, ix = ox * w->strideWidth + left;
    const unsigned long inside = iy >= 0 && iy < w->height ? (unsigned long)w->width : 0;
    const float *pixel = x + (iy * w->width + ix) * w->channels;
    const long step = w->strideWidth * w->channels;
    for (long i = 0; i < n; i++) {
      rows[i] = (unsigned long)(ix + i * w->strideWidth) < inside ? pixel + i * step : zeros;
    }
    rows += n, count -= n, ox = 0, oy++;
  }
}
