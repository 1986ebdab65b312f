/* Lists of rows to lists of documents, and two lists of documents to one. Scratch of one thread. */
#ifndef SEARCH_FUSE_H
#define SEARCH_FUSE_H
#include "base/topk.h"
#include "search.h"

struct fuser {
    const struct index *ix;
    uint64_t *keys;   /* (mask + 1) document of a slot */
    uint32_t *places; /* (mask + 1) its place in a list, valid where stamps is this round's */
    uint32_t *stamps; /* (mask + 1) */
    uint32_t stamp;
    size_t mask, cap;
    struct fused {
        struct index_hit hit; /* the row that is shown */
        double score;
        size_t rank;
    } * list;
    struct topk best;
    size_t best_cap;
};
void fuser_init(struct fuser *f, const struct index *ix);
void fuser_release(struct fuser *f);
/* Room for lists of n hits each and the k best of two; grows only. */
MUST_USE enum trawl_status fuser_reserve(struct fuser *f, size_t n, size_t k);
/* Keeps the first, best row of each document, in place; how many are left. */
size_t fuser_documents(struct fuser *f, struct index_hit *hits, size_t n);
/* The k best of two lists of documents, out (k); how many there are. */
size_t fuser_fuse(struct fuser *f, struct index_hit *out, size_t k, const struct index_hit *lexical, size_t n_lexical,
                  const struct index_hit *dense, size_t n_dense, const struct search_options *options);

#endif
