// Batch normalisation, channels last and by planes. DESIGN §4: μ = Σx/m, σ² = Σ(x−μ)²/m, taken
// about a shift near the mean, block by block, merged in Double by Chan, Golub and LeVeque (1979).

static void moments_block(
    float *sum, float *square, const float *x, long row, const float *shift, long rows,
    long channels) {
  channel_sums(SUMS_MOMENTS, sum, square, x, x, shift, no_gate(shift), row, rows, channels);
}

static void gradient_sums_block(
    float *sumG, float *sumGX, const float *dy, const float *x, long row, const float *mean,
    long rows, long channels) {
  channel_sums(SUMS_GRADIENT, sumG, sumGX, x, dy, mean, no_gate(mean), row, rows, channels);
}

static void gated_gradient_sums_block(
    float *sumG, float *sumGX, const float *dy, const float *x, long row, const float *m,
    const float *a, const float *b, float lo, float hi, long rows, long channels) {
  const gate_rows gate = {a, b, lo, hi};
  channel_sums(SUMS_GATED, sumG, sumGX, x, dy, m, gate, row, rows, channels);
}

/// One vector of the terms of two sums, side by side `C` apart.
INLINE void terms_at(
    const int mode, float *t, const float *x, const float *g, const float *m, long c, long C,
    long part) {
  const vf d = load_some(x + c, part) - load_some(m + c, part);
  const vf v = mode == SUMS_GRADIENT ? load_some(g + c, part) : d;
  store_some(t + c, v, part);
  store_some(t + C + c, v * d, part);
}

INLINE void write_terms(
    const int mode, float *t, const float *x, const float *g, long row, const float *m, long rows,
    long C) {
  for (long r = 0; r < rows; r++, t += 2 * C, x += row, g += row) {
    long c = 0;
    for (; c + W <= C; c += W) terms_at(mode, t, x, g, m, c, C, 0);
    if (c < C) terms_at(mode, t, x, g, m, c, C, C - c);
  }
}

static void moments_terms(
    float *terms, const float *x, long row, const float *shift, long rows, long channels) {
  write_terms(SUMS_MOMENTS, terms, x, x, row, shift, rows, channels);
}

static void gradient_terms(
    float *terms, const float *dy, const float *x, long row, const float *mean, long rows,
    long channels) {
  write_terms(SUMS_GRADIENT, terms, x, dy, row, mean, rows, channels);
}

/// (n, μ, M) ∪ (n′, μ′, M′) with δ = μ′ − μ:  μ + δ·n′/(n+n′),  M + M′ + δ²·n·n′/(n+n′).
static void moments_merge(
    double *restrict mean, double *restrict m2, double count, const float *restrict sum,
    const float *restrict square, const float *restrict shift, double blockCount, long channels) {
  if (blockCount <= 0) return;
  const double weight = blockCount / (count + blockCount), between = count * weight;
  const double inverse = 1 / blockCount;
  for (long c = 0; c < channels; c++) {
    const double s = sum[c], offset = s * inverse;
    // Σ(x−s)² − (Σ(x−s))²/n is not negative but for rounding.
    const double within = square[c] - s * offset;
    const double delta = shift[c] + offset - mean[c];
    mean[c] += delta * weight;
    m2[c] += (within < 0 ? 0 : within) + delta * delta * between;
  }
}

static void moments_combine(
    double *restrict meanA, double *restrict m2A, double countA, const double *restrict meanB,
    const double *restrict m2B, double countB, long channels) {
  if (countB <= 0) return;
  const double weight = countB / (countA + countB), between = countA * weight;
  for (long c = 0; c < channels; c++) {
    const double delta = meanB[c] - meanA[c];
    meanA[c] += delta * weight;
    m2A[c] += m2B[c] + delta * delta * between;
  }
}

