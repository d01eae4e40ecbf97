// The vector of the variant being compiled: CNL_WIDTH floats, that is one register of its
// instruction set (zmm, ymm, xmm or a NEON quad), so that accumulators counted in vectors stay in
// registers in every variant. Loads and stores assume no alignment. A tail shorter than a vector
// goes through `load_part` and `store_part`, which touch exactly the elements that exist, so every
// loop may run in place.
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")

enum { W = CNL_WIDTH };

typedef float vf __attribute__((ext_vector_type(CNL_WIDTH)));
typedef int32_t vi __attribute__((ext_vector_type(CNL_WIDTH)));
typedef uint32_t vu __attribute__((ext_vector_type(CNL_WIDTH)));
typedef uint64_t vu64 __attribute__((ext_vector_type(CNL_WIDTH / 2)));
typedef double vd __attribute__((ext_vector_type(CNL_WIDTH)));
typedef vf vf_memory __attribute__((aligned(4), may_alias));
typedef vu vu_memory __attribute__((aligned(4), may_alias));
typedef vd vd_memory __attribute__((aligned(8), may_alias));

/// All elements of `x` between those of `y`: lower and upper halves of both, interleaved.
#if CNL_WIDTH == 16
#define LOW_HALVES(x, y)                                                                          \
  __builtin_shufflevector(x, y, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define HIGH_HALVES(x, y)                                                                         \
  __builtin_shufflevector(x, y, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#elif CNL_WIDTH == 8
#define LOW_HALVES(x, y) __builtin_shufflevector(x, y, 0, 8, 1, 9, 2, 10, 3, 11)
#define HIGH_HALVES(x, y) __builtin_shufflevector(x, y, 4, 12, 5, 13, 6, 14, 7, 15)
#else
#define LOW_HALVES(x, y) __builtin_shufflevector(x, y, 0, 4, 1, 5)
#define HIGH_HALVES(x, y) __builtin_shufflevector(x, y, 2, 6, 3, 7)
#endif

INLINE vf load(const float *p) { return *(const vf_memory *)p; }
INLINE void store(float *p, vf v) { *(vf_memory *)p = v; }
INLINE vf splat(float x) { return (vf)x; }
/// 0, 1, 2 … in the lanes.
INLINE vi lane_numbers(void) {
  vi v = 0;
  UNROLL for (int i = 0; i < W; i++) v[i] = i;
  return v;
}

INLINE vi bits_of(vf x) { return __builtin_bit_cast(vi, x); }
INLINE vf float_of(vi x) { return __builtin_bit_cast(vf, x); }

/// The first `n` < W elements at `p`; the others are 0.
INLINE vf load_part(const float *p, long n) {
#if CNL_WIDTH == 16
  return __builtin_bit_cast(vf, _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p));
#elif CNL_WIDTH == 8
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane);
  return __builtin_bit_cast(vf, _mm256_maskload_ps(p, mask));
#else
  vf v = 0;
  if (n > 0) v[0] = p[0];
  if (n > 1) v[1] = p[1];
  if (n > 2) v[2] = p[2];
  return v;
#endif
}

/// Stores the first `n` < W elements and touches nothing else.
INLINE void store_part(float *p, vf v, long n) {
#if CNL_WIDTH == 16
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), __builtin_bit_cast(__m512, v));
#elif CNL_WIDTH == 8
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane);
  _mm256_maskstore_ps(p, mask, __builtin_bit_cast(__m256, v));
#else
  if (n > 0) p[0] = v[0];
  if (n > 1) p[1] = v[1];
  if (n > 2) p[2] = v[2];
#endif
}

/// `part` is 0 for a whole vector, else the number of elements that exist; a constant in hot loops.
INLINE vf load_some(const float *p, long part) { return part ? load_part(p, part) : load(p); }
INLINE void store_some(float *p, vf v, long part) {
  if (part) {
    store_part(p, v, part);
  } else {
    store(p, v);
  }
}

/// lo ≤ x ≤ hi. A NaN fails both comparisons and passes through.
INLINE vf clamp(vf x, vf lo, vf hi) {
  x = x < lo ? lo : x;
  return x > hi ? hi : x;
}

INLINE vf magnitude(vf x) { return float_of(bits_of(x) & 0x7fffffff); }
INLINE vf root(vf x) { return __builtin_elementwise_sqrt(x); }

/// The lanes of a vector folded into one by `join`, halving the vector each time.
#if CNL_WIDTH == 16
#define FOLD(result, v, join)                                                                     \
  do {                                                                                            \
    const __auto_type half = join((v).lo, (v).hi);                                                \
    const __auto_type quarter = join(half.lo, half.hi);                                           \
    const __auto_type pair = join(quarter.lo, quarter.hi);                                        \
    result = join(pair.lo, pair.hi);                                                              \
  } while (0)
#elif CNL_WIDTH == 8
#define FOLD(result, v, join)                                                                     \
  do {                                                                                            \
    const __auto_type half = join((v).lo, (v).hi);                                                \
    const __auto_type pair = join(half.lo, half.hi);                                              \
    result = join(pair.lo, pair.hi);                                                              \
  } while (0)
#else
#define FOLD(result, v, join)                                                                     \
  do {                                                                                            \
    const __auto_type pair = join((v).lo, (v).hi);                                                \
    result = join(pair.lo, pair.hi);                                                              \
  } while (0)
#endif

#define JOIN_SUM(a, b) ((a) + (b))
/// The larger (smaller) of two, NaN if either is: b is taken where it wins or is NaN.
#define JOIN_LARGER(a, b) ((((a) < (b)) | ((b) != (b))) ? (b) : (a))
#define JOIN_SMALLER(a, b) ((((a) > (b)) | ((b) != (b))) ? (b) : (a))

/// Σ of the lanes in Double.
INLINE double lanes_sum(vf v) {
  const vd wide = __builtin_convertvector(v, vd);
  double sum;
  FOLD(sum, wide, JOIN_SUM);
  return sum;
}

INLINE vf larger(vf a, vf b) { return JOIN_LARGER(a, b); }
INLINE vf smaller(vf a, vf b) { return JOIN_SMALLER(a, b); }

INLINE float lanes_largest(vf v) {
  float best;
  FOLD(best, v, JOIN_LARGER);
  return best;
}

INLINE float lanes_smallest(vf v) {
  float best;
  FOLD(best, v, JOIN_SMALLER);
  return best;
}

INLINE void copy_floats(float *dst, const float *src, long n) {
  for (; n >= W; n -= W, dst += W, src += W) store(dst, load(src));
  if (n) store_part(dst, load_part(src, n), n);
}

INLINE void zero_floats(float *dst, long n) {
  for (; n >= W; n -= W, dst += W) store(dst, splat(0));
  if (n) store_part(dst, splat(0), n);
}
