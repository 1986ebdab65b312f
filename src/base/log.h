/* Warnings and progress; where they go is the process's choice (trawl_set_log, trawl_set_progress). */
#ifndef BASE_LOG_H
#define BASE_LOG_H
#include <stdint.h>

void log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Cheap enough for every document: the callback is called at most ten times a second, and always for the last step. */
struct progress {
    const char *what, *unit;
    uint64_t done, total; /* total 0: unknown */
    uint64_t next_ns;
};
void progress_begin(struct progress *p, const char *what, uint64_t total, const char *unit);
void progress_set(struct progress *p, uint64_t done);
void progress_end(struct progress *p);

#endif
