// Depthwise convolution with channel multiplier 1: y[oy][ox][c] = clamp(b[c] + Σ
// x[iy][ix][c]·w[k][c]). The 3×3 kernel without horizontal dilation holds the nine weights of a
// vector of channels in registers over all rows of a piece and shares every load of x among the
// outputs of a tile; the rest goes pixel by pixel. The gradients stand in DepthwiseInput.h and
// DepthwiseFilter.h.

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

INLINE void depthwise_pixel(
    const int biased, const depthwise_operands *o, long oy, long ox, long c, long C) {
  const tap_range v = vertical_taps(o->window, oy), h = horizontal_taps(o->window, ox);
  for (; c + 4 * W <= C; c += 4 * W) depthwise_vectors(4, biased, o, oy, ox, v, h, c, 0);
  for (; c + W <= C; c += W) depthwise_vectors(1, biased, o, oy, ox, v, h, c, 0);
  if (c < C) depthwise_vectors(1, biased, o, oy, ox, v, h, c, C - c);
}

/// `P` neighbouring outputs at stride `S`; x at the top left tap. The rows and columns of taps that
/// are inside, and everything else in capitals, are constants at the call.
INLINE void depthwise_tile(
    const int S, const int P, const int biased, const tap_range V, const tap_range H, float *y,
    const float *x, long xRow, long C, const vf w[9], vf bias, vf lo, vf hi, long part) {
  vf t[4];
  UNROLL for (int p = 0; p < P; p++) t[p] = bias;
  UNROLL for (int j = H.first; j < (P - 1) * S + H.last; j++) {
    UNROLL for (int ky = V.first; ky < V.last; ky++) {
      const vf v = load_some(x + ky * xRow + j * C, part);
      UNROLL for (int p = 0; p < P; p++) {
        const int kx = j - p * S;
        if (kx >= H.first && kx < H.last) t[p] += v * w[ky * 3 + kx];
      }
    }
  }
  UNROLL for (int p = 0; p < P; p++) {
    store_some(y + p * C, biased ? clamp(t[p], lo, hi) : t[p], part);
  }
}

/// One output row of a 3×3 kernel, one vector of channels, whose weights stay in registers. Outputs
/// `inner` have all columns of taps inside; the one before lacks the first, the one after the last.
INLINE void depthwise_row(
    const int S, const int biased, const tap_range V, const depthwise_operands *o, long oy,
    tap_range inner, const vf w[9], vf bias, long c, long part) {
  const tap_range left = {1, 3}, whole = {0, 3}, right = {0, 2};
  const cnl_window *win = o->window;
  const long C = win->channels, xRow = win->dilationHeight * win->width * C;
  const vf lo = splat(o->lo), hi = splat(o->hi);
  const float *x = o->x + pixel_index(win, oy, 0, 0, 0) + c;
  float *y = o->y + oy * win->outputWidth * C + c;
  long ox = 0;
#define TILE(P, H)                                                                                \
  depthwise_tile(S, P, biased, V, H, y + ox * C, x + ox * S * C, xRow, C, w, bias, lo, hi, part)
  for (; ox < inner.first; ox++) TILE(1, left);
  for (; ox + 4 <= inner.last; ox += 4) TILE(4, whole);
  for (; ox < inner.last; ox++) TILE(1, whole);
  for (; ox < win->outputWidth; ox++) TILE(1, right);
#undef TILE
}

/// All rows of a piece for one vector of channels: a line of the image is fetched once for the
/// three rows that read it.
INLINE void depthwise_columns(
    const int S, const int biased, const depthwise_operands *o, long first, long last,
    tap_range inner, long c, long part) {
  const tap_range top = {1, 3}, whole = {0, 3}, bottom = {0, 2};
  vf w[9];
  UNROLL for (int i = 0; i < 9; i++) w[i] = load_some(o->w + i * o->tapStep + c, part);
  const vf bias = biased ? load_some(o->bias + c, part) : splat(0);
  for (long oy = first; oy < last; oy++) {
    const tap_range v = vertical_taps(o->window, oy);
    if (v.first == 0 && v.last == 3) {
      depthwise_row(S, biased, whole, o, oy, inner, w, bias, c, part);
    } else if (v.first == 1 && v.last == 3) {
      depthwise_row(S, biased, top, o, oy, inner, w, bias, c, part);
    } else if (v.first == 0 && v.last == 2) {
      depthwise_row(S, biased, bottom, o, oy, inner, w, bias, c, part);
    }
  }
}

INLINE void depthwise_columns_of_any_stride(
    const int biased, const depthwise_operands *o, long first, long last, tap_range inner, long c,
    long part) {
  if (o->window->strideWidth == 1) {
    depthwise_columns(1, biased, o, first, last, inner, c, part);
  } else {
    depthwise_columns(2, biased, o, first, last, inner, c, part);
  }
}

/// Whether the register-blocked rows apply, and the outputs whose three columns of taps are inside.
INLINE int depthwise_is_fast(const cnl_window *win, tap_range *inner) {
  const long width = win->outputWidth, S = win->strideWidth;
  if (win->kernelHeight != 3 || win->kernelWidth != 3 || win->dilationWidth != 1) return 0;
  if (S != 1 && S != 2) return 0;
  inner->first = outputs_inside(-win->padLeft, S, win->width, width).first;
  inner->last = outputs_inside(2 - win->padLeft, S, win->width, width).last;
  if (inner->first > 1 || inner->last + 1 < width || inner->last <= inner->first) return 0;
  const tap_range left = horizontal_taps(win, 0), right = horizontal_taps(win, width - 1);
  return (inner->first == 0 || (left.first == 1 && left.last == 3)) &&
         (inner->last == width || (right.first == 0 && right.last == 2));
}

INLINE int depthwise_row_is_fast(const cnl_window *win, long oy) {
  const tap_range v = vertical_taps(win, oy);
  return v.last - v.first == 3 || (v.last - v.first == 2 && (v.first == 1 || v.last == 2));
}

/// Channels [firstChannel, C) of rows [first, last).
INLINE void depthwise_rows(
    const int biased, const depthwise_operands *o, long first, long last, long firstChannel,
    long C) {
  const cnl_window *win = o->window;
  tap_range inner;
  const int fast = depthwise_is_fast(win, &inner);
  if (fast) {
    long c = firstChannel;
    for (; c + W <= C; c += W) depthwise_columns_of_any_stride(biased, o, first, last, inner, c, 0);
    if (c < C) depthwise_columns_of_any_stride(biased, o, first, last, inner, c, C - c);
  }
  for (long oy = first; oy < last; oy++) {
    if (fast && depthwise_row_is_fast(win, oy)) continue;
    for (long ox = 0; ox < win->outputWidth; ox++) {
      depthwise_pixel(biased, o, oy, ox, firstChannel, C);
    }
  }
}

static void depthwise(
    float *y, const float *x, const float *w, const float *bias, float lo, float hi,
    const cnl_window *win, long firstRow, long lastRow, long firstChannel, long lastChannel) {
  const depthwise_operands o = {
      .y = y, .x = x, .w = w, .bias = bias, .tapStep = win->channels, .lo = lo, .hi = hi,
      .window = win};
  depthwise_rows(1, &o, firstRow, lastRow, firstChannel, lastChannel);
}
