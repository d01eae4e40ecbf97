// Gradient of a depthwise convolution by its input, in gather form: every pixel of dx is written
// once, so rows can be divided among lanes.

/// The outputs along one axis whose window holds input i: o·stride = i + pad − k·dilation. Tap k
/// and output o advance by constant steps.
typedef struct {
  long tap, tapStep, output, outputStep, count;
} tap_progression;

INLINE tap_progression taps_over(
    long i, long pad, long dilation, long stride, long outputs, long kernel) {
  tap_progression p = {0, 0, 0, 0, 0};
  for (long k = 0; k < kernel; k++) {
    const long v = i + pad - k * dilation, o = v / stride;
    if (v < 0 || o * stride != v || o >= outputs) continue;
    if (p.count == 0) p.tap = k, p.output = o;
    if (p.count == 1) p.tapStep = k - p.tap, p.outputStep = o - p.output;
    p.count++;
  }
  return p;
}

/// One vector of channels of one pixel of dx; all pointers at its first channel.
INLINE void depthwise_gather(
    float *dx, const float *dy, const float *w, const cnl_window *win,
    tap_progression v, tap_progression h, long part) {
  const long C = win->channels;
  vf t = splat(0);
  for (long a = 0; a < v.count; a++) {
    const long oy = v.output + a * v.outputStep, ky = v.tap + a * v.tapStep;
    const float *g = dy + (oy * win->outputWidth + h.output) * C;
    const float *k = w + (ky * win->kernelWidth + h.tap) * C;
    for (long b = 0; b < h.count; b++, g += h.outputStep * C, k += h.tapStep * C) {
      t += load_some(g, part) * load_some(k, part);
    }
  }
  store_some(dx, t, part);
}

/// Pixels ix, ix + stride, … of one row, `count` of them with the same taps, at most `A` × `B`: one
/// vector of channels, whose weights stay in registers.
INLINE void depthwise_phase(
    const int A, const int B, float *dx, const float *dy, const float *w, const cnl_window *win,
    tap_progression v, tap_progression h, long count, long part) {
  const long C = win->channels;
  vf k[4];
  const float *g[4];
  UNROLL for (int i = 0; i < A * B; i++) {
    const long oy = v.output + i / B * v.outputStep, ox = h.output + i % B * h.outputStep;
    const long ky = v.tap + i / B * v.tapStep, kx = h.tap + i % B * h.tapStep;
    k[i] = load_some(w + (ky * win->kernelWidth + kx) * C, part);
    g[i] = dy + (oy * win->outputWidth + ox) * C;
  }
  for (long n = 0; n < count; n++) {
    vf t = load_some(g[0] + n * C, part) * k[0];
    UNROLL for (int i = 1; i < A * B; i++) t += load_some(g[i] + n * C, part) * k[i];
    store_some(dx + n * win->strideWidth * C, t, part);
  }
}

INLINE void depthwise_run(
    float *dx, const float *dy, const float *w, const cnl_window *win, tap_progression v,
    tap_progression h, long count, long part) {
  const long C = win->channels;
  if (v.count == 2 && h.count == 2) {
    depthwise_phase(2, 2, dx, dy, w, win, v, h, count, part);
  } else if (v.count == 2 && h.count == 1) {
    depthwise_phase(2, 1, dx, dy, w, win, v, h, count, part);
  } else if (v.count == 1 && h.count == 2) {
    depthwise_phase(1, 2, dx, dy, w, win, v, h, count, part);
  } else if (v.count == 1 && h.count == 1) {
    depthwise_phase(1, 1, dx, dy, w, win, v, h, count, part);
  } else {
    for (long n = 0; n < count; n++, h.output++) {
      depthwise_gather(dx + n * win->strideWidth * C, dy, w, win, v, h, part);
    }
  }
}

/// Columns [first, last), at most GATHER, of one row of dx: runs of one phase of the stride at a
/// time.
enum { GATHER = 128 };
INLINE void depthwise_gather_row(
    float *dx, const float *dy, const float *w, const cnl_window *win, long iy, long first,
    long last, const tap_progression taps[GATHER]) {
  const long C = win->channels, stride = win->strideWidth;
  const tap_progression v = taps_over(
      iy, win->padTop, win->dilationHeight, win->strideHeight, win->outputHeight,
      win->kernelHeight);
  for (long phase = first; phase < first + stride && phase < last; phase++) {
    for (long ix = phase, count; ix < last; ix += count * stride) {
      const tap_progression h = taps[ix - first];
      count = 1;
      for (long i = ix + stride; i < last; i += stride, count++) {
        const tap_progression next = taps[i - first];
        if (next.count != h.count || next.tap != h.tap) break;
      }
      float *to = dx + (iy * win->width + ix) * C;
      long c = 0;
      for (; c + W <= C; c += W) depthwise_run(to + c, dy + c, w + c, win, v, h, count, 0);
      if (c < C) depthwise_run(to + c, dy + c, w + c, win, v, h, count, C - c);
    }
  }
}

static void depthwise_input_gradient(
    float *dx, const float *dy, const float *w, const cnl_window *win, long firstRow,
    long lastRow) {
  const long C = win->channels, taps = win->kernelHeight * win->kernelWidth;
  if (win->strideHeight == 1 && win->strideWidth == 1) {
    // Stride 1: correlation of dy with the mirrored kernel, pad' = (k−1)·dilation − pad.
    cnl_window mirrored = *win;
    mirrored.height = win->outputHeight, mirrored.width = win->outputWidth;
    mirrored.outputHeight = win->height, mirrored.outputWidth = win->width;
    mirrored.padTop = (win->kernelHeight - 1) * win->dilationHeight - win->padTop;
    mirrored.padLeft = (win->kernelWidth - 1) * win->dilationWidth - win->padLeft;
    const depthwise_operands o = {
        .y = dx, .x = dy, .w = w + (taps - 1) * C, .bias = w, .tapStep = -C, .window = &mirrored};
    depthwise_rows(0, &o, firstRow, lastRow, 0, C);
    return;
  }
  // The horizontal taps cost divisions; all rows share them.
  for (long first = 0; first < win->width; first += GATHER) {
    const long last = win->width - first < GATHER ? win->width : first + GATHER;
    tap_progression h[GATHER];
    for (long ix = first; ix < last; ix++) {
      h[ix - first] = taps_over(
          ix, win->padLeft, win->dilationWidth, win->strideWidth, win->outputWidth,
          win->kernelWidth);
    }
    for (long iy = firstRow; iy < lastRow; iy++) {
      depthwise_gather_row(dx, dy, w, win, iy, first, last, h);
    }
  }
}
