#ifndef CONVNET_ZLIB_SHIM_H
#define CONVNET_ZLIB_SHIM_H
#include <zlib.h>

/// inflateInit2 is a macro, which Swift does not see; 16 selects the gzip wrapper, 15 its window.
static inline int convnet_inflate_init_gzip(z_stream *stream) {
  return inflateInit2(stream, 15 + 16);
}
#endif
