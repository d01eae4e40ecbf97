// Elementwise maps whose parameters belong to channels, over a matrix rows × C:
//
//   APPLY_NORMALIZE      y = clamp(a·(x − m) + b, lo, hi)
//   APPLY_NORMALIZE_ADD  y = clamp(a·(x − m) + b + g, lo, hi)
//   APPLY_GRADIENT       y = g·a + (x − m)·b + k
//   APPLY_GATED          the same of g·f′(gate.a·(x − m) + gate.b), see Gate.h
//   APPLY_BIAS           y = clamp(x + b, lo, hi)
//   APPLY_BIAS_ADD       y = clamp(x + b + g, lo, hi)
//
// Where x lies near m, x − m is exact (Sterbenz 1974), which a·x + b with b ≈ −a·m is far from.
// Up to 64 channels the parameters stay in registers over all rows; beyond, they are loaded for
// every row: rows that share them are read and written in turns, which costs more (measured: 5 %).
// y may be x or g: every element is read before it is written, and only once.

enum {
  APPLY_NORMALIZE,
  APPLY_NORMALIZE_ADD,
  APPLY_GRADIENT,
  APPLY_GATED,
  APPLY_BIAS,
  APPLY_BIAS_ADD,
};

/// Operands and parameters of one call; a mode leaves those it does not use undefined.
typedef struct {
  float *y;
  const float *x, *g, *m, *a, *b, *k;
  long yRow, xRow, gRow;
  float lo, hi;
  gate_rows gate;
} apply_operands;

typedef struct {
  vf m, a, b, k;
  gate gate;
} apply_parameters;

/// Whether a mode is the gradient of a normalisation.
INLINE int is_gradient(const int mode) { return mode == APPLY_GRADIENT || mode == APPLY_GATED; }

INLINE apply_parameters load_parameters(
    const int mode, const apply_operands *o, long c, long part) {
  apply_parameters p = {.b = load_some(o->b + c, part)};
  if (mode <= APPLY_GATED) p.m = load_some(o->m + c, part), p.a = load_some(o->a + c, part);
  if (is_gradient(mode)) p.k = load_some(o->k + c, part);
  if (mode == APPLY_GATED) p.gate = load_gate(gate_from(o->gate, c), part);
  return p;
}

INLINE vf apply_formula(const int mode, vf x, vf g, apply_parameters p, vf lo, vf hi) {
  switch (mode) {
  case APPLY_NORMALIZE: return clamp(p.a * (x - p.m) + p.b, lo, hi);
  case APPLY_NORMALIZE_ADD: return clamp(p.a * (x - p.m) + p.b + g, lo, hi);
  case APPLY_GRADIENT: return g * p.a + ((x - p.m) * p.b + p.k);
  case APPLY_GATED: return gated(g, x - p.m, p.gate) * p.a + ((x - p.m) * p.b + p.k);
  case APPLY_BIAS: return clamp(x + p.b, lo, hi);
  default: return clamp(x + p.b + g, lo, hi);
  }
}

INLINE void apply_at(
    const int mode, const int stream, const apply_operands *o, long r, long c, long part,
    apply_parameters p, vf lo, vf hi) {
  const int second = mode != APPLY_NORMALIZE && mode != APPLY_BIAS;
  const vf x = load_some(o->x + r * o->xRow + c, part);
  const vf g = second ? load_some(o->g + r * o->gRow + c, part) : splat(0);
  const vf y = apply_formula(mode, x, g, p, lo, hi);
  float *to = o->y + r * o->yRow + c;
  if (stream) {
    __builtin_nontemporal_store(y, (vf *)(void *)to);
  } else {
    store_some(to, y, part);
  }
}

