/* What the tests of the index share: a scratch folder, a writer in one call, documents of random words. */
#ifndef TEST_INDEX_HELP_H
#define TEST_INDEX_HELP_H
#include "../golden.h"
#include "base/file.h"
#include "base/rng.h"
#include "index/index.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define ok(call) assert_ok(call, #call, __LINE__)
static inline void assert_ok(enum trawl_status status, const char *what, int line)
{
    if (status)
        fail_msg("line %d: %s: %s", line, what, trawl_message());
}

static inline void fresh_folder(char path[4096], const char *name)
{
    scratch_path(path, (long)getpid(), name);
    if (file_exists(path))
        ok(file_remove_tree(path));
}

static inline struct index_field lexical_field(const char *analyzer)
{
    struct index_field f = {.kind = INDEX_LEXICAL, .k1 = 0.9, .b = 0.4};
    snprintf(f.name, sizeof f.name, "bm25");
    snprintf(f.analyzer, sizeof f.analyzer, "%s", analyzer ? analyzer : "");
    return f;
}

static inline struct index_writer *open_writer(const char *path, bool append, const char *analyzer, size_t memory)
{
    struct index_writer *w;
    struct index_writer_options options = {.append = append, .memory_bytes = memory};
    struct index_field f = lexical_field(analyzer);
    ok(index_writer_open(&w, path, append ? NULL : &f, append ? 0 : 1, &options));
    return w;
}

static inline void add_text(struct index_writer *w, const char *id, const char *text)
{
    struct document d = {id, "", text, strlen(id), 0, strlen(text)};
    ok(index_add(w, &d, text, strlen(text), NULL));
}

/* Words w0, w1, ... of a skewed distribution; many documents are alike, so that scores tie. */
static inline void random_text(char *out, size_t room, struct rng *rng)
{
    size_t n = rng_below(rng, 20) == 0 ? 0 : (size_t)rng_below(rng, rng_below(rng, 8) ? 12 : 90), at = 0;
    out[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        double u = rng_uniform(rng);
        at += (size_t)snprintf(out + at, room - at, "%sw%d", i ? " " : "", (int)(400.0 * u * u * u));
    }
}

static inline void add_random(struct index_writer *w, size_t first, size_t n, struct rng *rng)
{
    for (size_t i = first; i < first + n; i++) {
        char id[32], text[1024];
        snprintf(id, sizeof id, "d%zu", i);
        random_text(text, sizeof text, rng);
        add_text(w, id, text);
    }
}

#endif
