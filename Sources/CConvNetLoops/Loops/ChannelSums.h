// Sums over rows for each channel, the shape shared by row sums, batch moments and gradient sums:
//
//   SUMS_PLAIN     s[c] = Σ x
//   SUMS_MOMENTS   s[c] = Σ (x−m[c])    q[c] = Σ (x−m[c])²
//   SUMS_GRADIENT  s[c] = Σ g           q[c] = Σ g·(x−m[c])
//   SUMS_GATED     the same of g·f′(a[c]·(x−m[c]) + b[c]), see Gate.h
//
// all in float, over one block of rows short enough for that (the caller merges blocks in Double).
// Up to 64 channels a group of channels stays in registers over all rows (measured: 1.1 × the time
// to read the block); beyond, rows are read in order and eight of them share one trip of the sums
// through L1, because strided passes over a wide block defeat the prefetcher.

enum { SUMS_PLAIN, SUMS_MOMENTS, SUMS_GRADIENT, SUMS_GATED };

typedef struct {
  vf s, q;
} sum_pair;

INLINE sum_pair sums_step(
    const int mode, sum_pair t, vf x, const float *g, long part, vf m, gate f) {
  if (mode == SUMS_PLAIN) {
    t.s += x;
  } else if (mode == SUMS_MOMENTS) {
    vf d = x - m;
    t.s += d;
    t.q += d * d;
  } else {
    vf v = load_some(g, part), d = x - m;
    if (mode == SUMS_GATED) v = gated(v, d, f);
    t.s += v;
    t.q += v * d;
  }
  return t;
}

/// A group of `V` vectors of channels over all rows, `U` rows at a time, each with its own sums.
INLINE void sums_group(
    const int mode, const int V, const int U, float *s, float *q, const float *x, const float *g,
    const float *m, gate_rows f, long row, long rows, long part) {
  sum_pair t[8];
  vf shift[4];
  gate gates[4];
  UNROLL for (int i = 0; i < U * V; i++) t[i] = (sum_pair){0, 0};
  UNROLL for (int v = 0; v < V; v++) {
    shift[v] = mode == SUMS_PLAIN ? splat(0) : load_some(m + v * W, part);
    gates[v] = mode == SUMS_GATED ? load_gate(gate_from(f, v * W), part) : (gate){0};
  }
  long r = 0;
  for (; r + U <= rows; r += U) {
    UNROLL for (int u = 0; u < U; u++) {
      UNROLL for (int v = 0; v < V; v++) {
        const long i = (r + u) * row + v * W;
        t[u * V + v] = sums_step(
            mode, t[u * V + v], load_some(x + i, part), g + i, part, shift[v], gates[v]);
      }
    }
  }
  for (; r < rows; r++) {
    UNROLL for (int v = 0; v < V; v++) {
      const long i = r * row + v * W;
      t[v] = sums_step(mode, t[v], load_some(x + i, part), g + i, part, shift[v], gates[v]);
    }
  }
  UNROLL for (int v = 0; v < V; v++) {
    UNROLL for (int u = 1; u < U; u++) t[v].s += t[u * V + v].s, t[v].q += t[u * V + v].q;
    store_some(s + v * W, t[v].s, part);
    if (mode != SUMS_PLAIN) store_some(q + v * W, t[v].q, part);
  }
}

/// Fewer channels than lanes, rows dense: W rows are C whole vectors; each of the C phases sums its
/// own lanes, whose channels repeat from step to step, and lanes fold into channels at the end.
INLINE void sums_narrow(
    const int mode, float *s, float *q, const float *x, const float *g, const float *m,
    gate_rows f, long rows, long C) {
  float shift[W * W], sums[W * W], products[W * W], a[W * W], b[W * W];
  for (long i = 0; i < C * W; i++) {
    shift[i] = mode == SUMS_PLAIN ? 0 : m[i % C];
    if (mode == SUMS_GATED) a[i] = f.a[i % C], b[i] = f.b[i % C];
  }
  const long steps = rows / W, done = steps * W * C;
  for (long k = 0; k < C; k++) {
    sums_group(
        mode, 1, 4, sums + k * W, products + k * W, x + k * W, g + k * W, shift + k * W,
        (gate_rows){a + k * W, b + k * W, f.lo, f.hi}, C * W, steps, 0);
  }
  for (long c = 0; c < C; c++) {
    float sum = 0, product = 0;
    for (long i = c; i < C * W; i += C) {
      sum += sums[i];
      if (mode != SUMS_PLAIN) product += products[i];
    }
    for (long i = done + c; i < rows * C; i += C) {
      const float d = mode == SUMS_PLAIN ? 0 : x[i] - m[c];
      float v = mode >= SUMS_GRADIENT ? g[i] : mode == SUMS_MOMENTS ? d : x[i];
      if (mode == SUMS_GATED) v = gated(splat(v), splat(d), splat_gate(f, c))[0];
      sum += v;
      if (mode != SUMS_PLAIN) product += v * d;
    }
    s[c] = sum;
    if (mode != SUMS_PLAIN) q[c] = product;
  }
}

