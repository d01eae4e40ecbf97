// The loops for x86-64-v3: AVX2 and FMA.
#if defined(__x86_64__)
#define CNL_WIDTH 8
#include "Functions.h"
#include "Loops/All.h"

const cnl_table cnl_table_v3 = {CNL_FUNCTIONS(CNL_ENTRY)};
#endif
