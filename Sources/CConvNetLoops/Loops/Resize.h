// Sums of weighted rows: what resizing an axis comes to, and its adjoint.

/// One vector of a row of y; the number of taps N is a constant, or 0 for any number.
INLINE void weighted_vector(
    const int N, float *y, const float *x, long inner, const long *indices, const float *weights,
    long taps, long part) {
  vf t = load_some(x + indices[0] * inner, part) * weights[0];
  for (long i = 1; i < (N ? N : taps); i++) {
    t += load_some(x + indices[i] * inner, part) * weights[i];
  }
  store_some(y, t, part);
}

INLINE void weighted_row(
    const int N, float *y, const float *x, long inner, const long *indices, const float *weights,
    long taps) {
  long c = 0;
  for (; c + W <= inner; c += W) {
    weighted_vector(N, y + c, x + c, inner, indices, weights, taps, 0);
  }
  if (c < inner) weighted_vector(N, y + c, x + c, inner, indices, weights, taps, inner - c);
}

/// Where rows are single numbers.
INLINE float weighted_number(
    const float *x, const long *indices, const float *weights, long taps) {
  float t = x[indices[0]] * weights[0];
  for (long i = 1; i < taps; i++) t += x[indices[i]] * weights[i];
  return t;
}

static void weighted_rows(
    float *y, const float *x, long inner, const long *starts, const long *indices,
    const float *weights, float empty, long first, long last) {
  for (long o = first; o < last; o++) {
    const long start = starts[o], taps = starts[o + 1] - start;
    float *row = y + o * inner;
    if (taps == 0) {
      fill(row, empty, inner);
    } else if (taps == 1 && weights[start] == 1) {
      copy_floats(row, x + indices[start] * inner, inner);
    } else if (inner == 1) {
      *row = weighted_number(x, indices + start, weights + start, taps);
    } else if (taps == 2) {
      weighted_row(2, row, x, inner, indices + start, weights + start, 2);
    } else {
      weighted_row(0, row, x, inner, indices + start, weights + start, taps);
    }
  }
}
