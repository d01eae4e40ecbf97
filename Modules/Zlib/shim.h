#ifndef CONVNET_ZLIB_SHIM_H
#define CONVNET_ZLIB_SHIM_H
#include <zlib.h>
#endif
