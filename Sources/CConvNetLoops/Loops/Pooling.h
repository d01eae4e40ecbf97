// Max and average pooling and their gradients. Taps outside the image take no part, so padding never
// wins a maximum; a NaN does.

enum { POOL_MAXIMUM, POOL_AVERAGE };

/// One output pixel, `V` vectors of channels; x at channel c of the image.
INLINE void pool_vectors(
    const int kind, const int V, float *y, const float *x, const cnl_window *w, long oy, long ox,
    tap_range v, tap_range h, float count, long part) {
  vf t[4];
  UNROLL for (int i = 0; i < V; i++) t[i] = splat(kind == POOL_MAXIMUM ? -__builtin_inff() : 0);
  for (long ky = v.first; ky < v.last; ky++) {
    const float *p = x + pixel_index(w, oy, ox, ky, h.first);
    for (long kx = h.first; kx < h.last; kx++, p += w->dilationWidth * w->channels) {
      UNROLL for (int i = 0; i < V; i++) {
        const vf u = load_some(p + i * W, part);
        t[i] = kind == POOL_MAXIMUM ? larger(t[i], u) : t[i] + u;
      }
    }
  }
  UNROLL for (int i = 0; i < V; i++) {
    store_some(y + i * W, kind == POOL_MAXIMUM ? t[i] : t[i] / count, part);
  }
}

/// What an average divides by; never 0, so a window wholly outside averages to 0.
INLINE float pool_count(const cnl_window *w, int countsPadding, tap_range v, tap_range h) {
  const long inside = (v.last - v.first) * (h.last - h.first);
  const long count = countsPadding ? w->kernelHeight * w->kernelWidth : inside;
  return count > 0 ? (float)count : 1;
}

INLINE void pool_rows(
    const int kind, float *y, const float *x, const cnl_window *w, int countsPadding, long firstRow,
    long lastRow) {
  const long C = w->channels;
  for (long oy = firstRow; oy < lastRow; oy++) {
    const tap_range v = vertical_taps(w, oy);
    for (long ox = 0; ox < w->outputWidth; ox++) {
      const tap_range h = horizontal_taps(w, ox);
      const float n = kind == POOL_AVERAGE ? pool_count(w, countsPadding, v, h) : 1;
      float *o = y + (oy * w->outputWidth + ox) * C;
      long c = 0;
      for (; c + 4 * W <= C; c += 4 * W) pool_vectors(kind, 4, o + c, x + c, w, oy, ox, v, h, n, 0);
      for (; c + W <= C; c += W) pool_vectors(kind, 1, o + c, x + c, w, oy, ox, v, h, n, 0);
      if (c < C) pool_vectors(kind, 1, o + c, x + c, w, oy, ox, v, h, n, C - c);
    }
  }
}

static void max_pool(float *y, const float *x, const cnl_window *w, long firstRow, long lastRow) {
  pool_rows(POOL_MAXIMUM, y, x, w, 0, firstRow, lastRow);
}

static void average_pool(
    float *y, const float *x, const cnl_window *w, int countsPadding, long firstRow,
    long lastRow) {
  pool_rows(POOL_AVERAGE, y, x, w, countsPadding, firstRow, lastRow);
}

/// First find the winning tap of each lane, then add dy where the tap is the winner.
INLINE void max_pool_return(
    float *dx, const float *dy, const float *x, const cnl_window *w, long oy, long ox, tap_range v,
    tap_range h, long part) {
  vf best = splat(-__builtin_inff());
  vi winner = -1;
  int tap = 0;
  for (long ky = v.first; ky < v.last; ky++) {
    for (long kx = h.first; kx < h.last; kx++, tap++) {
      const vf u = load_some(x + pixel_index(w, oy, ox, ky, kx), part);
      const vi wins = (best < u) | ((u != u) & (best == best)) | (winner < 0);
      best = wins ? u : best;
      winner = wins ? (vi)tap : winner;
    }
  }
  const vf g = load_some(dy, part);
  tap = 0;
  for (long ky = v.first; ky < v.last; ky++) {
    for (long kx = h.first; kx < h.last; kx++, tap++) {
      float *to = dx + pixel_index(w, oy, ox, ky, kx);
      store_some(to, load_some(to, part) + (winner == tap ? g : splat(0)), part);
    }
  }
}

static void max_pool_gradient(float *dx, const float *dy, const float *x, const cnl_window *w) {
  const long C = w->channels;
  zero_floats(dx, w->height * w->width * C);
  for (long oy = 0; oy < w->outputHeight; oy++) {
    const tap_range v = vertical_taps(w, oy);
    for (long ox = 0; ox < w->outputWidth; ox++) {
      const tap_range h = horizontal_taps(w, ox);
      const float *g = dy + (oy * w->outputWidth + ox) * C;
      long c = 0;
      for (; c + W <= C; c += W) max_pool_return(dx + c, g + c, x + c, w, oy, ox, v, h, 0);
      if (c < C) max_pool_return(dx + c, g + c, x + c, w, oy, ox, v, h, C - c);
    }
  }
}

static void average_pool_gradient(
    float *dx, const float *dy, const cnl_window *w, int countsPadding) {
  const long C = w->channels;
  zero_floats(dx, w->height * w->width * C);
  for (long oy = 0; oy < w->outputHeight; oy++) {
    const tap_range v = vertical_taps(w, oy);
    for (long ox = 0; ox < w->outputWidth; ox++) {
      const tap_range h = horizontal_taps(w, ox);
      const float count = pool_count(w, countsPadding, v, h);
      const float *g = dy + (oy * w->outputWidth + ox) * C;
      for (long ky = v.first; ky < v.last; ky++) {
        for (long kx = h.first; kx < h.last; kx++) {
          float *to = dx + pixel_index(w, oy, ox, ky, kx);
          long c = 0;
          for (; c + W <= C; c += W) store(to + c, load(to + c) + load(g + c) / count);
          const long part = C - c;
          if (part) {
            store_part(to + c, load_part(to + c, part) + load_part(g + c, part) / count, part);
          }
        }
      }
    }
  }
}
