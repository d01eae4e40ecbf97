// Two arguments with broadcasting, and the plain movements: accumulate, fill, convert, copy.

INLINE vf power_of(vf a, vf b) {
  vf y = a;
  for (int i = 0; i < W; i++) y[i] = powf(a[i], b[i]);
  return y;
}

INLINE vf combine_vectors(const int f, vf a, vf b) {
  switch (f) {
  case CNL_ADD: return a + b;
  case CNL_SUBTRACT: return a - b;
  case CNL_MULTIPLY: return a * b;
  case CNL_DIVIDE: return a / b;
  case CNL_MAXIMUM: return larger(a, b);
  case CNL_MINIMUM: return smaller(a, b);
  default: return power_of(a, b);
  }
}

/// `f`, `aColumn` and `bColumn` are constants: one loop for each.
INLINE void combine_rows(
    const int f, float *y, long yRow, const float *a, long aRow, const int aColumn, const float *b,
    long bRow, const int bColumn, long rows, long columns) {
  for (long r = 0; r < rows; r++) {
    const vf aSame = aColumn ? splat(0) : splat(a[r * aRow]);
    const vf bSame = bColumn ? splat(0) : splat(b[r * bRow]);
    const float *p = a + r * aRow, *q = b + r * bRow;
    float *o = y + r * yRow;
    long c = 0;
    for (; c + W <= columns; c += W) {
      const vf u = aColumn ? load(p + c) : aSame, v = bColumn ? load(q + c) : bSame;
      store(o + c, combine_vectors(f, u, v));
    }
    const long part = columns - c;
    if (part) {
      const vf u = aColumn ? load_part(p + c, part) : aSame;
      const vf v = bColumn ? load_part(q + c, part) : bSame;
      store_part(o + c, combine_vectors(f, u, v), part);
    }
  }
}

INLINE void combine_broadcast(
    const int f, float *y, long yRow, const float *a, long aRow, long aColumn, const float *b,
    long bRow, long bColumn, long rows, long columns) {
  if (aColumn && bColumn) {
    combine_rows(f, y, yRow, a, aRow, 1, b, bRow, 1, rows, columns);
  } else if (aColumn) {
    combine_rows(f, y, yRow, a, aRow, 1, b, bRow, 0, rows, columns);
  } else if (bColumn) {
    combine_rows(f, y, yRow, a, aRow, 0, b, bRow, 1, rows, columns);
  } else {
    combine_rows(f, y, yRow, a, aRow, 0, b, bRow, 0, rows, columns);
  }
}

static void combine(
    int f, float *y, long yRow, const float *a, long aRow, long aColumn, const float *b, long bRow,
    long bColumn, long rows, long columns) {
  if (rows <= 0 || columns <= 0) return;
  const int aUnit = aRow == 0 || aRow == 1, bUnit = bRow == 0 || bRow == 1;
  if (columns == 1 && yRow == 1 && aUnit && bUnit) {  // a column is a row
    aColumn = aRow, bColumn = bRow, columns = rows, rows = 1;
  }
  const int aDense = aColumn ? aRow == columns : aRow == 0;
  const int bDense = bColumn ? bRow == columns : bRow == 0;
  if (yRow == columns && aDense && bDense) {
    columns *= rows, rows = 1;
  }
#define CASE(f)                                                                                   \
  case f:                                                                                         \
    combine_broadcast(f, y, yRow, a, aRow, aColumn, b, bRow, bColumn, rows, columns);             \
    break
  switch (f) {
    CASE(CNL_ADD);
    CASE(CNL_SUBTRACT);
    CASE(CNL_MULTIPLY);
    CASE(CNL_DIVIDE);
    CASE(CNL_MAXIMUM);
    CASE(CNL_MINIMUM);
    CASE(CNL_POWER);
  default: __builtin_trap();
  }
#undef CASE
}

static void accumulate(float *y, const float *x, long n) {
  long i = 0;
  for (; i + W <= n; i += W) store(y + i, load(y + i) + load(x + i));
  if (i < n) store_part(y + i, load_part(y + i, n - i) + load_part(x + i, n - i), n - i);
}

static void fill(float *y, float value, long n) {
  long i = 0;
  for (; i + W <= n; i += W) store(y + i, splat(value));
  if (i < n) store_part(y + i, splat(value), n - i);
}

static void to_float(float *restrict y, const double *restrict x, long n) {
  long i = 0;
  for (; i + W <= n; i += W) {
    store(y + i, __builtin_convertvector(*(const vd_memory *)(x + i), vf));
  }
  for (; i < n; i++) y[i] = (float)x[i];
}

static void to_double(double *restrict y, const float *restrict x, long n) {
  long i = 0;
  for (; i + W <= n; i += W) *(vd_memory *)(y + i) = __builtin_convertvector(load(x + i), vd);
  for (; i < n; i++) y[i] = x[i];
}

static void copy_rows(float *y, long yRow, const float *x, long xRow, long rows, long columns) {
  if (yRow == columns && xRow == columns) {
    columns *= rows, rows = columns > 0;
  }
  for (long r = 0; r < rows; r++) copy_floats(y + r * yRow, x + r * xRow, columns);
}
