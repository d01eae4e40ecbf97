#ifndef CONVNET_PNG_SHIM_H
#define CONVNET_PNG_SHIM_H
#include <png.h>
#include <string.h>

// libpng reports errors by a jump, which must not pass through Swift; here it stays in C. The
// simplified API is not used for reading: it applies gamma, and libpng 1.6.39 returns wrong pixels of
// interlaced files of 16 bits.

typedef struct {
  const unsigned char *bytes;
  size_t count;
  char *message;  // 64 bytes
} convnet_png_source;

static inline void convnet_png_fail(png_structp png, png_const_charp message) {
  const convnet_png_source *source = (const convnet_png_source *)png_get_error_ptr(png);
  strncpy(source->message, message, 63);
  source->message[63] = 0;
  png_longjmp(png, 1);
}

static inline void convnet_png_ignore(png_structp png, png_const_charp message) {
  (void)png;
  (void)message;
}

static inline void convnet_png_take(png_structp png, png_bytep to, size_t count) {
  convnet_png_source *source = (convnet_png_source *)png_get_io_ptr(png);
  if (count > source->count) png_error(png, "the data end too early");
  memcpy(to, source->bytes, count);
  source->bytes += count;
  source->count -= count;
}

/// Decodes a file to `height` rows of `rowBytes`: palettes as colours, 1 to 4 bits spread to 8, of 16
/// the upper 8, transparency dropped. 1, or 0 with a message.
static inline __attribute__((noinline)) int convnet_png_read(
    const unsigned char *bytes, size_t count, unsigned char *pixels, size_t rowBytes,
    size_t height, char message[64]) {
  convnet_png_source source = {bytes, count, message};
  strncpy(message, "libpng cannot start", 63);
  png_structp png = png_create_read_struct(
      PNG_LIBPNG_VER_STRING, &source, convnet_png_fail, convnet_png_ignore);
  if (!png) return 0;
  png_infop info = png_create_info_struct(png);
  if (!info || setjmp(png_jmpbuf(png))) {
    png_destroy_read_struct(&png, &info, NULL);
    return 0;
  }
  png_set_read_fn(png, &source, convnet_png_take);
  png_read_info(png, info);
  png_set_palette_to_rgb(png);
  png_set_expand_gray_1_2_4_to_8(png);
  png_set_strip_16(png);
  png_set_strip_alpha(png);
  const int passes = png_set_interlace_handling(png);
  png_read_update_info(png, info);
  if (png_get_rowbytes(png, info) != rowBytes || png_get_image_height(png, info) != height) {
    png_error(png, "the header contradicts itself");
  }
  for (int pass = 0; pass < passes; pass++) {
    for (size_t row = 0; row < height; row++) png_read_row(png, pixels + row * rowBytes, NULL);
  }
  png_destroy_read_struct(&png, &info, NULL);
  return 1;
}
#endif