static void normalize(
    float *y, const float *x, const float *m, const float *a, const float *b, float lo, float hi,
    long rows, long channels, int nontemporal) {
  const apply_operands o = {
      .y = y, .x = x, .g = x, .m = m, .a = a, .b = b, .yRow = channels, .xRow = channels,
      .gRow = channels, .lo = lo, .hi = hi};
  apply(APPLY_NORMALIZE, &o, rows, channels, nontemporal);
}

static void normalize_add(
    float *y, const float *x, const float *r, const float *m, const float *a, const float *b,
    float lo, float hi, long rows, long channels, int nontemporal) {
  const apply_operands o = {
      .y = y, .x = x, .g = r, .m = m, .a = a, .b = b, .yRow = channels, .xRow = channels,
      .gRow = channels, .lo = lo, .hi = hi};
  apply(APPLY_NORMALIZE_ADD, &o, rows, channels, nontemporal);
}

static void normalize_gradient(
    float *dx, const float *dy, const float *x, const float *m, const float *a, const float *b,
    const float *k, long rows, long channels, int nontemporal) {
  const apply_operands o = {
      .y = dx, .x = x, .g = dy, .m = m, .a = a, .b = b, .k = k, .yRow = channels,
      .xRow = channels, .gRow = channels};
  apply(APPLY_GRADIENT, &o, rows, channels, nontemporal);
}

static void gated_normalize_gradient(
    float *dx, const float *dy, const float *x, const float *m, const float *a, const float *b,
    const float *k, const float *gateA, const float *gateB, float lo, float hi, long rows,
    long channels, int nontemporal) {
  const apply_operands o = {
      .y = dx, .x = x, .g = dy, .m = m, .a = a, .b = b, .k = k, .yRow = channels,
      .xRow = channels, .gRow = channels, .gate = {gateA, gateB, lo, hi}};
  apply(APPLY_GATED, &o, rows, channels, nontemporal);
}

/// One plane as rows of four vectors with a common shift; the lanes fold in Double.
INLINE void plane_sums(
    const int mode, float *sum, float *square, const float *x, const float *g, float m, long n) {
  float shift[4 * W], s[4 * W], q[4 * W];
  for (int i = 0; i < 4 * W; i++) shift[i] = m;
  const long rows = n / (4 * W);
  sums_group(mode, 4, 1, s, q, x, g, shift, no_gate(shift), 4 * W, rows, 0);
  double total = 0, products = 0;
  for (int i = 0; i < 4 * W; i++) total += s[i], products += q[i];
  for (long i = rows * 4 * W; i < n; i++) {
    const float d = x[i] - m, v = mode == SUMS_GRADIENT ? g[i] : d;
    total += v;
    products += v * d;
  }
  *sum = (float)total;
  *square = (float)products;
}

static void plane_moments(float *sum, float *square, const float *x, float shift, long n) {
  plane_sums(SUMS_MOMENTS, sum, square, x, x, shift, n);
}

static void plane_gradient_sums(
    float *sumG, float *sumGX, const float *dy, const float *x, float mean, long n) {
  plane_sums(SUMS_GRADIENT, sumG, sumGX, x, dy, mean, n);
}

static void plane_normalize(
    float *y, const float *x, float m, float a, float b, float lo, float hi, long n) {
  long i = 0;
  for (; i + W <= n; i += W) store(y + i, clamp(a * (load(x + i) - m) + b, splat(lo), splat(hi)));
  if (i < n) {
    store_part(y + i, clamp(a * (load_part(x + i, n - i) - m) + b, splat(lo), splat(hi)), n - i);
  }
}

static void plane_normalize_gradient(
    float *dx, const float *dy, const float *x, float m, float a, float b, float k, long n) {
  long i = 0;
  for (; i + W <= n; i += W) store(dx + i, load(dy + i) * a + ((load(x + i) - m) * b + k));
  if (i < n) {
    const vf g = load_part(dy + i, n - i), v = load_part(x + i, n - i);
    store_part(dx + i, g * a + ((v - m) * b + k), n - i);
  }
}
