// The filter's gradient of Winograd's minimal filtering: dg = Gᵀ[Σ (Bᵀ d B)ᵀ ⊙ (A dY Aᵀ)]G, the sum
// taken over all tiles of all images, each plane a product [channels × tiles]·[tiles × filters].

/// The tile's image, and its row and column of tiles there.
typedef struct {
  long image, down, across;
} tile_place;

INLINE tile_place place_of_tile(const cnl_winograd *w, long tile) {
  const long down = (w->outputHeight + w->tileHeight - 1) / w->tileHeight;
  const long inImage = tile % (down * w->tilesAcross);
  return (tile_place){
      tile / (down * w->tilesAcross), inImage / w->tilesAcross, inImage % w->tilesAcross};
}

/// Where the pixels of a tile of `rows` × `columns` lie in an image; `zeros` outside of it.
INLINE void tile_pixels(
    const float **pixels, const float *x, const float *zeros, long height, long width,
    long channels, long top, long left, long rows, long columns) {
  UNROLL for (long i = 0; i < rows; i++) {
    const long iy = top + i;
    const unsigned long inside = iy >= 0 && iy < height ? (unsigned long)width : 0;
    const float *row = x + (iy * width + left) * channels;
    UNROLL for (long j = 0; j < columns; j++) {
      pixels[i * columns + j] = (unsigned long)(left + j) < inside ? row + j * channels : zeros;
    }
  }
}

INLINE void winograd_gradient_input_tiles(
    float *v, long planeStride, long vRow, const float *x, const float *zeros,
    const cnl_winograd *w, long columns, long first, long count, long mv, long mh) {
  for (long tile = first; tile < first + count; tile++, v += vRow) {
    const tile_place p = place_of_tile(w, tile);
    const float *pixels[MOST_PLANES];
    tile_pixels(
        pixels, x + p.image * w->height * w->width * w->channels, zeros, w->height, w->width,
        w->channels, p.down * mv - w->padTop, p.across * mh - w->padLeft, mv + 2, mh + 2);
    long c = 0;
    for (; c + W <= columns; c += W) winograd_input_tile(v, planeStride, pixels, c, mv, mh, 0);
    if (c < columns) winograd_input_tile(v, planeStride, pixels, c, mv, mh, columns - c);
  }
}

static void winograd_gradient_input(
    float *v, long planeStride, long vRow, const float *x, const float *zeros,
    const cnl_winograd *w, long columns, long first, long count) {
  WINOGRAD_SIZES(
      w->tileHeight, w->tileWidth, winograd_gradient_input_tiles, v, planeStride, vRow, x, zeros,
      w, columns, first, count);
}

/// The first m of v become Av along one axis, m + 2 of them.
INLINE void winograd_gradient_axis(long m, vf *v, long s) {
  const vf v0 = v[0], v1 = v[s];
  if (m == 4) {
    const vf v2 = v[2 * s], v3 = v[3 * s];
    const vf even1 = v0 + v2, odd1 = v1 + v3, even2 = v0 + 4 * v2, odd2 = 2 * v1 + 8 * v3;
    v[s] = even1 + odd1;
    v[2 * s] = even1 - odd1;
    v[3 * s] = even2 + odd2;
    v[4 * s] = even2 - odd2;
    v[5 * s] = v3;
  } else {
    v[s] = v0 + v1;
    v[2 * s] = v0 - v1;
    v[3 * s] = -v1;
  }
}

/// One tile of W filters (or `part`), from the pixels to the planes.
INLINE void winograd_gradient_tile(
    float *m, long planeStride, const float *const *pixels, long k, long mv, long mh, long part) {
  const long across = mh + 2, down = mv + 2;
  vf t[MOST_PLANES];
  UNROLL for (long j = 0; j < mh; j++) {
    UNROLL for (long i = 0; i < mv; i++) {
      t[i * across + j] = load_some(pixels[i * mh + j] + k, part);
    }
    winograd_gradient_axis(mv, t + j, across);
  }
  UNROLL for (long i = 0; i < down; i++) {
    winograd_gradient_axis(mh, t + i * across, 1);
    UNROLL for (long j = 0; j < across; j++) {
      store_some(m + (i * across + j) * planeStride + k, t[i * across + j], part);
    }
  }
}

