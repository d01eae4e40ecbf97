#include "CConvNetMallocCounter.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>

/* The allocator of glibc under its own names; every other allocation function of the program ends here. */
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static _Atomic int counting;
static _Atomic long count;

void cmc_start(void) {
  atomic_store(&count, 0);
  atomic_store(&counting, 1);
}

long cmc_stop(void) {
  atomic_store(&counting, 0);
  return atomic_load(&count);
}

/* The thread sanitizer brings an allocator of its own; there, nothing is counted. */
#if !__has_feature(thread_sanitizer)

static void note(void) {
  if (atomic_load_explicit(&counting, memory_order_relaxed)) atomic_fetch_add(&count, 1);
}

void *malloc(size_t size) {
  note();
  return __libc_malloc(size);
}

void *calloc(size_t number, size_t size) {
  note();
  return __libc_calloc(number, size);
}

void *realloc(void *old, size_t size) {
  note();
  return __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
  note();
  return __libc_memalign(alignment, size);
}

void *memalign(size_t alignment, size_t size) {
  note();
  return __libc_memalign(alignment, size);
}

int posix_memalign(void **result, size_t alignment, size_t size) {
  note();
  *result = __libc_memalign(alignment, size);
  return *result ? 0 : ENOMEM;
}

#endif