/// Rows [0, rows) of one vector of channels, added to sums in memory; `rows` is a constant.
INLINE void sums_visit(
    const int mode, const int rows, float *s, float *q, const float *x, const float *g,
    const float *m, gate_rows f, long row, long part) {
  const gate k = mode == SUMS_GATED ? load_gate(f, part) : (gate){0};
  const vf shift = mode == SUMS_PLAIN ? splat(0) : load_some(m, part);
  sum_pair even = {load_some(s, part), mode == SUMS_PLAIN ? splat(0) : load_some(q, part)};
  sum_pair odd = {0, 0};
  UNROLL for (int r = 0; r < rows; r += 2) {
    even = sums_step(mode, even, load_some(x + r * row, part), g + r * row, part, shift, k);
    if (r + 1 < rows) {
      const long i = (r + 1) * row;
      odd = sums_step(mode, odd, load_some(x + i, part), g + i, part, shift, k);
    }
  }
  store_some(s, even.s + odd.s, part);
  if (mode != SUMS_PLAIN) store_some(q, even.q + odd.q, part);
}

INLINE void sums_wide(
    const int mode, float *s, float *q, const float *x, const float *g, const float *m,
    gate_rows f, long row, long rows, long C) {
  zero_floats(s, C);
  if (mode != SUMS_PLAIN) zero_floats(q, C);
  long r = 0;
  for (; r + 8 <= rows; r += 8) {
    const long o = r * row;
    long c = 0;
    for (; c + W <= C; c += W) {
      sums_visit(
          mode, 8, s + c, q + c, x + o + c, g + o + c, m + c, gate_from(f, c), row, 0);
    }
    if (c < C) {
      sums_visit(
          mode, 8, s + c, q + c, x + o + c, g + o + c, m + c, gate_from(f, c), row, C - c);
    }
  }
  for (; r < rows; r++) {
    const long o = r * row;
    long c = 0;
    for (; c + W <= C; c += W) {
      sums_visit(
          mode, 1, s + c, q + c, x + o + c, g + o + c, m + c, gate_from(f, c), row, 0);
    }
    if (c < C) {
      sums_visit(
          mode, 1, s + c, q + c, x + o + c, g + o + c, m + c, gate_from(f, c), row, C - c);
    }
  }
}

/// Overwrites s (and q, unless mode is SUMS_PLAIN). Pointers a mode does not use are never read.
INLINE void channel_sums(
    const int mode, float *s, float *q, const float *x, const float *g, const float *m,
    gate_rows f, long row, long rows, long C) {
  if (C < W && row == C) {
    sums_narrow(mode, s, q, x, g, m, f, rows, C);
  } else if (C > 64) {
    sums_wide(mode, s, q, x, g, m, f, row, rows, C);
  } else {
    long c = 0;
    for (; c + 4 * W <= C; c += 4 * W) {
      sums_group(
          mode, 4, 1, s + c, q + c, x + c, g + c, m + c, gate_from(f, c), row, rows, 0);
    }
    for (; c + 2 * W <= C; c += 2 * W) {
      sums_group(
          mode, 2, 2, s + c, q + c, x + c, g + c, m + c, gate_from(f, c), row, rows, 0);
    }
    for (; c + W <= C; c += W) {
      sums_group(
          mode, 1, 4, s + c, q + c, x + c, g + c, m + c, gate_from(f, c), row, rows, 0);
    }
    if (c < C) {
      sums_group(
          mode, 1, 4, s + c, q + c, x + c, g + c, m + c, gate_from(f, c), row, rows, C - c);
    }
  }
}
