// LAPACK's C interface. Its functions live in liblapacke, the Fortran ones they call in OpenBLAS.
#ifndef CONVNET_LAPACKE_SHIM_H
#define CONVNET_LAPACKE_SHIM_H
#include <lapacke.h>

// `lapack_int` is a macro, which Swift does not see.
typedef lapack_int convnet_lapack_int;
#endif
