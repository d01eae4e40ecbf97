#ifndef CONVNET_OPENBLAS_SHIM_H
#define CONVNET_OPENBLAS_SHIM_H
#include <cblas.h>
#endif
