#ifndef CCONVNETTHREADS_H
#define CCONVNETTHREADS_H
#include <pthread.h>
#include <stdint.h>

/* The threads that plans run on, in C because the futex, the spin hint and the rounding register have no
   name in Swift. A team is its caller and `workers` threads. */

typedef struct cnt_team cnt_team;

/* Starts a team; NULL where a thread cannot be started. With spin_ns > 0 a worker that has nothing to do
   spins that long before it sleeps. Each thread calls `started` first. */
cnt_team *cnt_team_start(int workers, uint64_t spin_ns, void (*started)(void));

/* Ends the threads and frees the team. Nobody may be inside cnt_team_run. */
void cnt_team_stop(cnt_team *team);

/* Calls body(job, piece, lane) for every piece in 0..<pieces, on the calling thread (lane 0) and the
   workers (lanes 1...), and returns when all have returned. A caller that finds the team busy computes all
   pieces itself. Allocates nothing. */
void cnt_team_run(cnt_team *team, long pieces, void (*body)(void *job, long piece, long lane), void *job);

/* Starts a thread that calls body(argument) once, with all signals blocked, and is joined by pthread_join.
   The name has at most 15 characters. Returns 0 or an error number. */
int cnt_thread_start(pthread_t *thread, const char *name, void (*body)(void *argument), void *argument);

/* Gives free memory of the heap back to the system, where the C library can. Takes some milliseconds. */
void cnt_trim_heap(void);

/* Monotonic time in nanoseconds. */
uint64_t cnt_now(void);

/* Makes denormal results and operands zero on this thread; returns what cnt_restore takes. A lane that
   differed from the others here would compute other bits. */
uint64_t cnt_flush_denormals(void);
void cnt_restore(uint64_t saved);

#endif
