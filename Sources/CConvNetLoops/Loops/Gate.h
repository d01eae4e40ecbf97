// The derivative of a clamp as a gate for gradients: g·f′(n) with n = a·(x − m) + b what a
// normalisation gave the clamp, recomputed from x instead of read. The expression is that of
// APPLY_NORMALIZE, so that the same products are fused and n has the same bits. As in
// `map_derivative`, f′ is 0 at the corners and 1 for NaN; a corner that is NaN does not exist.

/// Rows of a and b and the corners; modes without a gate pass rows they do not read.
typedef struct {
  const float *a, *b;
  float lo, hi;
} gate_rows;

typedef struct {
  vf a, b, lo, hi;
} gate;

INLINE gate_rows no_gate(const float *row) { return (gate_rows){row, row, 0, 0}; }

INLINE gate_rows gate_from(gate_rows f, long c) {
  return (gate_rows){f.a + c, f.b + c, f.lo, f.hi};
}

INLINE gate load_gate(gate_rows f, long part) {
  return (gate){load_some(f.a, part), load_some(f.b, part), splat(f.lo), splat(f.hi)};
}

INLINE gate splat_gate(gate_rows f, long c) {
  return (gate){splat(f.a[c]), splat(f.b[c]), splat(f.lo), splat(f.hi)};
}

/// g·f′(a·d + b) with d = x − m.
INLINE vf gated(vf g, vf d, gate f) {
  const vf n = f.a * d + f.b;
  return g * (((n <= f.lo) | (n >= f.hi)) ? splat(0) : splat(1));
}
