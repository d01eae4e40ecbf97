// The loops that BLAS has no call for. Each is written once and compiled for three instruction
// sets; the best one the processor supports is found at the first call.
//
// What holds for all: buffers are row-major with channels last; `…Row` is the distance between rows
// in elements; counts may be 0; no alignment is assumed and nothing outside the stated ranges is
// touched; a destination does not overlap a source unless it says so; a NaN in gives a NaN out. The
// order of additions depends on the sizes (and the variant) alone, never on addresses or threads.
#pragma once
#include <stdint.h>

#if defined(__cplusplus)
extern "C" {
#endif

// MARK: Dispatch

enum cnl_variant { CNL_PLAIN = 0, CNL_V3 = 1, CNL_V4 = 2 };

/// Variants compiled in: 3 on x86-64, else 1.
int cnl_variant_count(void);
/// 1 if this processor and its operating system can run the variant.
int cnl_variant_supported(int variant);
/// The variant in use, by default the highest supported one.
int cnl_variant_current(void);
/// Selects a variant for the calling thread, for tests. 0, or −1 if it is not supported.
int cnl_variant_select(int variant);
/// Ends the selection.
void cnl_variant_deselect(void);
/// "plain", "x86-64-v3" or "x86-64-v4".
const char *cnl_variant_name(int variant);

// MARK: Elementwise

enum cnl_unary {
  CNL_RELU,
  CNL_RELU6,
  CNL_LEAKY_RELU,  // x < 0 ? a·x : x
  CNL_CLIP,        // a ≤ x ≤ b
  CNL_AFFINE,      // a·x + b
  CNL_SIGMOID,
  CNL_TANH,
  CNL_EXP,
  CNL_LOG,
  CNL_SQRT,
  CNL_RECIPROCAL,
  CNL_NEGATE,
  CNL_ABSOLUTE,
  CNL_SQUARE,
  CNL_SOFTPLUS,      // ln(1 + e^x)
  CNL_SILU,          // x·sigmoid(x)
  CNL_HARD_SIGMOID,  // clip(a·x + b, 0, 1)
  CNL_HARD_SWISH,    // x·clip(x/6 + ½, 0, 1)
  CNL_ELU,           // x < 0 ? a·(e^x − 1) : x
  CNL_GELU,          // x·Φ(x), by erf
  CNL_ERF,
  CNL_GELU_TANH,  // x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³)))
  CNL_FLOOR,
  CNL_CEILING,
  CNL_ROUND,  // to even
  CNL_SIGN
};

enum cnl_binary {
  CNL_ADD,
  CNL_SUBTRACT,
  CNL_MULTIPLY,
  CNL_DIVIDE,
  CNL_MAXIMUM,
  CNL_MINIMUM,
  CNL_POWER
};

/// y = f(x); y may be x. Where the result is normal, exp and log are within
/// 2 ulp, sigmoid, tanh, erf and softplus within 3; both GELUs within 3·2⁻²⁴·|x|.
void cnl_map(int f, float a, float b, float *y, const float *x, long n);
/// dx = dy·f′(x); dx may be dy. At a kink the derivative is 0 (leaky ReLU: a; ELU: 1).
void cnl_map_derivative(
    int f, float a, float b, float *dx, const float *dy, const float *x, long n);
/// y[r][c] = f(a[r·aRow + c·aColumn], b[…]). Columns step by 1 or, broadcast, by 0; rows by
/// anything. y may be a or b where the strides agree.
void cnl_combine(
    int f, float *y, long yRow, const float *a, long aRow, long aColumn, const float *b, long bRow,
    long bColumn, long rows, long columns);
/// y += x.
void cnl_accumulate(float *y, const float *x, long n);
void cnl_fill(float *y, float value, long n);
void cnl_to_float(float *y, const double *x, long n);
void cnl_to_double(double *y, const float *x, long n);
void cnl_copy_rows(float *y, long yRow, const float *x, long xRow, long rows, long columns);

// MARK: Reductions

/// Σx: float sums of at most 4096 elements, added up in Double.
double cnl_sum(const float *x, long n);
/// Σx², likewise: infinite where 4096 squares exceed float.
double cnl_sum_of_squares(const float *x, long n);
/// sums[c] = Σᵣ x[r][c]: float sums of at most 128 rows, added up in Double. Overwrites.
void cnl_sum_rows(double *sums, const float *x, long xRow, long rows, long columns);
/// y[i] = Σᵣ x[r][i], added up in Double in the order of rows and rounded once.
void cnl_sum_parts(float *y, const float *x, long xRow, long rows, long n);
/// y[c] = the largest (maximum = 1) or smallest (0) of a column; rows ≥ 1.
void cnl_extreme_rows(float *y, const float *x, long xRow, long rows, long columns, int maximum);
/// The largest or smallest element; ∓inf of none.
float cnl_extreme(const float *x, long n, int maximum);
/// 1 if no element is infinite or NaN.
int cnl_all_finite(const float *x, long n);

// MARK: Batch normalisation, channels last

/// One block of rows (at most about 128): sum[c] = Σ(x − shift), square[c] = Σ(x − shift)².
void cnl_moments_block(
    float *sum, float *square, const float *x, long row, const float *shift, long rows,
    long channels);
/// The terms of those sums, for others to add up: rows of x − shift, then (x − shift)², 2·channels in
/// all, from rows of x that are `row` apart.
void cnl_moments_terms(
    float *terms, const float *x, long row, const float *shift, long rows, long channels);
/// Merges such a block of `blockCount` rows into (count, mean, M2) by Chan's formula. `count` is
/// what was merged before; the caller adds to it afterwards.
void cnl_moments_merge(
    double *mean, double *m2, double count, const float *sum, const float *square,
    const float *shift, double blockCount, long channels);
/// A ← A ∪ B.
void cnl_moments_combine(
    double *meanA, double *m2A, double countA, const double *meanB, const double *m2B,
    double countB, long channels);
/// y = clamp(a[c]·(x − m[c]) + b[c], lo, hi); ∓inf for no bound; y may be x. `nontemporal` = 1
/// writes past the caches where every row of y is 64-byte aligned and is ignored elsewhere.
void cnl_normalize(
    float *y, const float *x, const float *m, const float *a, const float *b, float lo, float hi,
    long rows, long channels, int nontemporal);
/// y = clamp(a[c]·(x − m[c]) + b[c] + r, lo, hi); y may be x or r.
void cnl_normalize_add(
    float *y, const float *x, const float *r, const float *m, const float *a, const float *b,
    float lo, float hi, long rows, long channels, int nontemporal);
/// One block: sumG[c] = Σ dy, sumGX[c] = Σ dy·(x − mean[c]).
void cnl_gradient_sums_block(
    float *sumG, float *sumGX, const float *dy, const float *x, long row, const float *mean,
    long rows, long channels);
/// The same of dy·f′(n) with n = a[c]·(x − m[c]) + b[c] as `cnl_normalize` has it before it clamps, and
/// f′ = 0 for n ≤ lo and n ≥ hi, else 1; lo or hi NaN for no bound.
void cnl_gated_gradient_sums_block(
    float *sumG, float *sumGX, const float *dy, const float *x, long row, const float *m,
    const float *a, const float *b, float lo, float hi, long rows, long channels);
/// The terms of those sums: rows of dy, then dy·(x − mean), 2·channels in all.
void cnl_gradient_terms(
    float *terms, const float *dy, const float *x, long row, const float *mean, long rows,
    long channels);
/// dx = dy·a[c] + (x − m[c])·b[c] + k[c]; dx may be dy or x.
void cnl_normalize_gradient(
    float *dx, const float *dy, const float *x, const float *m, const float *a, const float *b,
    const float *k, long rows, long channels, int nontemporal);
/// The same of dy·f′(n) for dy, n = gateA[c]·(x − m[c]) + gateB[c] and f′ as above; m is that of both.
void cnl_gated_normalize_gradient(
    float *dx, const float *dy, const float *x, const float *m, const float *a, const float *b,
    const float *k, const float *gateA, const float *gateB, float lo, float hi, long rows,
    long channels, int nontemporal);

// MARK: Batch normalisation, once per channel, in Double; variance = m2/count

/// y += x.
void cnl_accumulate_doubles(double *y, const float *x, long n);
void cnl_add_doubles(double *y, const double *x, long n);
/// y = a·(x − m) + b: a = scale/√(variance + ε), 0 where m2 = 0; m = mean rounded to float, or 0
/// unless it `centres`; b = shift − a·(mean − m) with a as it is rounded, which is all that m leaves.
void cnl_normalize_coefficients(
    float *m, float *a, float *b, const double *mean, const double *m2, double count,
    const float *scale, const float *shift, double epsilon, int centres, long n);
/// From Σ dy·(x − m), m the mean rounded to float, to dγ = Σ dy·(x − mean)/√(variance + ε).
void cnl_gradient_sums_finish(
    double *sumGX, const double *sumG, const double *mean, const double *m2, double count,
    double epsilon, long n);
/// dx = a·dy + b·(x − m) + k: a = scale/√(variance + ε), b and k as the mean terms ask, with m as
/// above and k making up for it with b as rounded.
void cnl_gradient_coefficients(
    float *m, float *a, float *b, float *k, const double *mean, const double *m2, double count,
    const float *scale, const double *dShift, const double *dScale, double epsilon, int centres,
    long n);
/// 1 where |mean − shift| > 32·√(m2/count) for some channel that is not constant.
int cnl_shift_is_far(
    const float *shift, const double *mean, const double *m2, double count, long n);

// MARK: Batch normalisation, channels first: one plane of n elements of one channel

void cnl_plane_moments(float *sum, float *square, const float *x, float shift, long n);
void cnl_plane_gradient_sums(
    float *sumG, float *sumGX, const float *dy, const float *x, float mean, long n);
void cnl_plane_normalize(
    float *y, const float *x, float m, float a, float b, float lo, float hi, long n);
void cnl_plane_normalize_gradient(
    float *dx, const float *dy, const float *x, float m, float a, float b, float k, long n);

// MARK: Convolution

/// A window moving over one image x[height][width][channels]. Padding at the bottom and right
/// follows from the output's size.
typedef struct {
  long height, width, channels;
  long kernelHeight, kernelWidth, strideHeight, strideWidth, dilationHeight, dilationWidth;
  long padTop, padLeft;
  long outputHeight, outputWidth;
} cnl_window;

/// Output pixels [first, first + count), counted row by row through one image:
/// dst[i][(ky·kernelWidth + kx)·channelCount + c] = x[pixel][firstChannel + c], 0 outside.
void cnl_im2row(
    float *dst, const float *x, const cnl_window *w, long firstChannel, long channelCount,
    long first, long count);
/// dst[c][r] = src[r][c].
void cnl_transpose(
    float *dst, long dstRow, const float *src, long srcRow, long rows, long columns);
/// w[k][n] into panels of 64 columns, [⌈n/64⌉][k][64]; the last one keeps its own smaller width.
void cnl_pack_panels(float *dst, const float *w, long wRow, long k, long n);
/// The same from the transpose, w[n][k].
void cnl_pack_panels_transposed(float *dst, const float *w, long wRow, long k, long n);
/// y = clamp(y + bias[c], lo, hi), in place.
void cnl_bias_clamp(
    float *y, long yRow, const float *bias, float lo, float hi, long rows, long columns);
/// y = clamp(y + bias[c] + r, lo, hi), in place.
void cnl_bias_add_clamp(
    float *y, long yRow, const float *bias, const float *r, long rRow, float lo, float hi,
    long rows, long columns);

/// c = a·b or c += a·b, of c[rows][columns], a[rows][depth] and b[depth][columns], 64 columns or
/// fewer: sums of up to 512 products in the order of k, fused where the instruction set can, each
/// added to c. A row has the same bits whatever the others. Meanwhile the a of the next product, with as
/// many rows as far apart, is asked for from memory; nothing is read of it. Give a where there is none.
void cnl_panel_product(
    float *c, long cRow, const float *a, long aRow, const float *b, long bRow, long rows,
    long depth, long columns, int accumulates, const float *next);
/// The factors of a product aᵀ·b; the rows of a lie anywhere.
typedef struct {
  const float *const *aRows;  // [depth]
  long aOffset;               // from these pointers to the first of `rows` elements
  const float *b;             // [depth][columns]
  long bRow;
} cnl_operands;
/// c = aᵀ·b or c += aᵀ·b, of c[rows][columns], 64 columns or fewer: sums in the order of `depth`, each
/// added to c. Meanwhile the operands of the next product, of the same shape, are asked for from
/// memory; nothing is read of them. Give those of this one where there is none or one stays.
void cnl_transposed_product(
    float *c, long cRow, const cnl_operands *now, const cnl_operands *next, long rows, long depth,
    long columns, int accumulates);
/// What a row of A consists of: `across` runs of `count` elements, `down` times, with distances from one to
/// the next, and the same for the rows of B that they meet, the first of which is `first`.
typedef struct {
  long down, across, count;
  long aDown, aAcross;
  long first, bDown, bAcross;
} cnl_runs;
/// c = a·b of every line, c[lines][rows][columns], 64 columns or fewer. Sums are taken run by run, in chains
/// of fused products where the instruction set can; one that has passed 512 products is added to c at the
/// end of its run. Without runs c is 0.
void cnl_line_products(
    float *c, long cLine, long cRow, const float *a, long aLine, long aRow, const cnl_runs *runs,
    const float *b, long bRow, long lines, long rows, long columns);
/// rows[i] = where the pixel lies that one tap of output pixel first + i reads, `zeros` if outside.
void cnl_pixel_rows(
    const float **rows, const float *x, const float *zeros, const cnl_window *w, long tap,
    long first, long count);

/// Depthwise convolution, w[kernelHeight][kernelWidth][channels]: channels [firstChannel,
/// lastChannel) of output rows [firstRow, lastRow) of one image, y = clamp(bias[c] + Σ x·w, lo, hi).
/// y and x point at the whole image's first element.
void cnl_depthwise(
    float *y, const float *x, const float *w, const float *bias, float lo, float hi,
    const cnl_window *win, long firstRow, long lastRow, long firstChannel, long lastChannel);
/// Rows [firstRow, lastRow) of dx, overwritten; the window is that of the forward pass.
void cnl_depthwise_input_gradient(
    float *dx, const float *dy, const float *w, const cnl_window *win, long firstRow, long lastRow);
/// dw += the part of output rows [firstRow, lastRow) of one image.
void cnl_depthwise_filter_gradient(
    double *dw, const float *dy, const float *x, const cnl_window *win, long firstRow,
    long lastRow);

// MARK: Convolution of few channels, one image; dilationWidth is 1, w is [kh][kw][C][filters]

/// Floats of scratch for the two functions below: the padded rows under one output row.
static inline long cnl_thin_scratch(const cnl_window *win) {
  return win->kernelHeight * ((win->outputWidth - 1) * win->strideWidth + win->kernelWidth) *
         win->channels;
}
/// Output rows [firstRow, lastRow): y = clamp(bias + Σ x·w, lo, hi); bias has `filters` entries.
void cnl_thin_convolution(
    float *y, const float *x, const float *w, const float *bias, float lo, float hi,
    const cnl_window *win, long filters, float *scratch, long firstRow, long lastRow);
/// dw += the part of output rows [firstRow, lastRow); float sums of at most 128 pixels, in Double.
void cnl_thin_filter_gradient(
    double *dw, const float *dy, const float *x, const cnl_window *win, long filters,
    float *scratch, long firstRow, long lastRow);

// MARK: Winograd's minimal filtering F(tileHeight × tileWidth, 3 × 3), stride 1, one image

/// Output tiles of tileHeight × tileWidth (2 or 4 each), counted row by row. A tile's transforms have
/// P = (tileHeight + 2)(tileWidth + 2) planes, `planeStride` floats apart.
typedef struct {
  long height, width, channels;  // of x
  long padTop, padLeft;
  long outputHeight, outputWidth, filters;  // of y
  long tileHeight, tileWidth, tilesAcross;
} cnl_winograd;

/// Tiles [first, first + count): v[plane][tile − first][channel] = Bᵀ d B; `zeros` holds `channels` of
/// them.
void cnl_winograd_input(
    float *v, long planeStride, const float *x, const float *zeros, const cnl_winograd *w,
    long first, long count);
/// y = clamp(Aᵀ m A + bias, lo, hi) for `columns` neighbouring filters of tiles [first, first +
/// count), from m[plane][tile − first] with `mRow` floats a tile. y and bias point at the first of
/// these filters.
void cnl_winograd_output(
    float *y, const float *m, long planeStride, long mRow, const float *bias, float lo, float hi,
    const cnl_winograd *w, long columns, long first, long count);
/// y = clamp(Aᵀ m A + bias + residual, lo, hi).
void cnl_winograd_output_add(
    float *y, const float *residual, const float *m, long planeStride, long mRow,
    const float *bias, float lo, float hi, const cnl_winograd *w, long columns, long first,
    long count);
/// u[plane][c][k] = G g Gᵀ for c < rows and k < width of g[3][3][c][k], `gRow` floats from channel to
/// channel and `tapStride` from tap to tap; in Double.
void cnl_winograd_filter(
    float *u, long planeStride, const float *g, long gRow, long tapStride, long rows, long width,
    long tileHeight, long tileWidth);
/// u[plane][k][c] = G g′ Gᵀ for k < rows and c < width of the adjoint filter g′[i][j][k][c] =
/// g[2 − i][2 − j][c][k], in Double.
void cnl_winograd_filter_adjoint(
    float *u, long planeStride, const float *g, long gRow, long tapStride, long rows, long width,
    long tileHeight, long tileWidth);

// The filter's gradient is the adjoint of the same, dg = Gᵀ[Σ (Bᵀ d B)ᵀ ⊙ (A dY Aᵀ)]G, summed over
// tiles. Here tiles are counted through all images.

/// v[plane][tile − first][c] = Bᵀ d B for `columns` neighbouring channels, `vRow` floats a tile. x points
/// at the first of these channels; `zeros` has `columns`.
void cnl_winograd_gradient_input(
    float *v, long planeStride, long vRow, const float *x, const float *zeros,
    const cnl_winograd *w, long columns, long first, long count);
/// m[plane][tile − first][k] = A dY Aᵀ for `columns` neighbouring filters, `mRow` floats a tile; what
/// lies beyond the edges is 0. dy points at the first of these filters; `zeros` has `columns`.
void cnl_winograd_gradient(
    float *m, long planeStride, long mRow, const float *dy, const float *zeros,
    const cnl_winograd *w, long columns, long first, long count);
/// dw[3][3][c][k] = Gᵀ u G, or dw += it, from u[plane][c][k] for c < rows and k < columns; in
/// Double.
void cnl_winograd_filter_gradient(
    float *dw, long dwRow, long tapStride, const float *u, long planeStride, long rows,
    long columns, long tileHeight, long tileWidth, int accumulates);

// MARK: Pooling, one image

/// Output rows [firstRow, lastRow), of an image that x has from row `top` on. Padding never wins; a
/// NaN does.
void cnl_max_pool(
    float *y, const float *x, long top, const cnl_window *w, long firstRow, long lastRow);
/// What output rows [firstRow, lastRow) give to dx, whose rows are overwritten by the first range that
/// reaches them: ranges come in order, to the last row. dy goes to the first maximum (or NaN) in window
/// order.
void cnl_max_pool_gradient(
    float *dx, const float *dy, const float *x, long top, const cnl_window *w, long firstRow,
    long lastRow);
/// Sums of the pixels inside, divided by rowCounts[row]·columnCounts[column] of the output pixel.
void cnl_average_pool(
    float *y, const float *x, const cnl_window *w, const float *rowCounts,
    const float *columnCounts, long firstRow, long lastRow);
/// dx of a whole image, overwritten.
void cnl_average_pool_gradient(
    float *dx, const float *dy, const cnl_window *w, const float *rowCounts,
    const float *columnCounts);

// MARK: Resizing an axis

/// Row o of y, `inner` floats, is Σ weights[t]·(row indices[t] of x) over starts[o] ≤ t < starts[o + 1],
/// added in this order; `empty` where there is no t. Rows [first, last).
void cnl_weighted_rows(
    float *y, const float *x, long inner, const long *starts, const long *indices,
    const float *weights, float empty, long first, long last);

// MARK: Images of bytes

/// Resamples columns, of 1 or 3 channels: pixel o < width of a row of y is the sum of
/// weights[o·maximum + t] times pixel spans[2·o] + t of the row of x, for t < spans[2·o + 1]. Weights have 22
/// bits of fraction; Σ|weight|·255 stays below 2³¹. Sums are rounded to the nearest, half upwards, and
/// clipped. Rows of x have xWidth pixels; nothing is read behind them.
void cnl_resample_columns(
    uint8_t *y, long yRow, const uint8_t *x, long xRow, long xWidth, const long *spans,
    const int32_t *weights, long maximum, long rows, long width, long channels);
/// One row of y, n bytes, of `taps` rows of x by the same rule.
void cnl_resample_rows(
    uint8_t *y, const uint8_t *x, long xRow, const int32_t *weights, long taps, long n);

// MARK: Softmax over columns

void cnl_softmax(float *y, const float *x, long rows, long columns);
/// loss[r] = −Σ q·ln softmax(x), q = (1 − smoothing)·onehot + smoothing/columns. A label outside
/// 0 ..< columns gives NaN.
void cnl_cross_entropy(
    float *loss, const float *x, const int64_t *labels, float smoothing, long rows, long columns);
/// dx = (softmax(x) − q)·dloss[r].
void cnl_cross_entropy_gradient(
    float *dx, const float *dloss, const float *x, const int64_t *labels, float smoothing,
    long rows, long columns);

// MARK: Random numbers

/// Philox4x32-10 (Salmon et al., SC 2011) with key = seed and counter = (block, stream): words of
/// the elements first ..< first + n, where element i has word i%4 of block i/4.
void cnl_philox(uint32_t *words, uint64_t seed, uint64_t stream, uint64_t first, long n);
/// y[i] = word of element first + i ≥ threshold ? x[i]·scale : 0. y may be x.
void cnl_dropout(
    float *y, const float *x, uint64_t seed, uint64_t stream, uint64_t first, uint32_t threshold,
    float scale, long n);

// MARK: Optimisers

/// g′ = scale·min(max(g, −limit), limit) + decay·w;  v = momentum·v + g′;
/// w −= rate·(nesterov ? g′ + momentum·v : v).
void cnl_sgd(
    float *w, float *velocity, const float *g, float rate, float momentum, float decay, float scale,
    float limit, int nesterov, long n);
/// g′ = scale·min(max(g, −limit), limit) + coupledDecay·w;  m = β₁m + (1−β₁)g′;  v = β₂v + (1−β₂)g′²;
/// w −= rate·((m/correction1)/(√(v/correction2) + epsilon) + decoupledDecay·w).
void cnl_adam(
    float *w, float *m, float *v, const float *g, float rate, float beta1, float beta2,
    float epsilon, float coupledDecay, float decoupledDecay, float correction1, float correction2,
    float scale, float limit, long n);
/// y += take·(x − y): what follows x exactly where both are equal.
void cnl_average(float *y, const float *x, float take, long n);

#if defined(__cplusplus)
}
#endif