/// `V` vectors of channels from c over all rows, `U` rows at a time.
INLINE void apply_group(
    const int mode, const int stream, const int V, const int U, const apply_operands *o, long c,
    long rows, long part) {
  const vf lo = splat(o->lo), hi = splat(o->hi);
  apply_parameters p[4];
  UNROLL for (int v = 0; v < V; v++) p[v] = load_parameters(mode, o, c + v * W, part);
  long r = 0;
  for (; r + U <= rows; r += U) {
    UNROLL for (int u = 0; u < U; u++) {
      UNROLL for (int v = 0; v < V; v++) {
        apply_at(mode, stream, o, r + u, c + v * W, part, p[v], lo, hi);
      }
    }
  }
  for (; r < rows; r++) {
    UNROLL for (int v = 0; v < V; v++) apply_at(mode, stream, o, r, c + v * W, part, p[v], lo, hi);
  }
}

/// Row r over all channels.
INLINE void apply_wide(
    const int mode, const int stream, const apply_operands *o, long r, long C) {
  const vf lo = splat(o->lo), hi = splat(o->hi);
  long c = 0;
  for (; c + W <= C; c += W) {
    apply_at(mode, stream, o, r, c, 0, load_parameters(mode, o, c, 0), lo, hi);
  }
  if (c < C) apply_at(mode, 0, o, r, c, C - c, load_parameters(mode, o, c, C - c), lo, hi);
}

INLINE void apply_columns(
    const int mode, const int stream, const apply_operands *o, long rows, long C) {
  if (C > 64) {
    for (long r = 0; r < rows; r++) apply_wide(mode, stream, o, r, C);
    return;
  }
  long c = 0;
  for (; c + 4 * W <= C; c += 4 * W) apply_group(mode, stream, 4, 1, o, c, rows, 0);
  for (; c + 2 * W <= C; c += 2 * W) apply_group(mode, stream, 2, 2, o, c, rows, 0);
  for (; c + W <= C; c += W) apply_group(mode, stream, 1, 4, o, c, rows, 0);
  if (c < C) apply_group(mode, 0, 1, 2, o, c, rows, C - c);
}

/// Fewer channels than lanes, all rows dense: W rows become one row of W·C channels.
INLINE void apply_narrow(const int mode, const apply_operands *o, long rows, long C) {
  float m[W * W], a[W * W], b[W * W], k[W * W], gateA[W * W], gateB[W * W];
  apply_operands wide = *o;
  const long period = C * W, steps = rows / W;
  for (long i = 0; i < period; i++) {
    b[i] = o->b[i % C];
    m[i] = mode <= APPLY_GATED ? o->m[i % C] : 0;
    a[i] = mode <= APPLY_GATED ? o->a[i % C] : 0;
    k[i] = is_gradient(mode) ? o->k[i % C] : 0;
    if (mode == APPLY_GATED) gateA[i] = o->gate.a[i % C], gateB[i] = o->gate.b[i % C];
  }
  wide.m = m, wide.a = a, wide.b = b, wide.k = k;
  wide.gate.a = gateA, wide.gate.b = gateB;
  wide.yRow = wide.xRow = wide.gRow = period;
  for (long r = 0; r < steps; r++) apply_wide(mode, 0, &wide, r, period);
  const long rest = (rows - steps * W) * C;
  if (rest) apply_wide(mode, 0, &wide, steps, rest);
}

/// `nontemporal` bypasses the caches where every vector of y is aligned; elsewhere it is ignored.
INLINE void apply(const int mode, const apply_operands *o, long rows, long C, int nontemporal) {
  const int dense = o->yRow == C && o->xRow == C && (o->gRow == C || o->gRow == 0);
  const int aligned = (uintptr_t)o->y % sizeof(vf) == 0 && o->yRow % W == 0;
  if (rows <= 0 || C <= 0) return;
  if (C < W && dense) {
    apply_narrow(mode, o, rows, C);
  } else if (nontemporal && aligned) {
    apply_columns(mode, 1, o, rows, C);
#if defined(__x86_64__)
    __builtin_ia32_sfence();
#endif
  } else {
    apply_columns(mode, 0, o, rows, C);
  }
}
