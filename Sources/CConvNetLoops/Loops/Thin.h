// Convolution of images of few channels (a first layer's), where im2col would copy more than it saves:
// the rows under the kernel are copied once into padded scratch, then every output pixel is a sum of
// broadcast inputs times rows of the filter, in registers. Dilation is 1 horizontally; one group.

/// Floats of one padded row: what all output pixels of a row read.
INLINE long thin_row(const cnl_window *w) {
  return ((w->outputWidth - 1) * w->strideWidth + w->kernelWidth) * w->channels;
}

/// The padded rows under one output row; rows and columns outside the image are 0.
INLINE void thin_gather(float *rows, const float *x, const cnl_window *w, long oy) {
  const long C = w->channels, length = thin_row(w), before = w->padLeft * C;
  const long imageRow = w->width * C;
  for (long ky = 0; ky < w->kernelHeight; ky++) {
    const long iy = oy * w->strideHeight - w->padTop + ky * w->dilationHeight;
    float *row = rows + ky * length;
    if (iy < 0 || iy >= w->height) {
      zero_floats(row, length);
      continue;
    }
    // A negative padding begins inside the image.
    const long skipped = before < 0 ? -before : 0, lead = before > 0 ? before : 0;
    long count = imageRow - skipped;
    if (count > length - lead) count = length - lead;
    if (count < 0) count = 0;
    const long leading = lead < length ? lead : length;
    zero_floats(row, leading);
    copy_floats(row + leading, x + iy * imageRow + skipped, count);
    zero_floats(row + leading + count, length - leading - count);
  }
}

/// Pixels whose sums, of two vectors each, stay in registers.
#if CNL_WIDTH == 16 || defined(__aarch64__)
enum { THIN_PIXELS = 8 };
#else
enum { THIN_PIXELS = 6 };
#endif
enum { THIN_TAPS = 8 };

/// `pixels` neighbouring outputs of `vectors` vectors of filters; both are constants at the call.
INLINE void thin_block(
    float *y, const float *rows, const float *w, const float *bias, float lo, float hi,
    const cnl_window *win, long K, long pixels, long vectors, long part) {
  const long C = win->channels, depth = win->kernelWidth * C, length = thin_row(win);
  const long step = win->strideWidth * C;
  vf t[THIN_PIXELS][2];
  UNROLL for (long v = 0; v < vectors; v++) {
    const vf b = load_some(bias + v * W, part);
    UNROLL for (long p = 0; p < pixels; p++) t[p][v] = b;
  }
  for (long ky = 0; ky < win->kernelHeight; ky++) {
    const float *x = rows + ky * length;
    const float *filter = w + ky * depth * K;
    for (long i = 0; i < depth; i++, filter += K) {
      vf f[2];
      UNROLL for (long v = 0; v < vectors; v++) f[v] = load_some(filter + v * W, part);
      UNROLL for (long p = 0; p < pixels; p++) {
        const vf s = splat(x[p * step + i]);
        UNROLL for (long v = 0; v < vectors; v++) t[p][v] += s * f[v];
      }
    }
  }
  UNROLL for (long p = 0; p < pixels; p++) {
    UNROLL for (long v = 0; v < vectors; v++) {
      store_some(y + p * K + v * W, clamp(t[p][v], splat(lo), splat(hi)), part);
    }
  }
}

INLINE void thin_output_row(
    float *y, const float *rows, const float *w, const float *bias, float lo, float hi,
    const cnl_window *win, long K, long vectors, long part) {
  const long step = win->strideWidth * win->channels, last = win->outputWidth - THIN_PIXELS;
  if (last < 0) {
    for (long ox = 0; ox < win->outputWidth; ox++) {
      thin_block(y + ox * K, rows + ox * step, w, bias, lo, hi, win, K, 1, vectors, part);
    }
    return;
  }
  // The last block moves back to end with the row; what it computes again comes out the same.
  for (long o = 0; o < last + THIN_PIXELS; o += THIN_PIXELS) {
    const long ox = o < last ? o : last;
    thin_block(y + ox * K, rows + ox * step, w, bias, lo, hi, win, K, THIN_PIXELS, vectors, part);
  }
}

