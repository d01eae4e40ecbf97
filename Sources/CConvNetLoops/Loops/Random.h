// Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1, 2, 3; SC 2011).
// Word i%4 of the block with counter i/4 belongs to element i, so any range of elements can be
// drawn by itself, in any order, on any number of lanes. W blocks are computed at a time.

enum { WORDS = 4 * W };

typedef struct {
  vu low, high;
} word_pair;

/// All W products of 32 by 32 bits, the even and the odd lanes apart: one instruction each.
INLINE word_pair multiply_words(vu x, uint32_t m) {
  const vu64 lower = 0xffffffff, both = __builtin_bit_cast(vu64, x);
  const vu64 even = (both & lower) * m, odd = (both >> 32) * m;
  return (word_pair){
      __builtin_bit_cast(vu, (even & lower) | (odd << 32)),
      __builtin_bit_cast(vu, (even >> 32) | (odd & ~lower))};
}

/// Words of blocks [block, block + W), in element order.
INLINE void philox_blocks(vu out[4], uint64_t seed, uint64_t stream, uint64_t block) {
  const uint32_t low = (uint32_t)block, high = (uint32_t)(block >> 32);
  vu x0 = low + __builtin_bit_cast(vu, lane_numbers());
  vu x1 = x0 < low ? (vu)(high + 1) : (vu)high;  // the carry
  vu x2 = (uint32_t)stream, x3 = (uint32_t)(stream >> 32);
  uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
  UNROLL for (int round = 0; round < 10; round++) {
    const word_pair a = multiply_words(x0, 0xD2511F53u), b = multiply_words(x2, 0xCD9E8D57u);
    x0 = b.high ^ x1 ^ k0;
    x1 = b.low;
    x2 = a.high ^ x3 ^ k1;
    x3 = a.low;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  const vu even = LOW_HALVES(x0, x2), evenHigh = HIGH_HALVES(x0, x2);
  const vu odd = LOW_HALVES(x1, x3), oddHigh = HIGH_HALVES(x1, x3);
  out[0] = LOW_HALVES(even, odd);
  out[1] = HIGH_HALVES(even, odd);
  out[2] = LOW_HALVES(evenHigh, oddHigh);
  out[3] = HIGH_HALVES(evenHigh, oddHigh);
}

INLINE void philox_store(uint32_t *to, uint64_t seed, uint64_t stream, uint64_t block) {
  vu out[4];
  philox_blocks(out, seed, stream, block);
  UNROLL for (int j = 0; j < 4; j++) *(vu_memory *)(to + j * W) = out[j];
}

static void philox(uint32_t *words, uint64_t seed, uint64_t stream, uint64_t first, long n) {
  const long skip = (long)(first % 4);
  uint64_t block = first / 4;
  long i = 0;
  if (skip == 0) {
    for (; i + WORDS <= n; i += WORDS, block += W) philox_store(words + i, seed, stream, block);
  }
  uint32_t some[WORDS];
  for (long from = skip; i < n; block += W, from = 0) {
    philox_store(some, seed, stream, block);
    const long count = n - i < WORDS - from ? n - i : WORDS - from;
    memcpy(words + i, some + from, (size_t)count * sizeof(uint32_t));
    i += count;
  }
}

static void dropout(
    float *y, const float *x, uint64_t seed, uint64_t stream, uint64_t first, uint32_t threshold,
    float scale, long n) {
  uint64_t block = first / 4;
  long i = 0;
  if (first % 4 == 0) {
    for (; i + WORDS <= n; i += WORDS, block += W) {
      vu words[4];
      philox_blocks(words, seed, stream, block);
      UNROLL for (int j = 0; j < 4; j++) {
        const vf kept = load(x + i + j * W) * scale;
        store(y + i + j * W, words[j] >= threshold ? kept : splat(0));
      }
    }
  }
  uint32_t some[WORDS];
  for (long from = (long)(first % 4); i < n; block += W, from = 0) {
    philox_store(some, seed, stream, block);
    for (; from < WORDS && i < n; from++, i++) y[i] = some[from] >= threshold ? x[i] * scale : 0;
  }
}
