/*
 * The searcher: lexical, dense and hybrid search over an index folder. Opened indexes are shared; a searcher belongs to
 * one thread at a time and spreads its work over the pool itself. Results depend neither on the number of threads nor
 * on which queries are searched together.
 *
 * Hits are documents, each by its best row (passage), ordered by float32 score descending, then ordinal ascending.
 *
 * Hybrid: the `depth` best documents of each side are fused.
 *   rrf       score(d) = sum over the sides that found d of 1 / (rrf_k + rank), ranks from 1
 *             (Cormack, Clarke and Buettcher 2009)
 *   weighted  score(d) = weight * dense(d) + (1 - weight) * lexical(d), where a side's scores are brought to [0,1] by
 *             (s - min) / (max - min) over its list, 1 where all are equal; a document that a side did not find has 0
 */
#ifndef SEARCH_H
#define SEARCH_H
#include "data/vectors.h"
#include "encode/encode.h"
#include "index/index.h"

enum search_mode { SEARCH_AUTO, SEARCH_BM25, SEARCH_DENSE, SEARCH_HYBRID };
enum search_fusion { SEARCH_RRF, SEARCH_WEIGHTED };

struct search_options {
    enum search_mode mode;                   /* AUTO: what the index holds and the queries can be asked of it */
    const char *lexical_field, *dense_field; /* NULL: the only one */
    size_t k;                                /* hits wanted, at least 1 */
    size_t depth; /* hybrid: documents from each side; else rows scored again by f32; 0: default */
    enum search_fusion fusion;
    double rrf_k, weight;  /* of rrf; of the dense side */
    double k1, b;          /* negative: the field's */
    const char *model;     /* NULL: the one that the index names */
    const char *precision; /* NULL: auto */
    bool force;            /* search although the contract differs */
    bool vectors;          /* queries come with vectors: no model is opened */
    bool no_text;          /* they come with nothing else */
};
/* The defaults: k 10, rrf with 60, weight 0.5, the field's k1 and b. */
struct search_options search_defaults(void);

/* A text, a vector, or both. */
struct search_query {
    const char *text; /* NULL: none */
    size_t n;
    const float *vector; /* (D), NULL: the text is encoded where one is needed */
};

enum { SEARCH_BATCH = 64 }; /* queries are searched together by so many */

struct searcher;
MUST_USE enum trawl_status searcher_new(struct searcher **s, const struct index *ix,
                                        const struct search_options *options);
void searcher_free(struct searcher *s);
/*
 * hits (n,k) and n_hits (n) out. A query without vector whose text is empty or white space has no hits; neither has a
 * zero vector. FORMAT names the query whose vector holds NaN or infinity. No heap calls once a batch of that size was
 * searched.
 */
MUST_USE enum trawl_status searcher_batch(struct searcher *s, struct index_hit *hits, size_t *n_hits,
                                          const struct search_query *queries, size_t n);

enum search_mode searcher_mode(const struct searcher *s); /* never AUTO */
const char *search_mode_name(enum search_mode mode);
/* Numbers of the fields searched, SIZE_MAX: none of that kind. */
size_t searcher_lexical_field(const struct searcher *s);
size_t searcher_dense_field(const struct searcher *s);
const struct encoder_counts *searcher_counts(const struct searcher *s); /* NULL: no model was opened */

/* ---- whole runs ---- */
struct search_counts {
    uint64_t queries, empty, without_hits, hits;
    uint64_t cut;   /* queries beyond the contract's maximum */
    double seconds; /* without opening model and searcher */
    enum search_mode mode;
};
struct search_result {
    const char *query_id, *query; /* NUL-terminated; query is "" where there is only a vector */
    size_t query_bytes;
    const struct index_hit *hits;
    size_t n_hits;
};
typedef MUST_USE enum trawl_status (*search_result_fn)(void *ctx, const struct search_result *result);
/*
 * Calls fn for every query, in their order. `vectors` (NULL: none) holds a row per query; its ids, where it has any,
 * must be those of the queries, and its contract, where it has one, that of the field. Without queries, ids are those
 * of the vectors, else the number of the row from 0. At most as many hits as there are documents, whatever options->k.
 */
MUST_USE enum trawl_status search_each(const struct index *ix, const struct queries *queries,
                                       const struct vectors *vectors, const struct search_options *options,
                                       search_result_fn fn, void *ctx, struct search_counts *counts);
/* The same into *out (its tag is left unset). Queries without hits are in the run, with none. */
MUST_USE enum trawl_status search_run_vectors(struct run *out, const struct index *ix, const struct queries *queries,
                                              const struct vectors *vectors, const struct search_options *options,
                                              struct search_counts *counts);
MUST_USE enum trawl_status search_run(struct run *out, const struct index *ix, const struct queries *queries,
                                      const struct search_options *options);

#endif
