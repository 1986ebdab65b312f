/*
 * The searcher: lexical, dense and hybrid search over an index folder, fusion, snippets. One per thread.
 */
#ifndef SEARCH_H
#define SEARCH_H
#include "encode/encode.h"
#include "index/index.h"

enum search_mode { SEARCH_AUTO, SEARCH_BM25, SEARCH_DENSE, SEARCH_HYBRID };
struct search_options {
    enum search_mode mode;                   /* AUTO: what the index holds */
    const char *lexical_field, *dense_field; /* NULL: the only one */
    const char *model;                       /* NULL: the one the index names */
    bool force;                              /* search although the contract differs */
    const char *precision;
    size_t k;             /* hits wanted */
    size_t depth;         /* hybrid: candidates from each side; int8: rescored candidates; 0: default */
    const char *fusion;   /* "rrf" or "weighted" */
    double rrf_k, weight; /* RRF constant; weight of the dense side */
    double k1, b;         /* negative: the field's */
};
struct searcher;
MUST_USE enum trawl_status searcher_new(struct searcher **s, const struct index *ix,
                                        const struct search_options *options);
void searcher_free(struct searcher *s);
/* Documents by their best row; hits (k) out best first. */
MUST_USE enum trawl_status searcher_text(struct searcher *s, struct index_hit *hits, size_t *n, const char *query,
                                         size_t n_bytes);
/* Dense only, by given vector (D); or, with query text, hybrid. */
MUST_USE enum trawl_status searcher_vector(struct searcher *s, struct index_hit *hits, size_t *n, const float *vector,
                                           const char *query, size_t n_bytes);


#endif
