/*
 * One team of threads. A job is published in `state`, one atomic word:
 *
 *     generation (48 bits) | open (1 bit) | workers inside (15 bits)
 *
 * A worker enters with a compare-and-swap that fails when the job it saw was closed or replaced, so the caller need not
 * wait for workers that are still asleep: it closes the job when the pieces are used up and waits only for those
 * inside. Idle workers spin for some microseconds (the next job of a forward pass follows at once), then sleep.
 */
#include "pool.h"
#include "log.h"
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <trawl.h>

enum { SPINS = 2000, MAX_THREADS = 1024 };
#define INSIDE_MASK UINT64_C(0x7FFF)
#define OPEN_BIT UINT64_C(0x8000)
#define GENERATION UINT64_C(0x10000)

static struct {
    _Alignas(64) _Atomic uint64_t state;
    _Alignas(64) _Atomic size_t next; /* first item of the next piece */
    size_t n, grain;
    pool_fn fn;
    void *ctx;
    pthread_mutex_t owner; /* held by the caller whose job runs */
    pthread_mutex_t lock;  /* of what follows */
    pthread_cond_t work, done;
    _Atomic size_t sleepers;
    _Atomic bool caller_sleeps, stop;
    pthread_t threads[MAX_THREADS];
    size_t n_started; /* besides the caller */
    _Atomic size_t n_threads;
} team = {
    .owner = PTHREAD_MUTEX_INITIALIZER,
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .work = PTHREAD_COND_INITIALIZER,
    .done = PTHREAD_COND_INITIALIZER,
};

static _Thread_local bool inside;        /* this thread is running a piece */
static _Thread_local size_t this_worker; /* its number */

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

static void take_pieces(size_t worker)
{
    size_t n = team.n, grain = team.grain;
    inside = true;
    this_worker = worker;
    for (size_t begin; (begin = atomic_fetch_add(&team.next, grain)) < n;)
        team.fn(team.ctx, begin, n - begin < grain ? n : begin + grain, worker);
    inside = false;
}

/* True when a job newer than *seen was entered. */
static bool enter(uint64_t *seen)
{
    uint64_t state = atomic_load(&team.state);
    while (state & OPEN_BIT && state / GENERATION != *seen) {
        if (atomic_compare_exchange_weak(&team.state, &state, state + 1)) {
            *seen = state / GENERATION;
            return true;
        }
    }
    return false;
}

static void leave(void)
{
    uint64_t left = atomic_fetch_sub(&team.state, 1) - 1;
    if (left & (OPEN_BIT | INSIDE_MASK) || !atomic_load(&team.caller_sleeps))
        return;
    pthread_mutex_lock(&team.lock);
    pthread_cond_signal(&team.done);
    pthread_mutex_unlock(&team.lock);
}

static bool wait_for_job(uint64_t *seen)
{
    for (int i = 0; i < SPINS; i++, relax())
        if (enter(seen))
            return true;
    bool entered = false;
    pthread_mutex_lock(&team.lock);
    atomic_fetch_add(&team.sleepers, 1);
    while (!atomic_load(&team.stop) && !(entered = enter(seen)))
        pthread_cond_wait(&team.work, &team.lock);
    atomic_fetch_sub(&team.sleepers, 1);
    pthread_mutex_unlock(&team.lock);
    return entered;
}

static void *worker_main(void *number)
{
    uint64_t seen = 0;
    while (wait_for_job(&seen)) {
        take_pieces((size_t)(uintptr_t)number);
        leave();
    }
    return NULL;
}

static void wait_for_team(void)
{
    for (int i = 0; i < SPINS; i++, relax())
        if (!(atomic_load(&team.state) & INSIDE_MASK))
            return;
    pthread_mutex_lock(&team.lock);
    atomic_store(&team.caller_sleeps, true);
    while (atomic_load(&team.state) & INSIDE_MASK)
        pthread_cond_wait(&team.done, &team.lock);
    atomic_store(&team.caller_sleeps, false);
    pthread_mutex_unlock(&team.lock);
}

static void wake(size_t wanted)
{
    size_t asleep = atomic_load(&team.sleepers);
    if (!asleep)
        return;
    pthread_mutex_lock(&team.lock);
    if (wanted >= asleep)
        pthread_cond_broadcast(&team.work);
    else
        while (wanted--)
            pthread_cond_signal(&team.work);
    pthread_mutex_unlock(&team.lock);
}

