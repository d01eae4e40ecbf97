// Max and average pooling and their gradients. Taps outside the image take no part, so padding
// never wins a maximum; a NaN does.

enum { POOL_MAXIMUM, POOL_AVERAGE };

/// One output pixel, `V` vectors of channels; x at channel c of the image, `above` floats further.
INLINE void pool_vectors(
    const int kind, const int V, float *y, const float *x, long above, const cnl_window *w,
    long oy, long ox, tap_range v, tap_range h, float count, long part) {
  vf t[4];
  UNROLL for (int i = 0; i < V; i++) t[i] = splat(kind == POOL_MAXIMUM ? -__builtin_inff() : 0);
  for (long ky = v.first; ky < v.last; ky++) {
    const float *p = x + (pixel_index(w, oy, ox, ky, h.first) - above);
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

/// One vector of the largest of K × K values; `row` and `column` floats lie between taps. The first
/// of equals wins. NaNs are looked for apart, two values to a comparison: a maximum that passes them
/// on takes four instructions where this takes one and a half.
INLINE vf pool_largest(const int K, const float *x, long row, long column, long part) {
  vf u[9];
  UNROLL for (int i = 0; i < K * K; i++) {
    u[i] = load_some(x + i / K * row + i % K * column, part);
  }
  vf best = u[0];
  UNROLL for (int i = 1; i < K * K; i++) best = u[i] > best ? u[i] : best;
  vi spoilt = u[K * K - 1] != u[K * K - 1];
  UNROLL for (int i = 0; i + 1 < K * K; i += 2) spoilt |= (u[i] != u[i]) | (u[i + 1] != u[i + 1]);
  return spoilt ? splat(__builtin_nanf("")) : best;
}

/// A pixel whose K × K taps are all inside; x at the first of them.
INLINE void pool_whole(
    const int K, float *y, const float *x, long row, long column, long channels) {
  long c = 0;
  for (; c + W <= channels; c += W) store(y + c, pool_largest(K, x + c, row, column, 0));
  const long part = channels - c;
  if (part) store_part(y + c, pool_largest(K, x + c, row, column, part), part);
}

/// x begins with row `top` of the image.
INLINE void pool_rows(
    const int kind, float *y, const float *x, long top, const cnl_window *w,
    const float *rowCounts, const float *columnCounts, long firstRow, long lastRow) {
  const long C = w->channels, above = top * w->width * C;
  const long row = w->dilationHeight * w->width * C, column = w->dilationWidth * C;
  // The kernels of 2 × 2 and 3 × 3 are unrolled.
  const long side = w->kernelHeight == w->kernelWidth ? w->kernelWidth : 0;
  for (long oy = firstRow; oy < lastRow; oy++) {
    const tap_range v = vertical_taps(w, oy);
    for (long ox = 0; ox < w->outputWidth; ox++) {
      const tap_range h = horizontal_taps(w, ox);
      const float n = kind == POOL_AVERAGE ? rowCounts[oy] * columnCounts[ox] : 1;
      float *o = y + (oy * w->outputWidth + ox) * C;
      if (kind == POOL_MAXIMUM && v.last - v.first == side && h.last - h.first == side) {
        const float *first = x + (pixel_index(w, oy, ox, 0, 0) - above);
        if (side == 3) {
          pool_whole(3, o, first, row, column, C);
          continue;
        }
        if (side == 2) {
          pool_whole(2, o, first, row, column, C);
          continue;
        }
      }
      long c = 0;
      for (; c + 4 * W <= C; c += 4 * W) {
        pool_vectors(kind, 4, o + c, x + c, above, w, oy, ox, v, h, n, 0);
      }
      for (; c + W <= C; c += W) {
        pool_vectors(kind, 1, o + c, x + c, above, w, oy, ox, v, h, n, 0);
      }
      if (c < C) pool_vectors(kind, 1, o + c, x + c, above, w, oy, ox, v, h, n, C - c);
    }
  }
}

static void max_pool(
    float *y, const float *x, long top, const cnl_window *w, long firstRow, long lastRow) {
  pool_rows(POOL_MAXIMUM, y, x, top, w, 0, 0, firstRow, lastRow);
}

static void average_pool(
    float *y, const float *x, const cnl_window *w, const float *rowCounts,
    const float *columnCounts, long firstRow, long lastRow) {
  pool_rows(POOL_AVERAGE, y, x, 0, w, rowCounts, columnCounts, firstRow, lastRow);
}

/// First find the winning tap of each lane, then add dy where the tap is the winner. `x` and `dx`
/// are at the first tap inside.
INLINE void max_pool_return(
    float *dx, vf dy, const float *x, long rowStep, long columnStep, long rows, long columns,
    long part) {
  vf best = load_some(x, part);
  vi winner = 0;
  int tap = 0;
  for (long ky = 0; ky < rows; ky++) {
    const float *p = x + ky * rowStep;
    for (long kx = 0; kx < columns; kx++, tap++, p += columnStep) {
      const vf u = load_some(p, part);
      const vi wins = ~(u <= best) & (best == best);  // larger, or the first NaN
      best = wins ? u : best;
      winner = wins ? (vi)tap : winner;
    }
  }
  tap = 0;
  for (long ky = 0; ky < rows; ky++) {
    float *p = dx + ky * rowStep;
    for (long kx = 0; kx < columns; kx++, tap++, p += columnStep) {
      store_some(p, load_some(p, part) + (winner == tap ? dy : splat(0)), part);
    }
  }
}

/// Rows of dx are set to 0 just before the first window that reaches them, while they are in cache.
INLINE long zero_rows(float *dx, const cnl_window *w, long from, long to) {
  if (to > w->height) to = w->height;
  if (to <= from) return from;
  zero_floats(dx + from * w->width * w->channels, (to - from) * w->width * w->channels);
  return to;
}

/// One past the last image row under the window of output row oy.
INLINE long window_end(const cnl_window *w, long oy) {
  return oy * w->strideHeight - w->padTop + (w->kernelHeight - 1) * w->dilationHeight + 1;
}

/// x begins with row `top` of the image, dx and dy with row 0; ranges of rows come in order.
static void max_pool_gradient(
    float *dx, const float *dy, const float *x, long top, const cnl_window *w, long firstRow,
    long lastRow) {
  const long C = w->channels, above = top * w->width * C;
  const long rowStep = w->dilationHeight * w->width * C, columnStep = w->dilationWidth * C;
  long zeroed = 0;
  if (firstRow > 0) {
    zeroed = window_end(w, firstRow - 1);
    zeroed = zeroed < 0 ? 0 : zeroed > w->height ? w->height : zeroed;
  }
  dy += firstRow * w->outputWidth * C;
  for (long oy = firstRow; oy < lastRow; oy++) {
    const tap_range v = vertical_taps(w, oy);
    zeroed = zero_rows(dx, w, zeroed, window_end(w, oy));
    for (long ox = 0; ox < w->outputWidth; ox++, dy += C) {
      const tap_range h = horizontal_taps(w, ox);
      const long rows = v.last - v.first, columns = h.last - h.first;
      if (rows == 0 || columns == 0) continue;
      const long at = pixel_index(w, oy, ox, v.first, h.first);
      const float *from = x + (at - above);
      float *to = dx + at;
      long c = 0;
      if (rows == 3 && columns == 3) {
        for (; c + W <= C; c += W) {
          max_pool_return(to + c, load(dy + c), from + c, rowStep, columnStep, 3, 3, 0);
        }
      }
      for (; c + W <= C; c += W) {
        max_pool_return(to + c, load(dy + c), from + c, rowStep, columnStep, rows, columns, 0);
      }
      const long part = C - c;
      if (part) {
        const vf g = load_part(dy + c, part);
        max_pool_return(to + c, g, from + c, rowStep, columnStep, rows, columns, part);
      }
    }
  }
  if (lastRow == w->outputHeight) zero_rows(dx, w, zeroed, w->height);
}

static void average_pool_gradient(
    float *dx, const float *dy, const cnl_window *w, const float *rowCounts,
    const float *columnCounts) {
  const long C = w->channels;
  long zeroed = 0;
  for (long oy = 0; oy < w->outputHeight; oy++) {
    const tap_range v = vertical_taps(w, oy);
    zeroed = zero_rows(dx, w, zeroed, window_end(w, oy));
    for (long ox = 0; ox < w->outputWidth; ox++) {
      const tap_range h = horizontal_taps(w, ox);
      const float count = rowCounts[oy] * columnCounts[ox];
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
  zero_rows(dx, w, zeroed, w->height);
}
