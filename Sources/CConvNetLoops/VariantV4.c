// The loops for x86-64-v4: AVX-512 F, BW, CD, DQ and VL.
#if defined(__x86_64__)
#define CNL_WIDTH 16
#include "Functions.h"
#include "Loops/All.h"

const cnl_table cnl_table_v4 = {CNL_FUNCTIONS(CNL_ENTRY)};
#endif
