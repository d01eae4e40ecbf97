// The one list of dispatched functions: X(result, name, (parameters), (arguments)). The table of a
// variant, its fields' types and the public stubs are all made from it; CConvNetLoops.h declares
// and documents the same functions for callers, and the compiler compares the two.
#pragma once
#include "CConvNetLoops.h"

#define CNL_FUNCTIONS(X)                                                                          \
  X(void, map, (int f, float a, float b, float *y, const float *x, long n), (f, a, b, y, x,       \
      n))                                                                                         \
  X(void, map_derivative, (int f, float a, float b, float *dx, const float *dy, const float       \
      *x, long n), (f, a, b, dx, dy, x, n))                                                       \
  X(void, combine, (int f, float *y, long yRow, const float *a, long aRow, long aColumn, const    \
      float *b, long bRow, long bColumn, long rows, long columns), (f, y, yRow, a, aRow,          \
      aColumn, b, bRow, bColumn, rows, columns))                                                  \
  X(void, accumulate, (float *y, const float *x, long n), (y, x, n))                              \
  X(void, fill, (float *y, float value, long n), (y, value, n))                                   \
  X(void, to_float, (float *y, const double *x, long n), (y, x, n))                               \
  X(void, to_double, (double *y, const float *x, long n), (y, x, n))                              \
  X(void, copy_rows, (float *y, long yRow, const float *x, long xRow, long rows, long             \
      columns), (y, yRow, x, xRow, rows, columns))                                                \
  X(double, sum, (const float *x, long n), (x, n))                                                \
  X(void, sum_rows, (double *sums, const float *x, long xRow, long rows, long columns), (sums,    \
      x, xRow, rows, columns))                                                                    \
  X(void, sum_parts, (float *y, const float *x, long xRow, long rows, long n), (y, x, xRow,       \
      rows, n))                                                                                   \
  X(void, extreme_rows, (float *y, const float *x, long xRow, long rows, long columns, int        \
      maximum), (y, x, xRow, rows, columns, maximum))                                             \
  X(float, extreme, (const float *x, long n, int maximum), (x, n, maximum))                       \
  X(void, moments_block, (float *sum, float *square, const float *x, long row, const float        \
      *shift, long rows, long channels), (sum, square, x, row, shift, rows, channels))            \
  X(void, moments_terms, (float *terms, const float *x, long row, const float *shift, long        \
      rows, long channels), (terms, x, row, shift, rows, channels))                               \
  X(void, moments_merge, (double *mean, double *m2, double count, const float *sum, const         \
      float *square, const float *shift, double blockCount, long channels), (mean, m2, count,     \
      sum, square, shift, blockCount, channels))                                                  \
  X(void, moments_combine, (double *meanA, double *m2A, double countA, const double *meanB,       \
      const double *m2B, double countB, long channels), (meanA, m2A, countA, meanB, m2B,          \
      countB, channels))                                                                          \
  X(void, normalize, (float *y, const float *x, const float *m, const float *a, const             \
      float *b, float lo, float hi, long rows, long channels, int nontemporal), (y, x, m,         \
      a, b, lo, hi, rows, channels, nontemporal))                                                 \
  X(void, normalize_add, (float *y, const float *x, const float *r, const float *m, const         \
      float *a, const float *b, float lo, float hi, long rows, long channels, int                 \
      nontemporal), (y, x, r, m, a, b, lo, hi, rows, channels, nontemporal))                      \
  X(void, gradient_sums_block, (float *sumG, float *sumGX, const float *dy, const float *x,       \
      long row, const float *mean, long rows, long channels), (sumG, sumGX, dy, x, row, mean,     \
      rows, channels))                                                                            \
  X(void, gated_gradient_sums_block, (float *sumG, float *sumGX, const float *dy, const float     \
      *x, long row, const float *m, const float *a, const float *b, float lo, float hi, long      \
      rows, long channels), (sumG, sumGX, dy, x, row, m, a, b, lo, hi, rows, channels))           \
  X(void, gradient_terms, (float *terms, const float *dy, const float *x, long row, const         \
      float *mean, long rows, long channels), (terms, dy, x, row, mean, rows, channels))          \
  X(void, normalize_gradient, (float *dx, const float *dy, const float *x, const float *m,        \
      const float *a, const float *b, const float *k, long rows, long channels, int               \
      nontemporal), (dx, dy, x, m, a, b, k, rows, channels, nontemporal))                         \
  X(void, gated_normalize_gradient, (float *dx, const float *dy, const float *x, const float      \
      *m, const float *a, const float *b, const float *k, const float *gateA, const float         \
      *gateB, float lo, float hi, long rows, long channels, int nontemporal), (dx, dy, x, m, a,   \
      b, k, gateA, gateB, lo, hi, rows, channels, nontemporal))                                   \
  X(void, plane_moments, (float *sum, float *square, const float *x, float shift, long n),        \
      (sum, square, x, shift, n))                                                                 \
  X(void, plane_gradient_sums, (float *sumG, float *sumGX, const float *dy, const float *x,       \
      float mean, long n), (sumG, sumGX, dy, x, mean, n))                                         \
  X(void, plane_normalize, (float *y, const float *x, float m, float a, float b, float lo,        \
      float hi, long n), (y, x, m, a, b, lo, hi, n))                                              \
  X(void, plane_normalize_gradient, (float *dx, const float *dy, const float *x, float m,         \
      float a, float b, float k, long n), (dx, dy, x, m, a, b, k, n))                             \
  X(void, accumulate_doubles, (double *y, const float *x, long n), (y, x, n))                     \
  X(void, add_doubles, (double *y, const double *x, long n), (y, x, n))                           \
  X(void, normalize_coefficients, (float *m, float *a, float *b, const double *mean, const        \
      double *m2, double count, const float *scale, const float *shift, double epsilon,           \
      int centres, long n), (m, a, b, mean, m2, count, scale, shift, epsilon, centres, n))        \
  X(void, gradient_sums_finish, (double *sumGX, const double *sumG, const double *mean, const     \
      double *m2, double count, double epsilon, long n), (sumGX, sumG, mean, m2, count,           \
      epsilon, n))                                                                                \
  X(void, gradient_coefficients, (float *m, float *a, float *b, float *k, const double            \
      *mean, const double *m2, double count, const float *scale, const double *dShift,            \
      const double *dScale, double epsilon, int centres, long n), (m, a, b, k, mean, m2,          \
      count, scale, dShift, dScale, epsilon, centres, n))                                         \
  X(int, shift_is_far, (const float *shift, const double *mean, const double *m2, double          \
      count, long n), (shift, mean, m2, count, n))                                                \
  X(void, im2row, (float *dst, const float *x, const cnl_window *w, long firstChannel, long       \
      channelCount, long first, long count), (dst, x, w, firstChannel, channelCount, first,       \
      count))                                                                                     \
  X(void, transpose, (float *dst, long dstRow, const float *src, long srcRow, long rows, long     \
      columns), (dst, dstRow, src, srcRow, rows, columns))                                        \
  X(void, pack_panels, (float *dst, const float *w, long wRow, long k, long n), (dst, w, wRow,    \
      k, n))                                                                                      \
  X(void, pack_panels_transposed, (float *dst, const float *w, long wRow, long k, long n),        \
      (dst, w, wRow, k, n))                                                                       \
  X(void, bias_clamp, (float *y, long yRow, const float *bias, float lo, float hi, long rows,     \
      long columns), (y, yRow, bias, lo, hi, rows, columns))                                      \
  X(void, bias_add_clamp, (float *y, long yRow, const float *bias, const float *r, long rRow,     \
      float lo, float hi, long rows, long columns), (y, yRow, bias, r, rRow, lo, hi, rows,        \
      columns))                                                                                   \
  X(void, panel_product, (float *c, long cRow, const float *a, long aRow, const float *b, long    \
      bRow, long rows, long depth, long columns, int accumulates, const float *next), (c, cRow,   \
      a, aRow, b, bRow, rows, depth, columns, accumulates, next))                                 \
  X(void, transposed_product, (float *c, long cRow, const cnl_operands *now, const cnl_operands   \
      *next, long rows, long depth, long columns, int accumulates), (c, cRow, now, next, rows,    \
      depth, columns, accumulates))                                                               \
  X(void, line_products, (float *c, long cLine, long cRow, const float *a, long aLine, long aRow, \
      const cnl_runs *runs, const float *b, long bRow, long lines, long rows, long columns), (c,  \
      cLine, cRow, a, aLine, aRow, runs, b, bRow, lines, rows, columns))                          \
  X(void, pixel_rows, (const float **rows, const float *x, const float *zeros, const cnl_window   \
      *w, long tap, long first, long count), (rows, x, zeros, w, tap, first, count))              \
  X(void, depthwise, (float *y, const float *x, const float *w, const float *bias, float lo,      \
      float hi, const cnl_window *win, long firstRow, long lastRow, long firstChannel, long       \
      lastChannel), (y, x, w, bias, lo, hi, win, firstRow, lastRow, firstChannel, lastChannel))   \
  X(void, depthwise_input_gradient, (float *dx, const float *dy, const float *w, const            \
      cnl_window *win, long firstRow, long lastRow), (dx, dy, w, win, firstRow, lastRow))         \
  X(void, depthwise_filter_gradient, (double *dw, const float *dy, const float *x, const          \
      cnl_window *win, long firstRow, long lastRow), (dw, dy, x, win, firstRow, lastRow))         \
  X(void, winograd_input, (float *v, long planeStride, const float *x, const float *zeros, const  \
      cnl_winograd *w, long first, long count), (v, planeStride, x, zeros, w, first, count))      \
  X(void, winograd_output, (float *y, const float *m, long planeStride, long mRow, const float    \
      *bias, float lo, float hi, const cnl_winograd *w, long columns, long first, long count),    \
      (y, m, planeStride, mRow, bias, lo, hi, w, columns, first, count))                          \
  X(void, winograd_output_add, (float *y, const float *residual, const float *m, long             \
      planeStride, long mRow, const float *bias, float lo, float hi, const cnl_winograd *w,       \
      long columns, long first, long count), (y, residual, m, planeStride, mRow, bias, lo, hi,    \
      w, columns, first, count))                                                                  \
  X(void, winograd_filter, (float *u, long planeStride, const float *g, long gRow, long           \
      tapStride, long rows, long width, long tileHeight, long tileWidth), (u, planeStride, g,     \
      gRow, tapStride, rows, width, tileHeight, tileWidth))                                       \
  X(void, winograd_filter_adjoint, (float *u, long planeStride, const float *g, long gRow, long   \
      tapStride, long rows, long width, long tileHeight, long tileWidth), (u, planeStride, g,     \
      gRow, tapStride, rows, width, tileHeight, tileWidth))                                       \
  X(void, winograd_gradient_input, (float *v, long planeStride, long vRow, const float *x,        \
      const float *zeros, const cnl_winograd *w, long columns, long first, long count), (v,       \
      planeStride, vRow, x, zeros, w, columns, first, count))                                     \
  X(void, winograd_gradient, (float *m, long planeStride, long mRow, const float *dy, const       \
      float *zeros, const cnl_winograd *w, long columns, long first, long count), (m,             \
      planeStride, mRow, dy, zeros, w, columns, first, count))                                    \
  X(void, winograd_filter_gradient, (float *dw, long dwRow, long tapStride, const float *u,       \
      long planeStride, long rows, long columns, long tileHeight, long tileWidth, int             \
      accumulates), (dw, dwRow, tapStride, u, planeStride, rows, columns, tileHeight, tileWidth,  \
      accumulates))                                                                               \
  X(void, thin_convolution, (float *y, const float *x, const float *w, const float *bias, float   \
      lo, float hi, const cnl_window *win, long filters, float *scratch, long firstRow, long      \
      lastRow), (y, x, w, bias, lo, hi, win, filters, scratch, firstRow, lastRow))                \
  X(void, thin_filter_gradient, (double *dw, const float *dy, const float *x, const cnl_window    \
      *win, long filters, float *scratch, long firstRow, long lastRow), (dw, dy, x, win,          \
      filters, scratch, firstRow, lastRow))                                                       \
  X(void, max_pool, (float *y, const float *x, long top, const cnl_window *w, long firstRow,      \
      long lastRow), (y, x, top, w, firstRow, lastRow))                                           \
  X(void, max_pool_gradient, (float *dx, const float *dy, const float *x, long top, const         \
      cnl_window *w, long firstRow, long lastRow), (dx, dy, x, top, w, firstRow, lastRow))        \
  X(void, average_pool, (float *y, const float *x, const cnl_window *w, const float *rowCounts,   \
      const float *columnCounts, long firstRow, long lastRow), (y, x, w, rowCounts,               \
      columnCounts, firstRow, lastRow))                                                           \
  X(void, average_pool_gradient, (float *dx, const float *dy, const cnl_window *w, const float    \
      *rowCounts, const float *columnCounts), (dx, dy, w, rowCounts, columnCounts))               \
  X(void, weighted_rows, (float *y, const float *x, long inner, const long *starts, const long    \
      *indices, const float *weights, float empty, long first, long last), (y, x, inner,          \
      starts, indices, weights, empty, first, last))                                              \
  X(void, resample_columns, (uint8_t *y, long yRow, const uint8_t *x, long xRow, long xWidth,     \
      const long *spans, const int32_t *weights, long maximum, long rows, long width, long        \
      channels), (y, yRow, x, xRow, xWidth, spans, weights, maximum, rows, width, channels))      \
  X(void, resample_rows, (uint8_t *y, const uint8_t *x, long xRow, const int32_t *weights, long   \
      taps, long n), (y, x, xRow, weights, taps, n))                                              \
  X(void, softmax, (float *y, const float *x, long rows, long columns), (y, x, rows, columns))    \
  X(void, cross_entropy, (float *loss, const float *x, const int64_t *labels, float smoothing,    \
      long rows, long columns), (loss, x, labels, smoothing, rows, columns))                      \
  X(void, cross_entropy_gradient, (float *dx, const float *dloss, const float *x, const           \
      int64_t *labels, float smoothing, long rows, long columns), (dx, dloss, x, labels,          \
      smoothing, rows, columns))                                                                  \
  X(void, philox, (uint32_t *words, uint64_t seed, uint64_t stream, uint64_t first, long n),      \
      (words, seed, stream, first, n))                                                            \
  X(void, dropout, (float *y, const float *x, uint64_t seed, uint64_t stream, uint64_t first,     \
      uint32_t threshold, float scale, long n), (y, x, seed, stream, first, threshold, scale,     \
      n))                                                                                         \
  X(void, sgd, (float *w, float *velocity, const float *g, float rate, float momentum, float      \
      decay, float scale, float limit, int nesterov, long n), (w, velocity, g, rate, momentum,    \
      decay, scale, limit, nesterov, n))                                                          \
  X(void, adam, (float *w, float *m, float *v, const float *g, float rate, float beta1, float     \
      beta2, float epsilon, float coupledDecay, float decoupledDecay, float correction1, float    \
      correction2, float scale, float limit, long n), (w, m, v, g, rate, beta1, beta2, epsilon,   \
      coupledDecay, decoupledDecay, correction1, correction2, scale, limit, n))                   \
  X(void, average, (float *y, const float *x, float take, long n), (y, x, take, n))               \
  X(double, sum_of_squares, (const float *x, long n), (x, n))                                     \
  X(int, all_finite, (const float *x, long n), (x, n))

#define CNL_FIELD(result, name, parameters, arguments) result(*name) parameters;
typedef struct {
  CNL_FUNCTIONS(CNL_FIELD)
} cnl_table;
#undef CNL_FIELD

#define CNL_ENTRY(result, name, parameters, arguments) .name = name,

extern const cnl_table cnl_table_plain;
#if defined(__x86_64__)
extern const cnl_table cnl_table_v3, cnl_table_v4;
#endif
