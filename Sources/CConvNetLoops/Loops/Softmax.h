// Softmax over the columns of each row, and cross entropy on top of it. Everything is shifted by
// the row's maximum m, so no exponential overflows: log Σ e^x = m + log Σ e^(x−m).

typedef struct {
  double exponentials;  // Σ e^(x−m)
  double values;        // Σ (x−m)
} row_sums;

/// Fills `e` with e^(x−m) unless it is null (a constant at every call).
INLINE row_sums softmax_sums(const int fills, float *e, const float *x, float m, long columns) {
  vf t = 0, s = 0;
  long c = 0;
  for (; c + W <= columns; c += W) {
    const vf z = load(x + c) - m, p = exponential(z);
    if (fills) store(e + c, p);
    t += p;
    s += z;
  }
  if (c < columns) {
    const vf z = load_part(x + c, columns - c) - m, p = exponential(z);
    const vi exists = lane_numbers() < (int)(columns - c);
    if (fills) store_part(e + c, p, columns - c);
    t += exists ? p : splat(0);
    s += exists ? z : splat(0);
  }
  return (row_sums){lanes_sum(t), lanes_sum(s)};
}

INLINE void scale_floats(float *y, float a, long n) {
  long i = 0;
  for (; i + W <= n; i += W) store(y + i, load(y + i) * a);
  if (i < n) store_part(y + i, load_part(y + i, n - i) * a, n - i);
}

static void softmax(float *y, const float *x, long rows, long columns) {
  for (long r = 0; r < rows; r++, x += columns, y += columns) {
    const float m = extreme_of_array(1, x, columns);
    const row_sums s = softmax_sums(1, y, x, m, columns);
    scale_floats(y, (float)(1 / s.exponentials), columns);
  }
}

static void cross_entropy(
    float *loss, const float *x, const int64_t *labels, float smoothing, long rows,
    long columns) {
  for (long r = 0; r < rows; r++, x += columns) {
    if (labels[r] < 0 || labels[r] >= columns) {
      loss[r] = __builtin_nanf("");
      continue;
    }
    const float m = extreme_of_array(1, x, columns);
    const row_sums s = softmax_sums(0, loss, x, m, columns);
    double expected = (double)(x[labels[r]] - m);
    // Not a product with 0: a logit of −inf elsewhere must not turn 0·inf into NaN.
    if (smoothing != 0) {
      expected = (1 - (double)smoothing) * expected + smoothing * s.values / (double)columns;
    }
    loss[r] = (float)(log(s.exponentials) - expected);
  }
}

static void cross_entropy_gradient(
    float *dx, const float *dloss, const float *x, const int64_t *labels, float smoothing,
    long rows, long columns) {
  const float floor = smoothing / (float)(columns > 0 ? columns : 1);
  for (long r = 0; r < rows; r++, x += columns, dx += columns) {
    if (labels[r] < 0 || labels[r] >= columns) {
      fill(dx, __builtin_nanf(""), columns);
      continue;
    }
    const float m = extreme_of_array(1, x, columns);
    const row_sums s = softmax_sums(1, dx, x, m, columns);
    const float scale = (float)(1 / s.exponentials), d = dloss[r];
    const float onLabel = dx[labels[r]] * scale - (1 - smoothing) - floor;
    long c = 0;
    for (; c + W <= columns; c += W) store(dx + c, (load(dx + c) * scale - floor) * d);
    const long part = columns - c;
    if (part) store_part(dx + c, (load_part(dx + c, part) * scale - floor) * d, part);
    dx[labels[r]] = onLabel * d;
  }
}
