// exp, log, tanh, erf … of a vector. Reductions and series are the textbook ones; the two fits are
// Chebyshev interpolants in extended precision, with the error stated. Without FMA each product
// rounds once more. NaN goes through all of them.

/// x = n·ln2 + r with |r| ≤ ln2/2 (Cody and Waite: n·hi is exact, as hi has 10 bits and |n| < 2⁸).
INLINE vf exp_reduce(vf x, vi *n) {
  const float magic = 12582912.0f;  // 1.5·2²³: adding it rounds to an integer in the low bits
  vf t = x * 1.44269504f + magic;
  vf k = t - magic;
  *n = bits_of(t) - bits_of(splat(magic));
  vf r = x - k * 0.693359375f;
  return r - k * -2.12194440e-4f;
}

/// e^r − 1, Taylor to r⁷: the first omitted term is r⁸/8! ≤ 5.2e-9 on |r| ≤ ln2/2.
INLINE vf exp_series(vf r) {
  vf p = splat(1.0f / 5040);
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  return p * (r * r) + r;
}

INLINE vf power_of_two(vi n) { return float_of((n + 127) << 23); }

/// e^x. The scale is applied in two halves, so that results reach +inf, denormals and 0 by
/// rounding.
INLINE vf exponential(vf x) {
  x = clamp(x, splat(-104), splat(89));
  vi n;
  vf r = exp_reduce(x, &n);
  vi half = n >> 1;
  return ((exp_series(r) + 1.0f) * power_of_two(half)) * power_of_two(n - half);
}

/// e^x − 1 for x ≤ 0: 2ⁿ(e^r − 1) + (2ⁿ − 1), so small x keep their digits.
INLINE vf exponential_minus_one(vf x) {
  x = x < -30.0f ? splat(-30.0f) : x;
  x = x > 0.0f ? splat(0.0f) : x;
  vi n;
  vf r = exp_reduce(x, &n);
  vf scale = power_of_two(n);
  return scale * exp_series(r) + (scale - 1.0f);
}

/// With t = e^{−|x|}: t/(1+t) left of 0, 1/(1+t) right of it, accurate down to the smallest
/// results.
INLINE vf sigmoid_of(vf x) {
  vf t = exponential(-magnitude(x));
  return (x < 0 ? t : splat(1)) / (1.0f + t);
}

/// tanh|x| = t/(t+2), t = e^{2|x|} − 1 = 2ⁿ(e^r − 1) + (2ⁿ − 1): relative accuracy near 0 included.
INLINE vf tanh_of(vf x) {
  vf a = magnitude(x) * 2.0f;
  a = a > 20.0f ? splat(20.0f) : a;
  vi n;
  vf r = exp_reduce(a, &n);
  vf scale = power_of_two(n);
  vf t = scale * exp_series(r) + (scale - 1.0f);
  vf y = t / (t + 2.0f);
  return float_of(bits_of(y) | (bits_of(x) & (int32_t)0x80000000));
}

/// ln x, x = 2ᵉ·(1+f), √½ ≤ 1+f < √2; ln(1+f) = 2 artanh s, s = f/(2+f), |s| ≤ 0.1716, written as
/// f − (f²/2 − s(f²/2 + R)) so that f itself enters exactly. R omits 2s¹⁰/11 ≤ 4e-9.
INLINE vf logarithm(vf x) {
  vi tiny = x < 1.17549435e-38f;
  vf scaled = tiny ? x * 8388608.0f : x;
  vi offset = bits_of(scaled) - 0x3f3504f3;  // bits of √½
  vi e = offset >> 23;
  vf f = float_of((offset & 0x7fffff) + 0x3f3504f3) - 1.0f;
  vf exponent = __builtin_convertvector(e, vf) - (tiny ? splat(23) : splat(0));
  vf s = f / (f + 2.0f), z = s * s, h = 0.5f * f * f;
  vf series = z * (z * (z * (z * (2.0f / 9) + 2.0f / 7) + 2.0f / 5) + 2.0f / 3);
  vf y = exponent * 0.693359375f - ((h - (s * (h + series) + exponent * -2.12194440e-4f)) - f);
  y = x == 0 ? splat(-__builtin_inff()) : y;
  y = x < 0 ? splat(__builtin_nanf("")) : y;
  return ((x == __builtin_inff()) | (x != x)) ? x : y;
}

/// ln(1+u), 0 ≤ u ≤ 1, with the rounding of 1+u given back.
INLINE vf logarithm_of_one_plus(vf u) {
  vf w = 1.0f + u;
  return logarithm(w) + (u - (w - 1.0f)) / w;
}

/// erf x: x·P(x²) for |x| ≤ 1 (fit error 1.3e-9), else 1 − e^{Q(|x|)}, Q ≈ ln erfc on [1, 4]
/// (fit error 1.7e-8, times erfc ≤ 0.16).
INLINE vf error_function(vf x) {
  vf a = magnitude(x), z = a * a;
  vf p = splat(7.875875063e-5f);
  p = p * z - 0.0008016864287f;
  p = p * z + 0.005189087423f;
  p = p * z - 0.02685421201f;
  p = p * z + 0.1128359472f;
  p = p * z - 0.3761262667f;
  p = p * z + 1.128379166f;
  vf b = a > 4.0f ? splat(4.0f) : a;
  vf q = splat(1.637151415e-6f);
  q = q * b - 4.605804269e-5f;
  q = q * b + 0.0005968056257f;
  q = q * b - 0.004759596293f;
  q = q * b + 0.02642113601f;
  q = q * b - 0.1100800829f;
  q = q * b - 0.6318260516f;
  q = q * b - 1.130233435f;
  q = q * b + 0.0003201380497f;
  vf far = 1.0f - exponential(q);
  far = float_of(bits_of(far) | (bits_of(x) & (int32_t)0x80000000));
  return a <= 1.0f ? x * p : far;
}
