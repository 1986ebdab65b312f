#include "log.h"
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <trawl.h>

enum { INTERVAL_NS = 100000000 };

static struct {
    trawl_progress_fn progress;
    void *progress_ctx;
    trawl_log_fn log;
    void *log_ctx;
} sinks;
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;

void trawl_set_progress(trawl_progress_fn fn, void *ctx)
{
    sinks.progress = fn;
    sinks.progress_ctx = ctx;
}

void trawl_set_log(trawl_log_fn fn, void *ctx)
{
    sinks.log = fn;
    sinks.log_ctx = ctx;
}

void log_warn(const char *format, ...)
{
    char text[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    pthread_mutex_lock(&log_lock); /* one warning at a time, from whatever thread */
    if (sinks.log)
        sinks.log(sinks.log_ctx, text);
    else
        fprintf(stderr, "warning: %s\n", text);
    pthread_mutex_unlock(&log_lock);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void report(struct progress *p, uint64_t now)
{
    p->next_ns = now + INTERVAL_NS;
    sinks.progress(sinks.progress_ctx, p->what, p->done, p->total, p->unit);
}

void progress_begin(struct progress *p, const char *what, uint64_t total, const char *unit)
{
    *p = (struct progress){.what = what, .unit = unit, .total = total};
    if (sinks.progress)
        report(p, now_ns());
}

void progress_set(struct progress *p, uint64_t done)
{
    p->done = done;
    if (!sinks.progress)
        return;
    uint64_t now = now_ns();
    if (now >= p->next_ns)
        report(p, now);
}

/* The closing call has done == total, also where the total was unknown, so that a sink can end its line. */
void progress_end(struct progress *p)
{
    p->total = p->done;
    if (sinks.progress)
        report(p, now_ns());
}
