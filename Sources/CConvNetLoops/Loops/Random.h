// Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1, 2, 3; SC 2011).
// Word i%4 of the block with counter i/4 belongs to element i, so any range of elements can be drawn
// by itself, in any order, on any number of lanes. W blocks are computed at a time.

enum { WORDS = 4 * W };

// A macro: as an argument a vector of W 64-bit lanes would not fit a register of the variant.
#define HIGH_WORD(product) __builtin_convertvector((product) >> 32, vu)

/// Words of blocks [block, block + W), in element order.
INLINE void philox_blocks(vu out[4], uint64_t seed, uint64_t stream, uint64_t block) {
  vu64 counter = block;
  UNROLL for (int i = 0; i < W; i++) counter[i] += (uint64_t)i;
  vu x0 = __builtin_convertvector(counter, vu), x1 = HIGH_WORD(counter);
  vu x2 = (uint32_t)stream, x3 = (uint32_t)(stream >> 32);
  uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
  UNROLL for (int round = 0; round < 10; round++) {
    const vu64 a = __builtin_convertvector(x0, vu64) * 0xD2511F53u;
    const vu64 b = __builtin_convertvector(x2, vu64) * 0xCD9E8D57u;
    x0 = HIGH_WORD(b) ^ x1 ^ k0;
    x1 = __builtin_convertvector(b, vu);
    x2 = HIGH_WORD(a) ^ x3 ^ k1;
    x3 = __builtin_convertvector(a, vu);
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
