// Gradient of the depthwise filter: dw[k][c] += Σ dy[oy][ox][c]·x[under tap k][c]. Float sums over
// at most about 128 output pixels, then added in Double.

INLINE void add_part(double *to, vf v, long part) {
  if (part) {
    for (long i = 0; i < part; i++) to[i] += v[i];
  } else {
    *(vd_memory *)to += __builtin_convertvector(v, vd);
  }
}

/// Nine sums of one vector of channels gain one output pixel; the ranges are constants inside.
INLINE void filter_pixel(
    vf t[9], const float *g, const float *x, long xRow, long xColumn, tap_range v, tap_range h,
    long part) {
  const vf dy = load_some(g, part);
  UNROLL for (int ky = 0; ky < 3; ky++) {
    UNROLL for (int kx = 0; kx < 3; kx++) {
      if (ky >= v.first && ky < v.last && kx >= h.first && kx < h.last) {
        t[ky * 3 + kx] += dy * load_some(x + ky * xRow + kx * xColumn, part);
      }
    }
  }
}

/// Output rows [first, last) of a 3×3 kernel, one vector of channels.
INLINE void filter_rows_of_nine(
    double *dw, const float *dy, const float *x, const cnl_window *win, long first, long last,
    long c, long part) {
  const tap_range all = {0, 3};
  const long C = win->channels;
  const long xRow = win->dilationHeight * win->width * C, xColumn = win->dilationWidth * C;
  vf t[9];
  UNROLL for (int i = 0; i < 9; i++) t[i] = 0;
  for (long oy = first; oy < last; oy++) {
    const tap_range v = vertical_taps(win, oy);
    for (long ox = 0; ox < win->outputWidth; ox++) {
      const tap_range h = horizontal_taps(win, ox);
      const float *g = dy + (oy * win->outputWidth + ox) * C + c;
      // Only taps inside are dereferenced.
      const float *p = x + pixel_index(win, oy, ox, 0, 0) + c;
      if (v.first == 0 && v.last == 3 && h.first == 0 && h.last == 3) {
        filter_pixel(t, g, p, xRow, xColumn, all, all, part);
      } else {
        filter_pixel(t, g, p, xRow, xColumn, v, h, part);
      }
    }
  }
  UNROLL for (int i = 0; i < 9; i++) add_part(dw + i * C + c, t[i], part);
}

/// Any kernel: one tap and one vector of channels at a time.
INLINE void filter_rows_of_tap(
    double *dw, const float *dy, const float *x, const cnl_window *win, long first, long last,
    long ky, long kx, long c, long part) {
  const tap_range h = outputs_inside(
      kx * win->dilationWidth - win->padLeft, win->strideWidth, win->width, win->outputWidth);
  const long C = win->channels;
  vf t = 0;
  for (long oy = first; oy < last; oy++) {
    const tap_range v = vertical_taps(win, oy);
    if (ky < v.first || ky >= v.last) continue;
    const float *g = dy + (oy * win->outputWidth + h.first) * C + c;
    for (long ox = h.first; ox < h.last; ox++, g += C) {
      t += load_some(g, part) * load_some(x + pixel_index(win, oy, ox, ky, kx) + c, part);
    }
  }
  add_part(dw + (ky * win->kernelWidth + kx) * C + c, t, part);
}

INLINE void filter_rows(
    double *dw, const float *dy, const float *x, const cnl_window *win, long first, long last,
    long c, long part) {
  if (win->kernelHeight == 3 && win->kernelWidth == 3) {
    filter_rows_of_nine(dw, dy, x, win, first, last, c, part);
    return;
  }
  for (long ky = 0; ky < win->kernelHeight; ky++) {
    for (long kx = 0; kx < win->kernelWidth; kx++) {
      filter_rows_of_tap(dw, dy, x, win, first, last, ky, kx, c, part);
    }
  }
}

static void depthwise_filter_gradient(
    double *dw, const float *dy, const float *x, const cnl_window *win, long firstRow,
    long lastRow) {
  const long C = win->channels, width = win->outputWidth;
  const long step = width >= 128 || width <= 0 ? 1 : 128 / width;
  for (long row = firstRow; row < lastRow; row += step) {
    const long end = lastRow - row < step ? lastRow : row + step;
    long c = 0;
    for (; c + W <= C; c += W) filter_rows(dw, dy, x, win, row, end, c, 0);
    if (c < C) filter_rows(dw, dy, x, win, row, end, c, C - c);
  }
}
