/* What the benches share: a row of the table, texts in memory, and time. */
#ifndef STAGE_BENCH_INT_H
#define STAGE_BENCH_INT_H
#include "base/file.h"
#include "encode/encode.h"

/* A bench prints tab-separated rows under a line of column names. */
struct bench {
    const char *name, *summary;
    enum trawl_status (*run)(const struct trawl_bench_options *options, struct file_writer *out);
};
extern const struct bench bench_encode, bench_precision;

/* The first `limit` texts of a corpus (0: all), title and text joined by a space. */
struct bench_texts {
    struct text_view *views;
    struct buf ids, text; /* ids NUL-terminated, one behind the other */
    size_t n, cap;
};
MUST_USE enum trawl_status bench_texts_read(struct bench_texts *t, const char *path, size_t limit);
void bench_texts_release(struct bench_texts *t);

/* The precisions to measure: the one asked for, else those that this processor runs at speed; *n of them. */
MUST_USE enum trawl_status bench_precisions(const char *names[3], size_t *n, const struct trawl_bench_options *options);
double bench_now(void); /* seconds */

#endif
