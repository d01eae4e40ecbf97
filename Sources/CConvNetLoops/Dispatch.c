// Which variant runs: found once from CPUID and XGETBV, kept in one atomic pointer, called through
// a table. An ifunc would save the load, but its resolver runs before TSan and static startup are
// ready, and tests could not select the other variants.
#include "Functions.h"
#include <stdatomic.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

static const cnl_table *const tables[] = {
    &cnl_table_plain,
#if defined(__x86_64__)
    &cnl_table_v3,
    &cnl_table_v4,
#endif
};
static const char *const names[] = {"plain", "x86-64-v3", "x86-64-v4"};
enum { COUNT = sizeof tables / sizeof tables[0] };

static _Atomic(const cnl_table *) selected;
/// What a test selected for its own thread; other threads compute on undisturbed.
static _Thread_local const cnl_table *selected_here;

#if defined(__x86_64__)
static int has(unsigned word, unsigned bits) { return (word & bits) == bits; }

/// Levels of the x86-64 psABI. XCR0 says which registers the operating system saves: bits 1 and 2
/// for ymm, 5 to 7 for the mask registers and zmm.
static int supported_level(void) {
  unsigned a, b, c, d, leaf7b, leaf1c, extended;
  if (!__get_cpuid(1, &a, &b, &leaf1c, &d)) return CNL_PLAIN;
  if (!__get_cpuid_count(7, 0, &a, &leaf7b, &c, &d)) return CNL_PLAIN;
  if (!__get_cpuid(0x80000001, &a, &b, &extended, &d)) return CNL_PLAIN;
  if (!has(leaf1c, bit_OSXSAVE)) return CNL_PLAIN;
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  const unsigned v3 = bit_SSE3 | bit_SSSE3 | bit_FMA | bit_CMPXCHG16B | bit_SSE41 | bit_SSE42 |
                      bit_MOVBE | bit_POPCNT | bit_AVX | bit_F16C;
  if (!has(leaf1c, v3) || !has(leaf7b, bit_AVX2 | bit_BMI | bit_BMI2)) return CNL_PLAIN;
  if (!has(extended, bit_LZCNT | bit_LAHF_LM) || !has(low, 0x06)) return CNL_PLAIN;
  const unsigned v4 = bit_AVX512F | bit_AVX512BW | bit_AVX512CD | bit_AVX512DQ | bit_AVX512VL;
  return has(leaf7b, v4) && has(low, 0xe6) ? CNL_V4 : CNL_V3;
}
#else
static int supported_level(void) { return CNL_PLAIN; }
#endif

/// Threads that come here together choose the same table, so the race is harmless.
static const cnl_table *choose(void) {
  const cnl_table *best = tables[supported_level()];
  const cnl_table *none = NULL;
  return atomic_compare_exchange_strong(&selected, &none, best) ? best : none;
}

static inline const cnl_table *table(void) {
  const cnl_table *t = selected_here;
  if (t) return t;
  t = atomic_load_explicit(&selected, memory_order_relaxed);
  return t ? t : choose();
}

int cnl_variant_count(void) { return COUNT; }

int cnl_variant_supported(int variant) {
  return variant >= 0 && variant < COUNT && variant <= supported_level();
}

int cnl_variant_current(void) {
  const cnl_table *t = table();
  int variant = 0;
  while (tables[variant] != t) variant++;
  return variant;
}

int cnl_variant_select(int variant) {
  if (!cnl_variant_supported(variant)) return -1;
  selected_here = tables[variant];
  return 0;
}

void cnl_variant_deselect(void) { selected_here = NULL; }

const char *cnl_variant_name(int variant) {
  return variant >= 0 && variant < COUNT ? names[variant] : "unknown";
}

#define CNL_STUB(result, name, parameters, arguments)                                             \
  result cnl_##name parameters { return table()->name arguments; }
CNL_FUNCTIONS(CNL_STUB)
