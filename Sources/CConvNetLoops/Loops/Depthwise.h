// Depthwise convolution with channel multiplier 1: y[oy][ox][c] = clamp(b[c] + Σ
// x[iy][ix][c]·w[k][c]). The 3×3 kernel without horizontal dilation holds the nine weights of a
// vector of channels in registers and shares every load of x among the outputs of a tile; the rest
// goes pixel by pixel. The gradients stand in DepthwiseInput.h and DepthwiseFilter.h.

/// `w` points at tap 0 and taps lie `tapStep` floats apart; a negative step mirrors the kernel.
typedef struct {
  float *y;
  const float *x, *w, *bias;
  long tapStep;
  float lo, hi;
  const cnl_window *window;
} depthwise_operands;

/// One output pixel, `V` vectors of channels from c, taps in the given ranges.
INLINE void depthwise_vectors(
    const int V, const int biased, const depthwise_operands *o, long oy, long ox, tap_range v,
    tap_range h, long c, long part) {
  const cnl_window *win = o->window;
  vf t[4];
  UNROLL for (int i = 0; i < V; i++) {
    t[i] = biased ? load_some(o->bias + c + i * W, part) : splat(0);
  }
  for (long ky = v.first; ky < v.last; ky++) {
    for (long kx = h.first; kx < h.last; kx++) {
      const float *p = o->x + pixel_index(win, oy, ox, ky, kx) + c;
      const float *w = o->w + (ky * win->kernelWidth + kx) * o->tapStep + c;
      UNROLL for (int i = 0; i < V; i++) {
        t[i] += load_some(p + i * W, part) * load_some(w + i * W, part);
      }
    }
  }
  float *y = o->y + (oy * win->outputWidth + ox) * win->channels + c;
  UNROLL for (int i = 0; i < V; i++) {
    store_some(y + i * W, biased ? clamp(t[i], splat(o->lo), splat(o->hi)) : t[i], part);
  }
}

INLINE void depthwise_pixel(const int biased, const depthwise_operands *o, long oy, long ox) {
  const tap_range v = vertical_taps(o->window, oy), h = horizontal_taps(o->window, ox);
  const long C = o->window->channels;
  long c = 0;
  for (; c + 4 * W <= C; c += 4 * W) depthwise_vectors(4, biased, o, oy, ox, v, h, c, 0);
  for (; c + W <= C; c += W) depthwise_vectors(1, biased, o, oy, ox, v, h, c, 0);
  if (c < C) depthwise_vectors(1, biased, o, oy, ox, v, h, c, C - c);
}

/// `P` neighbouring outputs at stride `S`, all nine taps inside; x at the top left tap.
INLINE void depthwise_tile(
    const int S, const int P, const int biased, float *y, const float *x, long xRow, long C,
    const vf w[9], vf bias, vf lo, vf hi, long part) {
  vf t[4];
  UNROLL for (int p = 0; p < P; p++) t[p] = bias;
  UNROLL for (int j = 0; j < (P - 1) * S + 3; j++) {
    UNROLL for (int ky = 0; ky < 3; ky++) {
      const vf v = load_some(x + ky * xRow + j * C, part);
      UNROLL for (int p = 0; p < P; p++) {
        const int kx = j - p * S;
        if (kx >= 0 && kx < 3) t[p] += v * w[ky * 3 + kx];
      }
    }
  }
  UNROLL for (int p = 0; p < P; p++) {
    store_some(y + p * C, biased ? clamp(t[p], lo, hi) : t[p], part);
  }
}

/// One output row of a 3×3 kernel with all rows inside, one vector of channels.
INLINE void depthwise_row(
    const int S, const int biased, const depthwise_operands *o, long oy, tap_range inner, long c,
    long part) {
  const cnl_window *win = o->window;
  const long C = win->channels, xRow = win->dilationHeight * win->width * C;
  const vf lo = splat(o->lo), hi = splat(o->hi);
  const vf bias = biased ? load_some(o->bias + c, part) : splat(0);
  vf w[9];
  UNROLL for (int i = 0; i < 9; i++) w[i] = load_some(o->w + i * o->tapStep + c, part);
  const float *x = o->x + pixel_index(win, oy, inner.first, 0, 0) + c;
  float *y = o->y + (oy * win->outputWidth + inner.first) * C + c;
  long ox = inner.first;
  for (; ox + 4 <= inner.last; ox += 4, x += 4 * S * C, y += 4 * C) {
    depthwise_tile(S, 4, biased, y, x, xRow, C, w, bias, lo, hi, part);
  }
  for (; ox < inner.last; ox++, x += S * C, y += C) {
    depthwise_tile(S, 1, biased, y, x, xRow, C, w, bias, lo, hi, part);
  }
}

INLINE void depthwise_row_of_any_stride(
    const int biased, const depthwise_operands *o, long oy, tap_range inner, long c, long part) {
  if (o->window->strideWidth == 1) {
    depthwise_row(1, biased, o, oy, inner, c, part);
  } else {
    depthwise_row(2, biased, o, oy, inner, c, part);
  }
}

INLINE void depthwise_rows(const int biased, const depthwise_operands *o, long first, long last) {
  const cnl_window *win = o->window;
  const long C = win->channels, width = win->outputWidth;
  const int fast = win->kernelHeight == 3 && win->kernelWidth == 3 && win->dilationWidth == 1 &&
                   (win->strideWidth == 1 || win->strideWidth == 2);
  // Outputs whose leftmost and rightmost taps are both inside.
  const long begin = outputs_inside(-win->padLeft, win->strideWidth, win->width, width).first;
  const long end = outputs_inside(2 - win->padLeft, win->strideWidth, win->width, width).last;
  for (long oy = first; oy < last; oy++) {
    const tap_range v = vertical_taps(win, oy);
    tap_range inner = {0, 0};
    if (fast && v.first == 0 && v.last == 3 && end > begin) {
      inner = (tap_range){begin, end};
      long c = 0;
      for (; c + W <= C; c += W) depthwise_row_of_any_stride(biased, o, oy, inner, c, 0);
      if (c < C) depthwise_row_of_any_stride(biased, o, oy, inner, c, C - c);
    }
    for (long ox = 0; ox < inner.first; ox++) depthwise_pixel(biased, o, oy, ox);
    for (long ox = inner.last; ox < width; ox++) depthwise_pixel(biased, o, oy, ox);
  }
}

static void depthwise(
    float *y, const float *x, const float *w, const float *bias, float lo, float hi,
    const cnl_window *win, long firstRow, long lastRow) {
  const depthwise_operands o = {
      .y = y, .x = x, .w = w, .bias = bias, .tapStep = win->channels, .lo = lo, .hi = hi,
      .window = win};
  depthwise_rows(1, &o, firstRow, lastRow);
}
