// What batch norm computes once per channel, in Double: the coefficients of its elementwise passes. A
// scalar division and root a channel cost as much as a small batch itself, so these are vectors too.

// Macros, because a vector of doubles is two registers and has no ABI as an argument.
#define load_doubles(p) (*(const vd_memory *)(p))
#define store_doubles(p, v) (*(vd_memory *)(p) = (v))
#define widen(x) __builtin_convertvector((x), vd)
#define narrow(x) __builtin_convertvector((x), vf)

static void accumulate_doubles(double *y, const float *x, long n) {
  for (; n >= W; n -= W, y += W, x += W) store_doubles(y, load_doubles(y) + widen(load(x)));
  for (long i = 0; i < n; i++) y[i] += (double)x[i];
}

static void add_doubles(double *y, const double *x, long n) {
  for (; n >= W; n -= W, y += W, x += W) store_doubles(y, load_doubles(y) + load_doubles(x));
  for (long i = 0; i < n; i++) y[i] += x[i];
}

/// The body of a loop over channels, once for vectors and once for single channels.
#define EACH_CHANNEL(VECTOR_BODY, SCALAR_BODY)                                                    \
  long c = 0;                                                                                     \
  for (; c + W <= n; c += W) VECTOR_BODY                                                          \
  for (; c < n; c++) SCALAR_BODY

static void normalize_coefficients(
    float *m, float *a, float *b, const double *mean, const double *m2, double count,
    const float *scale, const float *shift, double epsilon, int centres, long n) {
  EACH_CHANNEL(
      {
        const vd v = load_doubles(m2 + c);
        const vd mu = load_doubles(mean + c);
        vd factor = widen(load(scale + c)) / __builtin_elementwise_sqrt(v / count + epsilon);
        factor = v == 0 ? (vd)0 : factor;
        const vf rounded = narrow(factor);
        const vf centre = centres ? narrow(mu) : splat(0);
        store(m + c, centre);
        store(a + c, rounded);
        store(b + c, narrow(widen(load(shift + c)) - widen(rounded) * (mu - widen(centre))));
      },
      {
        const double root = __builtin_sqrt(m2[c] / count + epsilon);
        m[c] = centres ? (float)mean[c] : 0;
        a[c] = m2[c] == 0 ? 0 : (float)((double)scale[c] / root);
        b[c] = (float)((double)shift[c] - (double)a[c] * (mean[c] - (double)m[c]));
      })
}

static void gradient_sums_finish(
    double *sumGX, const double *sumG, const double *mean, const double *m2, double count,
    double epsilon, long n) {
  EACH_CHANNEL(
      {
        const vd m = load_doubles(mean + c);
        const vd rounding = m - widen(narrow(m));
        const vd sum = load_doubles(sumGX + c) - rounding * load_doubles(sumG + c);
        const vd root = __builtin_elementwise_sqrt(load_doubles(m2 + c) / count + epsilon);
        store_doubles(sumGX + c, sum / root);
      },
      {
        const double sum = sumGX[c] - (mean[c] - (double)(float)mean[c]) * sumG[c];
        sumGX[c] = sum / __builtin_sqrt(m2[c] / count + epsilon);
      })
}

static void gradient_coefficients(
    float *m, float *a, float *b, float *k, const double *mean, const double *m2, double count,
    const float *scale, const double *dShift, const double *dScale, double epsilon, int centres,
    long n) {
  EACH_CHANNEL(
      {
        const vd root = __builtin_elementwise_sqrt(load_doubles(m2 + c) / count + epsilon);
        const vd inverse = 1 / root;
        const vd mu = load_doubles(mean + c);
        const vd factor = widen(load(scale + c)) * inverse;
        const vf slope = narrow(-factor * inverse * load_doubles(dScale + c) / count);
        const vf centre = centres ? narrow(mu) : splat(0);
        store(m + c, centre);
        store(a + c, narrow(factor));
        store(b + c, slope);
        const vd offset = -factor * load_doubles(dShift + c) / count;
        store(k + c, narrow(offset - widen(slope) * (mu - widen(centre))));
      },
      {
        const double inverse = 1 / __builtin_sqrt(m2[c] / count + epsilon);
        const double factor = (double)scale[c] * inverse;
        m[c] = centres ? (float)mean[c] : 0;
        a[c] = (float)factor;
        b[c] = (float)(-factor * inverse * dScale[c] / count);
        k[c] = (float)(-factor * dShift[c] / count - (double)b[c] * (mean[c] - (double)m[c]));
      })
}

/// Whether a shift lies further than 32 deviations from a mean of `count` samples.
static int shift_is_far(
    const float *shift, const double *mean, const double *m2, double count, long n) {
  int far = 0;
  for (long c = 0; c < n; c++) {
    const double distance = mean[c] - (double)shift[c];
    far |= (distance * distance * count > 1024 * m2[c]) & (m2[c] > 0);
  }
  return far;
}
