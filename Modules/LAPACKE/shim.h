#ifndef CONVNET_LAPACKE_SHIM_H
#define CONVNET_LAPACKE_SHIM_H
#include <lapacke.h>
#endif
