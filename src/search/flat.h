/*
 * Exact flat search: every live row of one dense field against up to FLAT_QUERIES queries at once. It knows no index
 * folder, only arrays, one part per segment.
 *
 * Order: float32 score descending, ordinal ascending, then position (part, row). Deleted and zero rows are never
 * returned. The work is split over rows, scores do not depend on the split (math/dot.h), and the k best of a total
 * order do not either, so results are the same for any number of threads and any batching of queries.
 */
#ifndef SEARCH_FLAT_H
#define SEARCH_FLAT_H
#include "index/index.h"

enum { FLAT_QUERIES = 64 };

struct flat_part {
    struct index_vectors vectors;
    const uint64_t *deleted;  /* bitmap, NULL: none */
    const uint64_t *ordinals; /* (n) */
};

struct flat;
/*
 * Keeps the parts (a copy of the list, not of the rows) and takes its working memory; `queries_max` (at most
 * FLAT_QUERIES) and `candidates_max` are the largest Q and max(k, depth) of later calls. LIMIT when there are 2^32 rows
 * or more, or D is too large.
 */
MUST_USE enum trawl_status flat_new(struct flat **f, const struct flat_part *parts, size_t n_parts, size_t D,
                                    size_t queries_max, size_t candidates_max);
void flat_free(struct flat *f);
/*
 * hits (Q,k) and n_hits (Q) out    queries (Q,D), Q at most queries_max
 * Of parts that keep f32 rows beside their own, the best `depth` rows (at least k) by their own format are scored again
 * by the f32 rows. No heap calls; grows only when max(k, depth) exceeds what it was made for.
 */
MUST_USE enum trawl_status flat_search(struct flat *f, struct index_hit *hits, size_t *n_hits, const float *queries,
                                       size_t Q, size_t k, size_t depth);
/* The plain twin: one dot after the other by the plain kernels, everything sorted. */
MUST_USE enum trawl_status flat_search_plain(struct index_hit *hits, size_t *n_hits, const struct flat_part *parts,
                                             size_t n_parts, size_t D, const float *queries, size_t Q, size_t k,
                                             size_t depth);
/* Candidates that are rescored when nobody says otherwise. */
size_t flat_default_depth(size_t k);

#endif
