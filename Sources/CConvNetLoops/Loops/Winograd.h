// Winograd's minimal filtering F(m×m′, 3×3), Y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A (Lavin & Gray 2016, section
// 4.1 and 4.3): an output tile of m × m′ pixels costs (m + 2)(m′ + 2) products a channel instead of
// 9·m·m′. Each axis has m = 2 (points 0, ±1, ∞) or m = 4 (0, ±1, ±2, ∞), independently. The element
// (i, j) of a transformed tile lies in plane i·(m′ + 2) + j.

enum { MOST_PLANES = 36 };

/// Calls a function for the tile's height and width as constants.
#define WINOGRAD_SIZES(height, width, function, ...)                                              \
  do {                                                                                            \
    if ((height) == 4 && (width) == 4) {                                                          \
      function(__VA_ARGS__, 4, 4);                                                                \
    } else if ((height) == 4) {                                                                   \
      function(__VA_ARGS__, 4, 2);                                                                \
    } else if ((width) == 4) {                                                                    \
      function(__VA_ARGS__, 2, 4);                                                                \
    } else {                                                                                      \
      function(__VA_ARGS__, 2, 2);                                                                \
    }                                                                                             \
  } while (0)

/// v = Bᵀv along one axis, whose points lie `s` apart.
INLINE void winograd_input_axis(long m, vf *v, long s) {
  if (m == 4) {
    const vf d0 = v[0], d1 = v[s], d2 = v[2 * s], d3 = v[3 * s], d4 = v[4 * s], d5 = v[5 * s];
    const vf even1 = d4 - 4 * d2, odd1 = d3 - 4 * d1;
    const vf even2 = d4 - d2, odd2 = 2 * (d3 - d1);
    v[0] = 4 * d0 - 5 * d2 + d4;
    v[s] = even1 + odd1;
    v[2 * s] = even1 - odd1;
    v[3 * s] = even2 + odd2;
    v[4 * s] = even2 - odd2;
    v[5 * s] = 4 * d1 - 5 * d3 + d5;
  } else {
    const vf d1 = v[s], d2 = v[2 * s];
    v[0] = v[0] - d2;
    v[s] = d1 + d2;
    v[2 * s] = d2 - d1;
    v[3 * s] = d1 - v[3 * s];
  }
}

/// The first m of v become Aᵀv along one axis.
INLINE void winograd_output_axis(long m, vf *v, long s) {
  const vf sum1 = v[s] + v[2 * s], difference1 = v[s] - v[2 * s];
  if (m == 4) {
    const vf sum2 = v[3 * s] + v[4 * s], difference2 = v[3 * s] - v[4 * s];
    v[0] = v[0] + sum1 + sum2;
    v[s] = difference1 + 2 * difference2;
    v[2 * s] = sum1 + 4 * sum2;
    v[3 * s] = difference1 + 8 * difference2 + v[5 * s];
  } else {
    v[0] = v[0] + sum1;
    v[s] = difference1 - v[3 * s];
  }
}

/// The denominator of G along one axis.
INLINE long winograd_denominator(long m) { return m == 4 ? 24 : 2; }

/// The first three of g become Gg along one axis, times the denominator of G: all factors are whole.
INLINE void winograd_filter_axis(long m, vd *g, long s) {
  const vd g0 = g[0], g1 = g[s], g2 = g[2 * s];
  if (m == 4) {
    const vd outer = 4 * (g0 + g2), inner = 4 * g1, low = g0 + 4 * g2, high = 2 * g1;
    g[0] = 6 * g0;
    g[s] = -outer - inner;
    g[2 * s] = inner - outer;
    g[3 * s] = low + high;
    g[4 * s] = low - high;
    g[5 * s] = 24 * g2;
  } else {
    g[0] = 2 * g0;
    g[s] = g0 + g1 + g2;
    g[2 * s] = g0 - g1 + g2;
    g[3 * s] = 2 * g2;
  }
}