static void thin_convolution(
    float *y, const float *x, const float *w, const float *bias, float lo, float hi,
    const cnl_window *win, long filters, float *scratch, long firstRow, long lastRow) {
  const long K = filters;
  for (long oy = firstRow; oy < lastRow; oy++) {
    thin_gather(scratch, x, win, oy);
    float *row = y + oy * win->outputWidth * K;
    long k = 0;
    for (; k + 2 * W <= K; k += 2 * W) {
      thin_output_row(row + k, scratch, w + k, bias + k, lo, hi, win, K, 2, 0);
    }
    for (; k + W <= K; k += W) {
      thin_output_row(row + k, scratch, w + k, bias + k, lo, hi, win, K, 1, 0);
    }
    if (k < K) thin_output_row(row + k, scratch, w + k, bias + k, lo, hi, win, K, 1, K - k);
  }
}

/// Sums of `taps` neighbouring rows of the filter over output pixels [0, count) of a padded row.
INLINE void thin_filter_block(
    double *dw, const float *x, const float *dy, long step, long K, long count, long taps,
    long vectors, long part) {
  vf t[THIN_TAPS][2];
  UNROLL for (long i = 0; i < taps; i++) {
    UNROLL for (long v = 0; v < vectors; v++) t[i][v] = 0;
  }
  for (long p = 0; p < count; p++, x += step, dy += K) {
    vf g[2];
    UNROLL for (long v = 0; v < vectors; v++) g[v] = load_some(dy + v * W, part);
    UNROLL for (long i = 0; i < taps; i++) {
      const vf s = splat(x[i]);
      UNROLL for (long v = 0; v < vectors; v++) t[i][v] += s * g[v];
    }
  }
  UNROLL for (long i = 0; i < taps; i++) {
    UNROLL for (long v = 0; v < vectors; v++) add_part(dw + i * K + v * W, t[i][v], part);
  }
}

INLINE void thin_filter_row(
    double *dw, const float *rows, const float *dy, const cnl_window *win, long K, long vectors,
    long part) {
  const long C = win->channels, depth = win->kernelWidth * C, length = thin_row(win);
  const long step = win->strideWidth * C;
  for (long ky = 0; ky < win->kernelHeight; ky++) {
    // Float sums of at most 128 pixels.
    for (long first = 0; first < win->outputWidth; first += 128) {
      const long left = win->outputWidth - first, count = left < 128 ? left : 128;
      const float *x = rows + ky * length + first * step;
      const float *g = dy + first * K;
      double *to = dw + ky * depth * K;
      long i = 0;
      for (; i + THIN_TAPS <= depth; i += THIN_TAPS) {
        thin_filter_block(to + i * K, x + i, g, step, K, count, THIN_TAPS, vectors, part);
      }
      for (; i + 3 <= depth; i += 3) {
        thin_filter_block(to + i * K, x + i, g, step, K, count, 3, vectors, part);
      }
      for (; i < depth; i++) {
        thin_filter_block(to + i * K, x + i, g, step, K, count, 1, vectors, part);
      }
    }
  }
}

static void thin_filter_gradient(
    double *dw, const float *dy, const float *x, const cnl_window *win, long filters,
    float *scratch, long firstRow, long lastRow) {
  const long K = filters;
  for (long oy = firstRow; oy < lastRow; oy++) {
    thin_gather(scratch, x, win, oy);
    const float *g = dy + oy * win->outputWidth * K;
    long k = 0;
    for (; k + 2 * W <= K; k += 2 * W) thin_filter_row(dw + k, scratch, g + k, win, K, 2, 0);
    for (; k + W <= K; k += W) thin_filter_row(dw + k, scratch, g + k, win, K, 1, 0);
    if (k < K) thin_filter_row(dw + k, scratch, g + k, win, K, 1, K - k);
  }
}
