#ifndef CONVNET_PNG_SHIM_H
#define CONVNET_PNG_SHIM_H
#include <png.h>
#endif
