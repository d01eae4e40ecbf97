// One argument: y = f(x) and dx = dy·f'(x). The switch stands outside the loops; each case is one
// loop over vectors with a masked tail.

#define MAP_LOOP(expression)                                                                      \
  do {                                                                                            \
    long i = 0;                                                                                   \
    for (; i + W <= n; i += W) {                                                                  \
      const vf v = load(x + i);                                                                   \
      store(y + i, expression);                                                                   \
    }                                                                                             \
    if (i < n) {                                                                                  \
      const vf v = load_part(x + i, n - i);                                                       \
      store_part(y + i, expression, n - i);                                                       \
    }                                                                                             \
  } while (0);                                                                                    \
  break

/// 2√(2/π)·(x + 0.044715·x³) = 2u; with tanh u = 2·sigmoid(2u) − 1 is GELU x·sigmoid(2u), which keeps
/// its digits in the lower tail.
INLINE vf gelu_argument(vf x) { return x * (1.59576912f + 0.0713548163f * (x * x)); }

static void map(int f, float a, float b, float *y, const float *x, long n) {
  const vf zero = splat(0), one = splat(1);
  switch (f) {
  case CNL_RELU: MAP_LOOP(v < zero ? zero : v);
  case CNL_RELU6: MAP_LOOP(clamp(v, zero, splat(6)));
  case CNL_LEAKY_RELU: MAP_LOOP(v < zero ? v * a : v);
  case CNL_CLIP: MAP_LOOP(clamp(v, splat(a), splat(b)));
  case CNL_AFFINE: MAP_LOOP(v * a + b);
  case CNL_SIGMOID: MAP_LOOP(sigmoid_of(v));
  case CNL_TANH: MAP_LOOP(tanh_of(v));
  case CNL_EXP: MAP_LOOP(exponential(v));
  case CNL_LOG: MAP_LOOP(logarithm(v));
  case CNL_SQRT: MAP_LOOP(root(v));
  case CNL_RECIPROCAL: MAP_LOOP(1.0f / v);
  case CNL_NEGATE: MAP_LOOP(-v);
  case CNL_ABSOLUTE: MAP_LOOP(magnitude(v));
  case CNL_SQUARE: MAP_LOOP(v * v);
  case CNL_SOFTPLUS:
    MAP_LOOP((v < zero ? zero : v) + logarithm_of_one_plus(exponential(-magnitude(v))));
  case CNL_SILU: MAP_LOOP(v * sigmoid_of(v));
  case CNL_HARD_SIGMOID: MAP_LOOP(clamp(v * a + b, zero, one));
  case CNL_HARD_SWISH: MAP_LOOP(v * clamp(v * (1.0f / 6) + 0.5f, zero, one));
  case CNL_ELU: MAP_LOOP(v < zero ? a * exponential_minus_one(v) : v);
  case CNL_GELU: MAP_LOOP(0.5f * v * (1.0f + error_function(v * 0.707106781f)));
  case CNL_ERF: MAP_LOOP(error_function(v));
  case CNL_GELU_TANH: MAP_LOOP(v * sigmoid_of(gelu_argument(v)));
  case CNL_FLOOR: MAP_LOOP(__builtin_elementwise_floor(v));
  case CNL_CEILING: MAP_LOOP(__builtin_elementwise_ceil(v));
  case CNL_ROUND: MAP_LOOP(__builtin_elementwise_roundeven(v));
  case CNL_SIGN: MAP_LOOP(v > zero ? one : (v < zero ? -one : v));
  default: __builtin_trap();
  }
}

#define DERIVATIVE_LOOP(expression)                                                               \
  do {                                                                                            \
    long i = 0;                                                                                   \
    for (; i + W <= n; i += W) {                                                                  \
      const vf v = load(x + i);                                                                   \
      store(dx + i, load(dy + i) * (expression));                                                 \
    }                                                                                             \
    if (i < n) {                                                                                  \
      const vf v = load_part(x + i, n - i);                                                       \
      store_part(dx + i, load_part(dy + i, n - i) * (expression), n - i);                         \
    }                                                                                             \
  } while (0);                                                                                    \
  break