/// One tile of W channels (or `part`), from the pixels to the planes.
INLINE void winograd_input_tile(
    float *v, long planeStride, const float *const *pixels, long c, long mv, long mh, long part) {
  const long across = mh + 2, down = mv + 2;
  vf t[MOST_PLANES];
  UNROLL for (long j = 0; j < across; j++) {
    UNROLL for (long i = 0; i < down; i++) {
      t[i * across + j] = load_some(pixels[i * across + j] + c, part);
    }
    winograd_input_axis(mv, t + j, across);
  }
  UNROLL for (long i = 0; i < down; i++) {
    winograd_input_axis(mh, t + i * across, 1);
    UNROLL for (long j = 0; j < across; j++) {
      store_some(v + (i * across + j) * planeStride + c, t[i * across + j], part);
    }
  }
}

INLINE void winograd_input_tiles(
    float *v, long planeStride, const float *x, const float *zeros, const cnl_winograd *w,
    long first, long count, long mv, long mh) {
  const long C = w->channels;
  for (long tile = first; tile < first + count; tile++, v += C) {
    const long top = tile / w->tilesAcross * mv - w->padTop;
    const long left = tile % w->tilesAcross * mh - w->padLeft;
    const float *pixels[MOST_PLANES];
    UNROLL for (long i = 0; i < mv + 2; i++) {
      const long iy = top + i;
      const unsigned long width = iy >= 0 && iy < w->height ? (unsigned long)w->width : 0;
      const long row = (iy * w->width + left) * C;
      UNROLL for (long j = 0; j < mh + 2; j++) {
        const int inside = (unsigned long)(left + j) < width;
        pixels[i * (mh + 2) + j] = inside ? x + (row + j * C) : zeros;
      }
    }
    long c = 0;
    for (; c + W <= C; c += W) winograd_input_tile(v, planeStride, pixels, c, mv, mh, 0);
    if (c < C) winograd_input_tile(v, planeStride, pixels, c, mv, mh, C - c);
  }
}

static void winograd_input(
    float *v, long planeStride, const float *x, const float *zeros, const cnl_winograd *w,
    long first, long count) {
  WINOGRAD_SIZES(
      w->tileHeight, w->tileWidth, winograd_input_tiles, v, planeStride, x, zeros, w, first,
      count);
}

typedef struct {
  const float *bias;
  vf lo, hi;
  long pixelStride, rowStride;  // of y and of the residual
  long rows, columns;           // pixels of this tile that exist
} winograd_finish;

/// One tile of W filters (or `part`), from the planes to the pixels.
INLINE void winograd_output_tile(
    float *y, const float *residual, const float *m, long planeStride, const winograd_finish *f,
    long k, long mv, long mh, int adds, long part) {
  const long across = mh + 2, down = mv + 2;
  vf t[MOST_PLANES];
  UNROLL for (long j = 0; j < across; j++) {
    UNROLL for (long i = 0; i < down; i++) {
      t[i * across + j] = load_some(m + (i * across + j) * planeStride + k, part);
    }
    winograd_output_axis(mv, t + j, across);
  }
  const vf bias = load_some(f->bias + k, part);
  UNROLL for (long i = 0; i < mv; i++) {
    winograd_output_axis(mh, t + i * across, 1);
    UNROLL for (long j = 0; j < mh; j++) {
      if (i < f->rows && j < f->columns) {
        const long at = i * f->rowStride + j * f->pixelStride + k;
        vf value = t[i * across + j] + bias;
        if (adds) value += load_some(residual + at, part);
        store_some(y + at, clamp(value, f->lo, f->hi), part);
      }
    }
  }
}

INLINE void winograd_output_tiles(
    float *y, const float *residual, const float *m, long planeStride, long mRow,
    const float *bias, float lo, float hi, const cnl_winograd *w, long columns, long first,
    long count, int adds, long mv, long mh) {
  winograd_finish f = {
      .bias = bias, .lo = splat(lo), .hi = splat(hi), .pixelStride = w->filters,
      .rowStride = w->outputWidth * w->filters};
  for (long tile = first; tile < first + count; tile++, m += mRow) {
    const long top = tile / w->tilesAcross * mv, left = tile % w->tilesAcross * mh;
    const long at = top * f.rowStride + left * f.pixelStride;
    f.rows = w->outputHeight - top;
    f.columns = w->outputWidth - left;
    const float *r = adds ? residual + at : y;
    long k = 0;
    for (; k + W <= columns; k += W) {
      winograd_output_tile(y + at, r, m, planeStride, &f, k, mv, mh, adds, 0);
    }
    if (k < columns) {
      winograd_output_tile(y + at, r, m, planeStride, &f, k, mv, mh, adds, columns - k);
    }
  }
}

