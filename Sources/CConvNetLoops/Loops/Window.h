// Arithmetic shared by the loops over a window: which taps of one axis fall inside the image.

typedef struct {
  long first, last;  // taps [first, last)
} tap_range;

INLINE long ceiling_quotient(long a, long b) { return a > 0 ? (a + b - 1) / b : 0; }

/// k in [0, kernel) with 0 ≤ origin + k·dilation < size.
INLINE tap_range taps_inside(long origin, long dilation, long size, long kernel) {
  const long first = ceiling_quotient(-origin, dilation);
  long last = ceiling_quotient(size - origin, dilation);
  if (last > kernel) last = kernel;
  return (tap_range){first, last > first ? last : first};
}

/// Output positions in [0, count) for which one tap at `offset` = k·dilation − pad is inside.
INLINE tap_range outputs_inside(long offset, long stride, long size, long count) {
  const long first = ceiling_quotient(-offset, stride);
  long last = ceiling_quotient(size - offset, stride);
  if (last > count) last = count;
  return (tap_range){first, last > first ? last : first};
}

INLINE tap_range vertical_taps(const cnl_window *w, long oy) {
  return taps_inside(
      oy * w->strideHeight - w->padTop, w->dilationHeight, w->height, w->kernelHeight);
}

INLINE tap_range horizontal_taps(const cnl_window *w, long ox) {
  return taps_inside(ox * w->strideWidth - w->padLeft, w->dilationWidth, w->width, w->kernelWidth);
}

/// Index of the first channel of the pixel under tap (ky, kx) of output (oy, ox).
INLINE long pixel_index(const cnl_window *w, long oy, long ox, long ky, long kx) {
  const long iy = oy * w->strideHeight - w->padTop + ky * w->dilationHeight;
  const long ix = ox * w->strideWidth - w->padLeft + kx * w->dilationWidth;
  return (iy * w->width + ix) * w->channels;
}
