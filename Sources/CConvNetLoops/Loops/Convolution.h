// What stands around the matrix multiplications of a convolution: gathering image rows,
// transposing, packing weights into panels of 64 columns, and the epilogue on a finished block.

static void im2row(
    float *dst, const float *x, const cnl_window *w, long firstChannel, long channelCount,
    long first, long count) {
  const long kernelRow = w->kernelWidth * channelCount;
  const long reach = (w->kernelWidth - 1) * w->dilationWidth;
  const int whole = channelCount == w->channels && w->dilationWidth == 1;
  if (count <= 0) return;
  // Divisions would cost more than the copy of a 1 × 1 kernel: one for a row, and at its ends.
  long oy = first / w->outputWidth, ox = first % w->outputWidth;
  tap_range v = vertical_taps(w, oy);
  for (long i = 0; i < count; i++, ox++) {
    if (ox == w->outputWidth) {
      ox = 0;
      v = vertical_taps(w, ++oy);
    }
    const long origin = ox * w->strideWidth - w->padLeft;
    const int inside = origin >= 0 && origin + reach < w->width;
    const tap_range h = inside ? (tap_range){0, w->kernelWidth} : horizontal_taps(w, ox);
    for (long ky = 0; ky < w->kernelHeight; ky++, dst += kernelRow) {
      if (ky < v.first || ky >= v.last || h.first == h.last) {
        zero_floats(dst, kernelRow);
        continue;
      }
      const long before = h.first * channelCount, end = h.last * channelCount;
      zero_floats(dst, before);
      const float *src = x + pixel_index(w, oy, ox, ky, h.first) + firstChannel;
      if (whole) {  // neighbouring taps are neighbours in memory
        copy_floats(dst + before, src, end - before);
      } else {
        for (long kx = h.first; kx < h.last; kx++, src += w->dilationWidth * w->channels) {
          copy_floats(dst + kx * channelCount, src, channelCount);
        }
      }
      zero_floats(dst + end, kernelRow - end);
    }
  }
}

/// dst[c·dstRow + i] = (row i)[c] for i < count ≤ W and c < columns ≤ W. log₂W rounds of
/// interleaving row i with row i + W/2 transpose W vectors of W lanes.
INLINE void transpose_block(float *dst, long dstRow, vf v[W], long count, long columns) {
  vf t[W];
  UNROLL for (int round = 1; round < W; round *= 4) {
    UNROLL for (int i = 0; i < W / 2; i++) {
      t[2 * i] = LOW_HALVES(v[i], v[i + W / 2]);
      t[2 * i + 1] = HIGH_HALVES(v[i], v[i + W / 2]);
    }
    if (2 * round < W) {
      UNROLL for (int i = 0; i < W / 2; i++) {
        v[2 * i] = LOW_HALVES(t[i], t[i + W / 2]);
        v[2 * i + 1] = HIGH_HALVES(t[i], t[i + W / 2]);
      }
    } else {
      UNROLL for (int i = 0; i < W; i++) v[i] = t[i];
    }
  }
  if (count == W && columns == W) {
    UNROLL for (int c = 0; c < W; c++) store(dst + c * dstRow, v[c]);
  } else {
    UNROLL for (int c = 0; c < W; c++) {
      if (c < columns) store_some(dst + c * dstRow, v[c], count % W);
    }
  }
}

static void transpose(
    float *dst, long dstRow, const float *src, long srcRow, long rows, long columns) {
  for (long r = 0; r < rows; r += W) {
    const long height = rows - r < W ? rows - r : W;
    for (long c = 0; c < columns; c += W) {
      const long width = columns - c < W ? columns - c : W;
      const float *from = src + r * srcRow + c;
      vf v[W];
      if (height == W && width == W) {
        UNROLL for (int j = 0; j < W; j++) v[j] = load(from + j * srcRow);
      } else {
        UNROLL for (int j = 0; j < W; j++) {
          v[j] = j < height ? load_some(from + j * srcRow, width % W) : splat(0);
        }
      }
      transpose_block(dst + c * dstRow + r, dstRow, v, height, width);
    }
  }
}

enum { PANEL = 64 };

static void pack_panels(float *dst, const float *w, long wRow, long k, long n) {
  for (long c = 0; c < n; c += PANEL) {
    const long width = n - c < PANEL ? n - c : PANEL;
    for (long i = 0; i < k; i++, dst += width) copy_floats(dst, w + i * wRow + c, width);
  }
}

static void pack_panels_transposed(float *dst, const float *w, long wRow, long k, long n) {
  for (long c = 0; c < n; c += PANEL) {
    const long width = n - c < PANEL ? n - c : PANEL;
    transpose(dst, width, w + c * wRow, wRow, width, k);
    dst += width * k;
  }
}

static void bias_clamp(
    float *y, long yRow, const float *bias, float lo, float hi, long rows, long columns) {
  const apply_operands o = {
      .y = y, .x = y, .g = y, .b = bias, .yRow = yRow, .xRow = yRow, .gRow = yRow, .lo = lo,
      .hi = hi};
  apply(APPLY_BIAS, &o, rows, columns, 0);
}

static void bias_add_clamp(
    float *y, long yRow, const float *bias, const float *r, long rRow, float lo, float hi,
    long rows, long columns) {
  const apply_operands o = {
      .y = y, .x = y, .g = r, .b = bias, .yRow = yRow, .xRow = yRow, .gRow = rRow, .lo = lo,
      .hi = hi};
  apply(APPLY_BIAS_ADD, &o, rows, columns, 0);
}
