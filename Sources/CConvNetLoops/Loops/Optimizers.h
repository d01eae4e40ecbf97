// Parameter updates in one pass over weights, state and gradient.

/// scale·g, cut off at ±limit before.
INLINE vf clipped(vf g, float scale, float limit) {
  return scale * smaller(larger(g, splat(-limit)), splat(limit));
}

typedef struct {
  vf w, v;
} sgd_state;

INLINE sgd_state sgd_step(
    const int nesterov, sgd_state s, vf g, float rate, float momentum, float decay) {
  g += decay * s.w;
  s.v = momentum * s.v + g;
  s.w -= rate * (nesterov ? g + momentum * s.v : s.v);
  return s;
}

INLINE void sgd_loop(
    const int nesterov, float *w, float *v, const float *g, float rate, float momentum, float decay,
    float scale, float limit, long n) {
  long i = 0;
  for (; i + W <= n; i += W) {
    sgd_state s = {load(w + i), load(v + i)};
    s = sgd_step(nesterov, s, clipped(load(g + i), scale, limit), rate, momentum, decay);
    store(w + i, s.w);
    store(v + i, s.v);
  }
  const long part = n - i;
  if (part > 0) {
    sgd_state s = {load_part(w + i, part), load_part(v + i, part)};
    const vf last = clipped(load_part(g + i, part), scale, limit);
    s = sgd_step(nesterov, s, last, rate, momentum, decay);
    store_part(w + i, s.w, part);
    store_part(v + i, s.v, part);
  }
}

static void sgd(
    float *w, float *velocity, const float *g, float rate, float momentum, float decay,
    float scale, float limit, int nesterov, long n) {
  if (nesterov) {
    sgd_loop(1, w, velocity, g, rate, momentum, decay, scale, limit, n);
  } else {
    sgd_loop(0, w, velocity, g, rate, momentum, decay, scale, limit, n);
  }
}

typedef struct {
  float rate, beta1, beta2, epsilon, coupledDecay, decoupledDecay, correction1, correction2, scale,
      limit;
} adam_constants;

INLINE void adam_step(float *w, float *m, float *v, const float *g, adam_constants k, long part) {
  const vf weight = load_some(w, part);
  const vf gradient = clipped(load_some(g, part), k.scale, k.limit) + k.coupledDecay * weight;
  const vf first = k.beta1 * load_some(m, part) + (1 - k.beta1) * gradient;
  const vf second = k.beta2 * load_some(v, part) + (1 - k.beta2) * (gradient * gradient);
  const vf direction = (first / k.correction1) / (root(second / k.correction2) + k.epsilon);
  store_some(m, first, part);
  store_some(v, second, part);
  store_some(w, weight - k.rate * (direction + k.decoupledDecay * weight), part);
}

static void adam(
    float *w, float *m, float *v, const float *g, float rate, float beta1, float beta2,
    float epsilon, float coupledDecay, float decoupledDecay, float correction1, float correction2,
    float scale, float limit, long n) {
  const adam_constants k = {rate,           beta1,       beta2,       epsilon, coupledDecay,
                            decoupledDecay, correction1, correction2, scale,   limit};
  long i = 0;
  for (; i + W <= n; i += W) adam_step(w + i, m + i, v + i, g + i, k, 0);
  if (i < n) adam_step(w + i, m + i, v + i, g + i, k, n - i);
}

INLINE void average_step(float *y, const float *x, float take, long part) {
  const vf old = load_some(y, part);
  store_some(y, old + take * (load_some(x, part) - old), part);
}

static void average(float *y, const float *x, float take, long n) {
  long i = 0;
  for (; i + W <= n; i += W) average_step(y + i, x + i, take, 0);
  if (i < n) average_step(y + i, x + i, take, n - i);
}