/* A forked child has the caller only: it starts a team of its own when it needs one. */
static void forget_team(void)
{
    pthread_mutex_init(&team.owner, NULL);
    pthread_mutex_init(&team.lock, NULL);
    pthread_cond_init(&team.work, NULL);
    pthread_cond_init(&team.done, NULL);
    atomic_store(&team.state, atomic_load(&team.state) & ~(OPEN_BIT | INSIDE_MASK));
    atomic_store(&team.sleepers, 0);
    atomic_store(&team.caller_sleeps, false);
    team.n_started = 0;
}

static size_t machine_threads(void)
{
    const char *text = getenv("TRAWL_THREADS");
    char *end;
    if (text && *text) {
        errno = 0;
        unsigned long long n = strtoull(text, &end, 10);
        if (!*end && !errno && n > 0 && n <= MAX_THREADS && *text != '-')
            return (size_t)n;
        log_warn("TRAWL_THREADS is '%s', no count from 1 to %d: as many threads as processors are used", text,
                 MAX_THREADS);
    }
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
    return n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : (size_t)n;
}

static void init_once(void)
{
    pthread_atfork(NULL, NULL, forget_team);
    size_t unset = 0;
    atomic_compare_exchange_strong(&team.n_threads, &unset, machine_threads());
}

size_t pool_threads(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_once);
    return atomic_load(&team.n_threads);
}

/* Threads that cannot be started are done without: the work is the same. */
static void start_team(size_t n_threads)
{
    while (team.n_started + 1 < n_threads) {
        void *number = (void *)(uintptr_t)(team.n_started + 1);
        if (pthread_create(&team.threads[team.n_started], NULL, worker_main, number))
            return;
        team.n_started++;
    }
}

static void stop_team(void)
{
    pthread_mutex_lock(&team.lock);
    atomic_store(&team.stop, true);
    pthread_cond_broadcast(&team.work);
    pthread_mutex_unlock(&team.lock);
    while (team.n_started)
        pthread_join(team.threads[--team.n_started], NULL);
    atomic_store(&team.stop, false);
}

void pool_set_threads(size_t n_threads)
{
    size_t now = pool_threads();
    if (!n_threads)
        n_threads = machine_threads();
    if (n_threads > MAX_THREADS)
        n_threads = MAX_THREADS;
    if (n_threads == now)
        return;
    stop_team();
    atomic_store(&team.n_threads, n_threads);
}

void trawl_set_threads(size_t n_threads)
{
    pool_set_threads(n_threads);
}

/* The same pieces as the team would run, in order. */
static void run_alone(size_t n, size_t grain, pool_fn fn, void *ctx)
{
    size_t worker = inside ? this_worker : 0;
    bool was_inside = inside;
    inside = true;
    this_worker = worker;
    for (size_t begin = 0; begin < n; begin += n - begin < grain ? n - begin : grain)
        fn(ctx, begin, n - begin < grain ? n : begin + grain, worker);
    inside = was_inside;
}

void pool_run(size_t n, size_t grain, pool_fn fn, void *ctx)
{
    size_t n_threads = pool_threads();
    if (!grain)
        grain = 1;
    /* `next` runs past n by a grain per worker: counts near SIZE_MAX would wrap, and are no real work */
    bool huge = n > SIZE_MAX / 2 || grain > SIZE_MAX / 4 / MAX_THREADS;
    if (n <= grain || n_threads == 1 || inside || huge || pthread_mutex_trylock(&team.owner)) {
        run_alone(n, grain, fn, ctx);
        return;
    }
    start_team(n_threads);
    team.fn = fn;
    team.ctx = ctx;
    team.n = n;
    team.grain = grain;
    atomic_store(&team.next, 0);
    uint64_t state = atomic_load(&team.state);
    atomic_store(&team.state, (state / GENERATION + 1) * GENERATION | OPEN_BIT);
    wake((n - 1) / grain);
    take_pieces(0);
    atomic_fetch_and(&team.state, ~OPEN_BIT);
    wait_for_team();
    pthread_mutex_unlock(&team.owner);
}