INLINE void winograd_gradient_tiles(
    float *m, long planeStride, long mRow, const float *dy, const float *zeros,
    const cnl_winograd *w, long columns, long first, long count, long mv, long mh) {
  for (long tile = first; tile < first + count; tile++, m += mRow) {
    const tile_place p = place_of_tile(w, tile);
    const float *pixels[16];
    tile_pixels(
        pixels, dy + p.image * w->outputHeight * w->outputWidth * w->filters, zeros,
        w->outputHeight, w->outputWidth, w->filters, p.down * mv, p.across * mh, mv, mh);
    long k = 0;
    for (; k + W <= columns; k += W) {
      winograd_gradient_tile(m, planeStride, pixels, k, mv, mh, 0);
    }
    if (k < columns) winograd_gradient_tile(m, planeStride, pixels, k, mv, mh, columns - k);
  }
}

static void winograd_gradient(
    float *m, long planeStride, long mRow, const float *dy, const float *zeros,
    const cnl_winograd *w, long columns, long first, long count) {
  WINOGRAD_SIZES(
      w->tileHeight, w->tileWidth, winograd_gradient_tiles, m, planeStride, mRow, dy, zeros, w,
      columns, first, count);
}

/// The first three of u become Gᵀu along one axis, times the denominator of G.
INLINE void winograd_filter_gradient_axis(long m, vd *u, long s) {
  const vd u0 = u[0], u1 = u[s], u2 = u[2 * s], u3 = u[3 * s];
  const vd sum1 = u1 + u2, difference1 = u1 - u2;
  if (m == 4) {
    const vd sum2 = u3 + u[4 * s], difference2 = u3 - u[4 * s];
    u[0] = 6 * u0 - 4 * sum1 + sum2;
    u[s] = 2 * difference2 - 4 * difference1;
    u[2 * s] = 4 * (sum2 - sum1) + 24 * u[5 * s];
  } else {
    u[0] = 2 * u0 + sum1;
    u[s] = difference1;
    u[2 * s] = sum1 + 2 * u3;
  }
}

/// W filters (or `part`) of one channel, rounded once.
INLINE void winograd_filter_gradient_taps(
    float *dw, long tapStride, const float *u, long planeStride, double scale, int accumulates,
    long mv, long mh, long part) {
  const long across = mh + 2, down = mv + 2;
  vd t[MOST_PLANES];
  UNROLL for (long j = 0; j < across; j++) {
    UNROLL for (long i = 0; i < down; i++) {
      const vf value = load_some(u + (i * across + j) * planeStride, part);
      t[i * across + j] = __builtin_convertvector(value, vd);
    }
    winograd_filter_gradient_axis(mv, t + j, across);
  }
  UNROLL for (long i = 0; i < 3; i++) {
    winograd_filter_gradient_axis(mh, t + i * across, 1);
    UNROLL for (long j = 0; j < 3; j++) {
      float *to = dw + (i * 3 + j) * tapStride;
      vf sum = __builtin_convertvector(t[i * across + j] * scale, vf);
      if (accumulates) sum += load_some(to, part);
      store_some(to, sum, part);
    }
  }
}

INLINE void winograd_filter_gradient_rows(
    float *dw, long dwRow, long tapStride, const float *u, long planeStride, long rows,
    long columns, int accumulates, long mv, long mh) {
  const double scale = 1.0 / (winograd_denominator(mv) * winograd_denominator(mh));
  for (long c = 0; c < rows; c++, dw += dwRow, u += columns) {
    long k = 0;
    for (; k + W <= columns; k += W) {
      winograd_filter_gradient_taps(
          dw + k, tapStride, u + k, planeStride, scale, accumulates, mv, mh, 0);
    }
    if (k < columns) {
      winograd_filter_gradient_taps(
          dw + k, tapStride, u + k, planeStride, scale, accumulates, mv, mh, columns - k);
    }
  }
}

static void winograd_filter_gradient(
    float *dw, long dwRow, long tapStride, const float *u, long planeStride, long rows,
    long columns, long tileHeight, long tileWidth, int accumulates) {
  WINOGRAD_SIZES(
      tileHeight, tileWidth, winograd_filter_gradient_rows, dw, dwRow, tapStride, u, planeStride,
      rows, columns, accumulates);
}
