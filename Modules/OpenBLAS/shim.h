// What Swift needs of OpenBLAS beyond <cblas.h>: symbols that a build may lack, declared weak
// (dlsym finds nothing in a static executable, a weak reference is null there only if the symbol is
// absent), and the instruction sets that both the CPU and the operating system offer.
#ifndef CONVNET_OPENBLAS_SHIM_H
#define CONVNET_OPENBLAS_SHIM_H

#include <cblas.h>
#include <stddef.h>
#include <stdint.h>

// <sched.h> declares it for C with GNU extensions only. The mask is of `size` bytes, a bit per CPU.
extern int convnet_sched_getaffinity(int process, size_t size, void *mask) __asm__(
    "sched_getaffinity");

// Exported by DYNAMIC_ARCH builds: drop the kernel table, and choose one anew by OPENBLAS_CORETYPE.
extern void gotoblas_dynamic_quit(void) __attribute__((weak));
extern void gotoblas_dynamic_init(void) __attribute__((weak));
// Present when the OpenMP runtime is linked.
extern void omp_set_num_threads(int) __attribute__((weak));
extern int omp_get_max_threads(void) __attribute__((weak));

/// Whether this OpenBLAS can be told to use another kernel table.
static inline _Bool convnet_openblas_can_switch(void) {
  return gotoblas_dynamic_quit && gotoblas_dynamic_init;
}

/// Has OpenBLAS choose its kernels again. No other thread may be inside OpenBLAS.
static inline void convnet_openblas_choose_again(void) {
  if (!convnet_openblas_can_switch()) return;
  gotoblas_dynamic_quit();
  gotoblas_dynamic_init();
}

typedef void (*convnet_omp_set)(int);
typedef int (*convnet_omp_get)(void);

/// The linked `omp_set_num_threads`, or null.
static inline convnet_omp_set convnet_linked_omp_set(void) { return omp_set_num_threads; }

/// The linked `omp_get_max_threads`, or null.
static inline convnet_omp_get convnet_linked_omp_get(void) { return omp_get_max_threads; }

enum {
  convnet_cpu_avx = 1,
  convnet_cpu_avx2_fma = 2,
  convnet_cpu_avx512 = 4,       // F, DQ, BW, VL and CD: what the SkylakeX kernels are compiled for
  convnet_cpu_avx512_bf16 = 8,  // Cooperlake
  convnet_cpu_amx = 16,         // SapphireRapids
  convnet_cpu_fma4 = 32,        // Bulldozer and its successors before Zen
};

#if defined(__x86_64__)
#include <cpuid.h>

/// The instruction sets above that the CPU has and the operating system saves; a bit set.
static inline uint32_t convnet_cpu_features(void) {
  uint32_t a, b, c, d, features = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
  const uint32_t c1 = c;
  if (!(c1 >> 27 & 1) || !(c1 >> 28 & 1)) return 0;  // OSXSAVE, AVX
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  if ((low & 0x6) != 0x6) return 0;  // XMM and YMM state
  features |= convnet_cpu_avx;
  if (__get_cpuid(0x80000001u, &a, &b, &c, &d) && (c >> 16 & 1)) features |= convnet_cpu_fma4;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return features;
  const uint32_t subleaves = a, b7 = b, d7 = d;
  if ((b7 >> 5 & 1) && (c1 >> 12 & 1)) features |= convnet_cpu_avx2_fma;
  const uint32_t avx512 = 1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31;
  if ((b7 & avx512) != avx512 || (low & 0xe6) != 0xe6) return features;  // opmask and ZMM state
  features |= convnet_cpu_avx512;
  if (subleaves >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1))
    features |= convnet_cpu_avx512_bf16;
  if ((d7 >> 24 & 1) && (low >> 17 & 3) == 3) features |= convnet_cpu_amx;
  return features;
}
#else
static inline uint32_t convnet_cpu_features(void) { return 0; }
#endif

#endif