/// s(x)·(1 + x·(1 − s(x))), the derivative of x·s(x).
INLINE vf silu_derivative(vf x) {
  vf s = sigmoid_of(x);
  return s * (1.0f + x * (1.0f - s));
}

/// 1 − tanh² = 4t/(t+1)² with t = e^{−2|x|}: no cancellation where tanh is near 1.
INLINE vf tanh_derivative(vf x) {
  vf t = exponential(-2.0f * magnitude(x));
  return 4.0f * t / ((t + 1.0f) * (t + 1.0f));
}

/// Likewise s(1 − s) = t/(1+t)² with t = e^{−|x|}.
INLINE vf sigmoid_derivative(vf x) {
  vf t = exponential(-magnitude(x));
  return t / ((t + 1.0f) * (t + 1.0f));
}

/// Φ(x) + x·φ(x).
INLINE vf gelu_derivative(vf x) {
  vf density = 0.398942280f * exponential(-0.5f * x * x);
  return 0.5f * (1.0f + error_function(x * 0.707106781f)) + x * density;
}

/// s + x·s·(1 − s)·2u′ with s = sigmoid(2u). Beyond ±30 the second term is 0, where x² could overflow.
INLINE vf gelu_tanh_derivative(vf x) {
  vf c = clamp(x, splat(-30), splat(30)), u = gelu_argument(c);
  return sigmoid_of(u) + c * sigmoid_derivative(u) * (1.59576912f + 0.214064449f * (c * c));
}

static void map_derivative(
    int f, float a, float b, float *dx, const float *dy, const float *x, long n) {
  const vf zero = splat(0), one = splat(1);
  switch (f) {
  case CNL_RELU: DERIVATIVE_LOOP(v <= zero ? zero : one);
  case CNL_RELU6: DERIVATIVE_LOOP(((v <= zero) | (v >= 6.0f)) ? zero : one);
  case CNL_LEAKY_RELU: DERIVATIVE_LOOP(v <= zero ? splat(a) : one);
  case CNL_CLIP: DERIVATIVE_LOOP(((v <= splat(a)) | (v >= splat(b))) ? zero : one);
  case CNL_AFFINE: map(CNL_AFFINE, a, 0, dx, dy, n); break;
  case CNL_SIGMOID: DERIVATIVE_LOOP(sigmoid_derivative(v));
  case CNL_TANH: DERIVATIVE_LOOP(tanh_derivative(v));
  case CNL_EXP: DERIVATIVE_LOOP(exponential(v));
  case CNL_LOG: DERIVATIVE_LOOP(1.0f / v);
  case CNL_SQRT: DERIVATIVE_LOOP(0.5f / root(v));
  case CNL_RECIPROCAL: DERIVATIVE_LOOP(-1.0f / (v * v));
  case CNL_NEGATE: map(CNL_NEGATE, 0, 0, dx, dy, n); break;
  case CNL_ABSOLUTE: DERIVATIVE_LOOP(v > zero ? one : (v < zero ? -one : v));
  case CNL_SQUARE: DERIVATIVE_LOOP(v + v);
  case CNL_SOFTPLUS: DERIVATIVE_LOOP(sigmoid_of(v));
  case CNL_SILU: DERIVATIVE_LOOP(silu_derivative(v));
  case CNL_HARD_SIGMOID:
    DERIVATIVE_LOOP(((v * a + b <= zero) | (v * a + b >= one)) ? zero : splat(a));
  case CNL_HARD_SWISH:
    DERIVATIVE_LOOP(v <= -3.0f ? zero : (v >= 3.0f ? one : v * (1.0f / 3) + 0.5f));
  case CNL_ELU: DERIVATIVE_LOOP(v <= zero ? a * exponential(v) : one);
  case CNL_GELU: DERIVATIVE_LOOP(gelu_derivative(v));
  case CNL_ERF: DERIVATIVE_LOOP(1.128379167f * exponential(-v * v));
  case CNL_GELU_TANH: DERIVATIVE_LOOP(gelu_tanh_derivative(v));
  case CNL_FLOOR:
  case CNL_CEILING:
  case CNL_ROUND:
  case CNL_SIGN: map(CNL_AFFINE, 0, 0, dx, dy, n); break;
  default: __builtin_trap();
  }
}
