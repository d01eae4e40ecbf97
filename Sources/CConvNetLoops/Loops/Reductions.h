// Whole-array and per-column reductions. The order of additions depends on the sizes alone.

enum { TERM_VALUE, TERM_SQUARE };

INLINE vf term_of(const int term, vf v) { return term == TERM_SQUARE ? v * v : v; }

/// Eight accumulators in float over at most 4096 elements, folded and added up in Double.
INLINE double sum_terms(const int term, const float *x, long n) {
  double total = 0;
  for (long start = 0; start < n; start += 4096) {
    const long end = n - start < 4096 ? n : start + 4096;
    vf t[8];
    UNROLL for (int j = 0; j < 8; j++) t[j] = 0;
    long i = start;
    for (; i + 8 * W <= end; i += 8 * W) {
      UNROLL for (int j = 0; j < 8; j++) t[j] += term_of(term, load(x + i + j * W));
    }
    for (; i + W <= end; i += W) t[0] += term_of(term, load(x + i));
    if (i < end) t[1] += term_of(term, load_part(x + i, end - i));
    total += lanes_sum(((t[0] + t[1]) + (t[2] + t[3])) + ((t[4] + t[5]) + (t[6] + t[7])));
  }
  return total;
}

static double sum(const float *x, long n) { return sum_terms(TERM_VALUE, x, n); }
static double sum_of_squares(const float *x, long n) { return sum_terms(TERM_SQUARE, x, n); }

static int all_finite(const float *x, long n) {
  vi bad = 0;
  long i = 0;
  for (; i + W <= n; i += W) bad |= (bits_of(load(x + i)) & 0x7f800000) == 0x7f800000;
  if (i < n) bad |= (bits_of(load_part(x + i, n - i)) & 0x7f800000) == 0x7f800000;
  int any = 0;
  for (int j = 0; j < W; j++) any |= bad[j];
  return !any;
}

static void sum_rows(double *sums, const float *x, long xRow, long rows, long columns) {
  enum { BLOCK = 128, GROUP = 1024 };
  float s[GROUP];
  for (long c = 0; c < columns; c++) sums[c] = 0;
  for (long r = 0; r < rows; r += BLOCK) {
    const long height = rows - r < BLOCK ? rows - r : BLOCK;
    for (long c = 0; c < columns; c += GROUP) {
      const long width = columns - c < GROUP ? columns - c : GROUP;
      const float *block = x + r * xRow + c;
      channel_sums(SUMS_PLAIN, s, s, block, block, s, no_gate(s), xRow, height, width);
      for (long i = 0; i < width; i++) sums[c + i] += s[i];
    }
  }
}

static void sum_parts(float *y, const float *x, long xRow, long rows, long n) {
  for (long i = 0; i < n; i += W) {
    const long part = n - i < W ? n - i : 0;
    vd sum = 0;
    for (long r = 0; r < rows; r++) {
      sum += __builtin_convertvector(load_some(x + r * xRow + i, part), vd);
    }
    store_some(y + i, __builtin_convertvector(sum, vf), part);
  }
}

INLINE vf extreme_of(const int maximum, vf a, vf b) {
  return maximum ? larger(a, b) : smaller(a, b);
}

/// Eight rows at a time pass through y.
INLINE void extreme_of_rows(
    const int maximum, float *y, const float *x, long row, long rows, long columns) {
  copy_floats(y, x, columns);
  for (long r = 1; r < rows; r += 8) {
    const long end = rows - r < 8 ? rows : r + 8;
    long c = 0;
    for (; c + W <= columns; c += W) {
      vf t = load(y + c);
      for (long i = r; i < end; i++) t = extreme_of(maximum, t, load(x + i * row + c));
      store(y + c, t);
    }
    if (c < columns) {
      vf t = load_part(y + c, columns - c);
      for (long i = r; i < end; i++) {
        t = extreme_of(maximum, t, load_part(x + i * row + c, columns - c));
      }
      store_part(y + c, t, columns - c);
    }
  }
}

static void extreme_rows(
    float *y, const float *x, long xRow, long rows, long columns, int maximum) {
  if (rows <= 0) return;
  if (maximum) {
    extreme_of_rows(1, y, x, xRow, rows, columns);
  } else {
    extreme_of_rows(0, y, x, xRow, rows, columns);
  }
}

INLINE float extreme_of_array(const int maximum, const float *x, long n) {
  const float none = maximum ? -__builtin_inff() : __builtin_inff();
  vf t[4];
  UNROLL for (int j = 0; j < 4; j++) t[j] = splat(none);
  long i = 0;
  for (; i + 4 * W <= n; i += 4 * W) {
    UNROLL for (int j = 0; j < 4; j++) t[j] = extreme_of(maximum, t[j], load(x + i + j * W));
  }
  for (; i + W <= n; i += W) t[0] = extreme_of(maximum, t[0], load(x + i));
  if (i < n) {
    const vf tail = lane_numbers() < (int)(n - i) ? load_part(x + i, n - i) : splat(none);
    t[1] = extreme_of(maximum, t[1], tail);
  }
  vf lanes = extreme_of(maximum, extreme_of(maximum, t[0], t[1]), extreme_of(maximum, t[2], t[3]));
  return maximum ? lanes_largest(lanes) : lanes_smallest(lanes);
}

static float extreme(const float *x, long n, int maximum) {
  return maximum ? extreme_of_array(1, x, n) : extreme_of_array(0, x, n);
}