static void winograd_output(
    float *y, const float *m, long planeStride, long mRow, const float *bias, float lo, float hi,
    const cnl_winograd *w, long columns, long first, long count) {
  WINOGRAD_SIZES(
      w->tileHeight, w->tileWidth, winograd_output_tiles, y, y, m, planeStride, mRow, bias, lo, hi,
      w, columns, first, count, 0);
}

static void winograd_output_add(
    float *y, const float *residual, const float *m, long planeStride, long mRow,
    const float *bias, float lo, float hi, const cnl_winograd *w, long columns, long first,
    long count) {
  WINOGRAD_SIZES(
      w->tileHeight, w->tileWidth, winograd_output_tiles, y, residual, m, planeStride, mRow, bias,
      lo, hi, w, columns, first, count, 1);
}

/// W filters (or `part`) of one channel, times `scale`; in Double, so that each result is rounded
/// once.
INLINE void winograd_filter_taps(
    float *u, long planeStride, const float *g, long tapStride, double scale, long mv, long mh,
    long part) {
  const long across = mh + 2, down = mv + 2;
  vd t[MOST_PLANES];
  UNROLL for (long j = 0; j < 3; j++) {
    UNROLL for (long i = 0; i < 3; i++) {
      const vf tap = load_some(g + (i * 3 + j) * tapStride, part);
      t[i * across + j] = __builtin_convertvector(tap, vd);
    }
    winograd_filter_axis(mv, t + j, across);
  }
  UNROLL for (long i = 0; i < down; i++) {
    winograd_filter_axis(mh, t + i * across, 1);
    UNROLL for (long j = 0; j < across; j++) {
      const vf value = __builtin_convertvector(t[i * across + j] * scale, vf);
      store_some(u + (i * across + j) * planeStride, value, part);
    }
  }
}

INLINE void winograd_filter_rows(
    float *u, long planeStride, const float *g, long gRow, long tapStride, long rows, long width,
    long mv, long mh) {
  const double scale = 1.0 / (winograd_denominator(mv) * winograd_denominator(mh));
  for (long c = 0; c < rows; c++, g += gRow, u += width) {
    long k = 0;
    for (; k + W <= width; k += W) {
      winograd_filter_taps(u + k, planeStride, g + k, tapStride, scale, mv, mh, 0);
    }
    if (k < width) {
      winograd_filter_taps(u + k, planeStride, g + k, tapStride, scale, mv, mh, width - k);
    }
  }
}

/// The same from W × W blocks of the filter, turned round and transposed in registers.
INLINE void winograd_filter_adjoint_rows(
    float *u, long planeStride, const float *g, long gRow, long tapStride, long rows, long width,
    long mv, long mh) {
  const double scale = 1.0 / (winograd_denominator(mv) * winograd_denominator(mh));
  float block[9 * W * W];
  for (long k = 0; k < rows; k += W) {
    const long height = rows - k < W ? rows - k : W;
    for (long c = 0; c < width; c += W) {
      const long part = width - c < W ? width - c : W;
      for (long tap = 0; tap < 9; tap++) {
        transpose(block + (8 - tap) * W * W, W, g + tap * tapStride + c * gRow + k, gRow, part,
            height);
      }
      float *to = u + k * width + c;
      for (long i = 0; i < height; i++, to += width) {
        if (part == W) {
          winograd_filter_taps(to, planeStride, block + i * W, W * W, scale, mv, mh, 0);
        } else {
          winograd_filter_taps(to, planeStride, block + i * W, W * W, scale, mv, mh, part);
        }
      }
    }
  }
}

static void winograd_filter(
    float *u, long planeStride, const float *g, long gRow, long tapStride, long rows, long width,
    long tileHeight, long tileWidth) {
  WINOGRAD_SIZES(
      tileHeight, tileWidth, winograd_filter_rows, u, planeStride, g, gRow, tapStride, rows,
      width);
}

static void winograd_filter_adjoint(
    float *u, long planeStride, const float *g, long gRow, long tapStride, long rows, long width,
    long tileHeight, long tileWidth) {
  WINOGRAD_SIZES(
      tileHeight, tileWidth, winograd_filter_adjoint_rows, u, planeStride, g, gRow, tapStride,
      rows, width);
}
