// C = A·B where rows of A lie a fixed distance apart and each is made of runs that lie elsewhere: what a
// convolution is on a line of pixels, without im2col. Each element is summed up in the order of the
// runs, whatever stands beside it.

#if CNL_WIDTH == 16 || defined(__aarch64__)
enum { LINE_VECTORS = 4, LINE_ROWS_4 = 6, LINE_ROWS_3 = 8, LINE_ROWS_2 = 14, LINE_ROWS_1 = 14 };
#else
enum { LINE_VECTORS = 2, LINE_ROWS_4 = 1, LINE_ROWS_3 = 1, LINE_ROWS_2 = 6, LINE_ROWS_1 = 12 };
#endif

/// Some of the runs of a row, in order.
typedef struct {
  const cnl_runs *all;
  long first, last;
} line_part;

/// The sums of `R` rows and `V` vectors of columns, the last one `part` wide if that is not 0.
INLINE void line_block(
    const int R, const int V, float *c, long cRow, const float *a, long aRow, line_part runs,
    const float *b, long bRow, long part) {
  vf t[LINE_ROWS_1][LINE_VECTORS];
  UNROLL for (int r = 0; r < R; r++) {
    UNROLL for (int v = 0; v < V; v++) t[r][v] = splat(0);
  }
  for (long run = runs.first; run < runs.last; run++) {
    const long i = run / runs.all->across, j = run % runs.all->across;
    const float *from = a + i * runs.all->aDown + j * runs.all->aAcross;
    const float *f = b + (runs.all->first + i * runs.all->bDown + j * runs.all->bAcross) * bRow;
    // Pointers to every third row: the others are one and two distances on, which takes no register.
    const float *p[(LINE_ROWS_1 + 2) / 3];
    UNROLL for (int n = 0; n < (R + 2) / 3; n++) p[n] = from + 3 * n * aRow;
    for (long k = 0; k < runs.all->count; k++, f += bRow) {
      vf w[LINE_VECTORS];
      UNROLL for (int v = 0; v < V; v++) w[v] = load_some(f + v * W, v == V - 1 ? part : 0);
      UNROLL for (int r = 0; r < R; r++) {
        const vf x = splat(p[r / 3][r % 3 * aRow]);
        UNROLL for (int v = 0; v < V; v++) t[r][v] += x * w[v];
      }
      UNROLL for (int n = 0; n < (R + 2) / 3; n++) p[n]++;
    }
  }
  UNROLL for (int r = 0; r < R; r++) {
    UNROLL for (int v = 0; v < V; v++) {
      float *to = c + r * cRow + v * W;
      const long some = v == V - 1 ? part : 0;
      store_some(to, runs.first ? load_some(to, some) + t[r][v] : t[r][v], some);
    }
  }
}

/// All lines of `V` vectors of columns, their rows in blocks of about the same size, of at most `most`.
INLINE void line_columns(
    const int V, const int most, float *c, long cLine, long cRow, const float *a, long aLine,
    long aRow, line_part runs, const float *b, long bRow, long lines, long rows, long part) {
  const long blocks = (rows + most - 1) / most;
  for (long line = 0; line < lines; line++) {
    float *to = c + line * cLine;
    const float *from = a + line * aLine;
    for (long block = 0; block < blocks; block++) {
      const long n = (block + 1) * rows / blocks - block * rows / blocks;
#define BLOCK(R)                                                                                  \
  case R:                                                                                         \
    if (R <= most) line_block(R, V, to, cRow, from, aRow, runs, b, bRow, part);                   \
    break
      switch (n) {
        BLOCK(1);
        BLOCK(2);
        BLOCK(3);
        BLOCK(4);
        BLOCK(5);
        BLOCK(6);
        BLOCK(7);
        BLOCK(8);
        BLOCK(9);
        BLOCK(10);
        BLOCK(11);
        BLOCK(12);
        BLOCK(13);
        BLOCK(14);
      }
#undef BLOCK
      to += n * cRow, from += n * aRow;
    }
  }
}

/// All columns of a part of the sums.
INLINE void line_sums(
    float *c, long cLine, long cRow, const float *a, long aLine, long aRow, line_part runs,
    const float *b, long bRow, long lines, long rows, long columns) {
#define COLUMNS(n, part)                                                                          \
  line_columns(                                                                                   \
      n, n == 4 ? LINE_ROWS_4 : n == 3 ? LINE_ROWS_3 : n == 2 ? LINE_ROWS_2 : LINE_ROWS_1, c,     \
      cLine, cRow, a, aLine, aRow, runs, b, bRow, lines, rows, part)
  // Two vectors of columns at once take many rows, and so read B less often.
  const int wide = rows > 8 ? 2 : LINE_VECTORS;
  for (; columns >= wide * W; columns -= wide * W, b += wide * W, c += wide * W) {
    if (wide == 2) COLUMNS(2, 0);
#if CNL_WIDTH == 16 || defined(__aarch64__)
    else COLUMNS(4, 0);
#endif
  }
  const long part = columns % W;
  switch ((columns + W - 1) / W) {
    case 1: if (part) COLUMNS(1, part); else COLUMNS(1, 0); break;
    case 2: if (part) COLUMNS(2, part); else COLUMNS(2, 0); break;
#if CNL_WIDTH == 16 || defined(__aarch64__)
    case 3: if (part) COLUMNS(3, part); else COLUMNS(3, 0); break;
    case 4: COLUMNS(4, part); break;
#endif
  }
#undef COLUMNS
}

static void line_products(
    float *c, long cLine, long cRow, const float *a, long aLine, long aRow, const cnl_runs *runs,
    const float *b, long bRow, long lines, long rows, long columns) {
  // Short chains keep their digits, and a part of B the second-level cache.
  enum { DEEP = 512 };
  const long count = runs->down * runs->across;
  const long most = runs->count > 0 ? (DEEP + runs->count - 1) / runs->count : count;
  line_part part = {runs, 0, 0};
  do {
    part.last = count - part.first < most ? count : part.first + most;
    line_sums(c, cLine, cRow, a, aLine, aRow, part, b, bRow, lines, rows, columns);
    part.first = part.last;
  } while (part.first < count);
}
