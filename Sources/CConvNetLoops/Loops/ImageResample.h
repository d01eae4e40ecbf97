// Resampling of images of bytes by weights in 22 bits of fraction, a rounded sum of which is clipped to
// a byte again: the fixed-point rule of Pillow, whose bits these are.

enum { SAMPLE_BITS = 22 };

typedef uint8_t bytes4 __attribute__((ext_vector_type(4)));
typedef int32_t words4 __attribute__((ext_vector_type(4)));
typedef uint8_t sample_bytes __attribute__((ext_vector_type(CNL_WIDTH)));
typedef sample_bytes sample_bytes_memory __attribute__((aligned(1), may_alias));

INLINE uint8_t sample_clip(int32_t t) {
  t >>= SAMPLE_BITS;
  return (uint8_t)(t < 0 ? 0 : t > 255 ? 255 : t);
}

/// Three bytes and, where `reads` is 4, the one behind them.
INLINE words4 sample_pixel(const uint8_t *x, const size_t reads) {
  bytes4 v = 0;
  memcpy(&v, x, reads);
  return __builtin_convertvector(v, words4);
}

INLINE void sample_store_pixel(uint8_t *y, words4 t) {
  t >>= SAMPLE_BITS;
  t = t < 0 ? (words4)0 : t;
  t = t > 255 ? (words4)255 : t;
  const bytes4 v = __builtin_convertvector(t, bytes4);
  memcpy(y, &v, 3);
}

/// One pixel of `rows` (a constant) rows of three channels.
INLINE void sample_pixels(
    uint8_t *y, long yRow, const uint8_t *x, long xRow, const int32_t *weights, long taps,
    const long rows, const size_t reads) {
  words4 t[4];
  UNROLL for (long r = 0; r < rows; r++) t[r] = 1 << (SAMPLE_BITS - 1);
  for (long i = 0; i < taps; i++) {
    UNROLL for (long r = 0; r < rows; r++) {
      t[r] += sample_pixel(x + r * xRow + 3 * i, reads) * weights[i];
    }
  }
  UNROLL for (long r = 0; r < rows; r++) sample_store_pixel(y + r * yRow, t[r]);
}

/// The same of one channel, the taps of which are `step` bytes apart.
INLINE void sample_levels(
    uint8_t *y, long yRow, const uint8_t *x, long xRow, long step, const int32_t *weights,
    long taps, const long rows) {
  int32_t t[4];
  UNROLL for (long r = 0; r < rows; r++) t[r] = 1 << (SAMPLE_BITS - 1);
  for (long i = 0; i < taps; i++) {
    UNROLL for (long r = 0; r < rows; r++) t[r] += x[r * xRow + i * step] * weights[i];
  }
  UNROLL for (long r = 0; r < rows; r++) y[r * yRow] = sample_clip(t[r]);
}

INLINE void sample_row_group(
    uint8_t *y, long yRow, const uint8_t *x, long xRow, long xWidth, const long *spans,
    const int32_t *weights, long maximum, long width, long channels, const long rows) {
  for (long o = 0; o < width; o++) {
    const long first = spans[2 * o], taps = spans[2 * o + 1];
    const int32_t *w = weights + o * maximum;
    const uint8_t *from = x + first * channels;
    if (channels == 1) {
      sample_levels(y + o, yRow, from, xRow, 1, w, taps, rows);
    } else if (first + taps < xWidth) {
      sample_pixels(y + 3 * o, yRow, from, xRow, w, taps, rows, 4);
    } else {
      sample_pixels(y + 3 * o, yRow, from, xRow, w, taps, rows, 3);
    }
  }
}

static void resample_columns(
    uint8_t *y, long yRow, const uint8_t *x, long xRow, long xWidth, const long *spans,
    const int32_t *weights, long maximum, long rows, long width, long channels) {
  long r = 0;
  for (; r + 4 <= rows; r += 4) {
    sample_row_group(
        y + r * yRow, yRow, x + r * xRow, xRow, xWidth, spans, weights, maximum, width, channels,
        4);
  }
  for (; r < rows; r++) {
    sample_row_group(
        y + r * yRow, yRow, x + r * xRow, xRow, xWidth, spans, weights, maximum, width, channels,
        1);
  }
}

/// `vectors` (a constant) vectors of a row of y.
INLINE void sample_vectors(
    uint8_t *y, const uint8_t *x, long xRow, const int32_t *weights, long taps,
    const long vectors) {
  vi t[4];
  UNROLL for (long v = 0; v < vectors; v++) t[v] = 1 << (SAMPLE_BITS - 1);
  for (long i = 0; i < taps; i++) {
    UNROLL for (long v = 0; v < vectors; v++) {
      const sample_bytes p = *(const sample_bytes_memory *)(x + i * xRow + v * W);
      t[v] += __builtin_convertvector(p, vi) * weights[i];
    }
  }
  UNROLL for (long v = 0; v < vectors; v++) {
    vi s = t[v] >> SAMPLE_BITS;
    s = s < 0 ? (vi)0 : s;
    s = s > 255 ? (vi)255 : s;
    *(sample_bytes_memory *)(y + v * W) = __builtin_convertvector(s, sample_bytes);
  }
}

static void resample_rows(
    uint8_t *y, const uint8_t *x, long xRow, const int32_t *weights, long taps, long n) {
  long c = 0;
  for (; c + 4 * W <= n; c += 4 * W) sample_vectors(y + c, x + c, xRow, weights, taps, 4);
  for (; c + W <= n; c += W) sample_vectors(y + c, x + c, xRow, weights, taps, 1);
  for (; c < n; c++) sample_levels(y + c, 0, x + c, 0, xRow, weights, taps, 1);
}
