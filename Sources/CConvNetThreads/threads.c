#define _GNU_SOURCE
#include "CConvNetThreads.h"

#include <errno.h>
#include <linux/futex.h>
#if defined(__GLIBC__)
#include <malloc.h>
#endif
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

/* A region is published in `state`: its generation in the upper half, the pieces nobody has claimed yet in
   the lower. A thread claims a piece by taking one off the lower half; the claim fails when the generation
   has changed. Only after a claim are body, job and pieces read: the caller that wrote them cannot publish
   another region before `completed` says that every piece of this one is done, so they are stable then. */
struct cnt_team {
  _Alignas(64) _Atomic uint64_t state;
  _Alignas(64) _Atomic long completed;
  _Alignas(64) _Atomic uint32_t wake_word;  /* workers sleep on it */
  _Atomic uint32_t done_word;               /* the caller sleeps on it */
  _Atomic int sleepers;
  _Atomic int caller_sleeps;
  _Atomic int busy;
  _Atomic int stopping;
  void (*body)(void *, long, long);
  void *job;
  long pieces;
  int workers;
  uint64_t spin_ns;
  pthread_t *threads;
};

struct cnt_start {
  cnt_team *team;
  long lane;
  void (*started)(void);
};

static void pause_briefly(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static void futex_wait(_Atomic uint32_t *word, uint32_t expected) {
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int count) {
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

uint64_t cnt_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t cnt_flush_denormals(void) {
#if defined(__x86_64__)
  unsigned saved = _mm_getcsr();
  _mm_setcsr(saved | 0x8040u); /* FTZ and DAZ */
  return saved;
#elif defined(__aarch64__)
  uint64_t saved;
  __asm__ volatile("mrs %0, fpcr" : "=r"(saved));
  __asm__ volatile("msr fpcr, %0" : : "r"(saved | (1ull << 24)));
  return saved;
#else
  return 0;
#endif
}

void cnt_restore(uint64_t saved) {
#if defined(__x86_64__)
  _mm_setcsr((unsigned)saved);
#elif defined(__aarch64__)
  __asm__ volatile("msr fpcr, %0" : : "r"(saved));
#else
  (void)saved;
#endif
}

/* Claims and computes pieces until none is left; wakes the caller after the last one. */
static void work(cnt_team *team, long lane) {
  uint64_t state = atomic_load_explicit(&team->state, memory_order_acquire);
  while ((uint32_t)state != 0) {
    if (!atomic_compare_exchange_weak_explicit(&team->state, &state, state - 1, memory_order_acq_rel,
                                               memory_order_acquire))
      continue;
    long pieces = team->pieces;
    team->body(team->job, pieces - (long)(uint32_t)state, lane);
    if (atomic_fetch_add(&team->completed, 1) + 1 == pieces && atomic_load(&team->caller_sleeps)) {
      atomic_fetch_add(&team->done_word, 1);
      futex_wake(&team->done_word, 1);
    }
    state = atomic_load_explicit(&team->state, memory_order_acquire);
  }
}

static int has_work(cnt_team *team) {
  return (uint32_t)atomic_load_explicit(&team->state, memory_order_acquire) != 0 ||
         atomic_load_explicit(&team->stopping, memory_order_relaxed);
}

/* Spins, reading the clock only now and then. */
static int spin_for_work(cnt_team *team) {
  if (team->spin_ns == 0) return has_work(team);
  uint64_t end = cnt_now() + team->spin_ns;
  do {
    for (int i = 0; i < 64; i++) {
      if (has_work(team)) return 1;
      pause_briefly();
    }
  } while (cnt_now() < end);
  return has_work(team);
}

static void *worker(void *argument) {
  struct cnt_start start = *(struct cnt_start *)argument;
  free(argument);
  cnt_team *team = start.team;
  start.started();
  cnt_flush_denormals();
  while (!atomic_load(&team->stopping)) {
    uint32_t word = atomic_load(&team->wake_word);
    work(team, start.lane);
    if (spin_for_work(team)) continue;
    atomic_fetch_add(&team->sleepers, 1);
    if (!has_work(team)) futex_wait(&team->wake_word, word);
    atomic_fetch_sub(&team->sleepers, 1);
  }
  return NULL;
}

static void wake_workers(cnt_team *team) {
  atomic_fetch_add(&team->wake_word, 1);
  if (atomic_load(&team->sleepers) > 0) futex_wake(&team->wake_word, team->workers);
}

cnt_team *cnt_team_start(int workers, uint64_t spin_ns, void (*started)(void)) {
  cnt_team *team = aligned_alloc(64, (sizeof *team + 63) / 64 * 64);
  if (!team) return NULL;
  *team = (cnt_team){.workers = 0, .spin_ns = spin_ns};
  team->threads = calloc((size_t)(workers > 0 ? workers : 1), sizeof *team->threads);
  /* Signals belong to the program's own threads. */
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  for (int i = 0; i < workers && team->threads; i++) {
    struct cnt_start *start = malloc(sizeof *start);
    if (!start) break;
    *start = (struct cnt_start){team, i + 1, started};
    if (pthread_create(&team->threads[i], NULL, worker, start) != 0) {
      free(start);
      break;
    }
    team->workers++;
  }
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  if (!team->threads || team->workers < workers) {
    cnt_team_stop(team);
    return NULL;
  }
  return team;
}

void cnt_team_stop(cnt_team *team) {
  atomic_store(&team->stopping, 1);
  wake_workers(team);
  for (int i = 0; i < team->workers; i++) pthread_join(team->threads[i], NULL);
  free(team->threads);
  free(team);
}

/* Waits until all pieces are done: spins, then sleeps, because a lane may have been descheduled. */
static void wait_for_completion(cnt_team *team, long pieces) {
  uint64_t end = cnt_now() + team->spin_ns;
  for (;;) {
    for (int i = 0; i < 64; i++) {
      if (atomic_load(&team->completed) == pieces) return;
      pause_briefly();
    }
    if (cnt_now() < end) continue;
    uint32_t word = atomic_load(&team->done_word);
    atomic_store(&team->caller_sleeps, 1);
    if (atomic_load(&team->completed) != pieces) futex_wait(&team->done_word, word);
    atomic_store(&team->caller_sleeps, 0);
  }
}

void cnt_team_run(cnt_team *team, long pieces, void (*body)(void *, long, long), void *job) {
  int expected = 0;
  if (pieces <= 1 || !atomic_compare_exchange_strong(&team->busy, &expected, 1)) {
    for (long piece = 0; piece < pieces; piece++) body(job, piece, 0);
    return;
  }
  team->body = body;
  team->job = job;
  team->pieces = pieces;
  atomic_store(&team->completed, 0);
  uint64_t generation = (atomic_load(&team->state) >> 32) + 1;
  atomic_store_explicit(&team->state, generation << 32 | (uint64_t)(uint32_t)pieces,
                        memory_order_seq_cst);
  wake_workers(team);
  work(team, 0);
  wait_for_completion(team, pieces);
  atomic_store(&team->busy, 0);
}

struct cnt_thread_body {
  void (*body)(void *);
  void *argument;
};

static void *call_body(void *argument) {
  struct cnt_thread_body call = *(struct cnt_thread_body *)argument;
  free(argument);
  call.body(call.argument);
  return NULL;
}

int cnt_thread_start(pthread_t *thread, const char *name, void (*body)(void *), void *argument) {
  struct cnt_thread_body *call = malloc(sizeof *call);
  if (!call) return ENOMEM;
  *call = (struct cnt_thread_body){body, argument};
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  int error = pthread_create(thread, NULL, call_body, call);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  if (error) {
    free(call);
  } else {
    pthread_setname_np(*thread, name);
  }
  return error;
}

void cnt_trim_heap(void) {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}
