// The loops for any processor: SSE2 on x86-64, NEON on aarch64.
#define CNL_WIDTH 4
#include "Functions.h"
#include "Loops/All.h"

const cnl_table cnl_table_plain = {CNL_FUNCTIONS(CNL_ENTRY)};
