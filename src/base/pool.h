/*
 * Threads: one team per process, one construct. Work is split over outputs, never over a reduction, so results do not
 * depend on the number of threads.
 */
#ifndef BASE_POOL_H
#define BASE_POOL_H
#include <stddef.h>

/*
 * Called with half-open ranges that cover [0,n); `worker` in [0, pool_threads()) is for per-worker scratch. The scratch
 * must belong to the call (be reached through ctx): two threads that call pool_run at once may both have a worker 0.
 */
typedef void (*pool_fn)(void *ctx, size_t begin, size_t end, size_t worker);

/*
 * Runs fn over [0,n) in pieces of `grain` items (dynamic order) and returns when all are done; the caller takes part.
 * A call from inside fn, or while another thread's call has the team, runs the same pieces on the calling thread alone.
 */
void pool_run(size_t n, size_t grain, pool_fn fn, void *ctx);
size_t pool_threads(void);
/* 0: as many as the machine has (TRAWL_THREADS overrides). Must not be called while pool_run is active. */
void pool_set_threads(size_t n_threads);

#endif
