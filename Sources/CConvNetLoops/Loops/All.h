// Every loop, compiled once by each Variant*.c under its instruction set and CNL_WIDTH. All
// functions are static and meet outside only in the variant's table, so names need no suffix.
#include "CConvNetLoops.h"
#include <math.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if CNL_WIDTH == 16
#pragma clang attribute push(__attribute__((target("arch=x86-64-v4"))), apply_to = function)
#elif CNL_WIDTH == 8
#pragma clang attribute push(__attribute__((target("arch=x86-64-v3"))), apply_to = function)
#endif

#include "Vector.h"
#include "VectorMath.h"
#include "Elementwise.h"
#include "Combine.h"
#include "Gate.h"
#include "ChannelSums.h"
#include "Reductions.h"
#include "ChannelMaps.h"
#include "BatchNorm.h"
#include "BatchCoefficients.h"
#include "Window.h"
#include "Convolution.h"
#include "LineProduct.h"
#include "PanelProduct.h"
#include "Depthwise.h"
#include "DepthwiseInput.h"
#include "DepthwiseFilter.h"
#include "Thin.h"
#include "Winograd.h"
#include "WinogradGradient.h"
#include "Pooling.h"
#include "Resize.h"
#include "ImageResample.h"
#include "Softmax.h"
#include "Random.h"
#include "Optimizers.h"

#if CNL_WIDTH > 4
#pragma clang attribute pop
#endif
