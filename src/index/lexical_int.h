/* The parts of lexical search: the searcher and its query (lexical.c), one segment pruned (scan.c) and in full. */
#ifndef INDEX_LEXICAL_INT_H
#define INDEX_LEXICAL_INT_H
#include "index_int.h"
#include "score.h"
#include "base/topk.h"
#include "text/analyzer.h"

/* Rows of a window; sums of a window stay in the first-level cache. */
enum { WINDOW = 4096, WINDOW_ROOM = WINDOW + 16 };

/* A query's term in one segment. */
struct cursor {
    struct lex_list list;
    float weight;     /* scaled */
    uint32_t at;      /* block that `postings` holds, UINT32_MAX: none */
    uint32_t pos;     /* posting to be looked at next in it */
    uint32_t ahead;   /* first block that may hold rows of the present window or later */
    bool scored;      /* `scores` are those of `postings` */
    uint32_t bounded; /* block whose bound is `block_bound`, UINT32_MAX: none */
    uint32_t block_bound;
    uint32_t bound; /* of the whole term */
    struct postings_block postings;
    uint32_t scores[POSTINGS_BLOCK];
};

struct query_term {
    size_t name, name_bytes; /* in names */
    uint32_t hash, count;
    float weight; /* count * idf, scaled */
};

struct lexical_searcher {
    const struct index *ix;
    size_t field;
    struct analyzer *analyzer;
    const struct score_kernel *kernel;
    struct topk top;
    size_t k_max;
    uint64_t *bases; /* (segments+1) number of the first row over all segments */
    /* the query */
    struct buf names;
    struct query_term *terms;
    size_t n_terms, terms_cap;
    uint64_t *found; /* (terms, segments) number of the term, or UINT64_MAX */
    size_t found_cap;
    float a, c;    /* K = a + c * length */
    float unit;    /* a sum's score is sum * unit */
    int32_t floor; /* sums at or below it cannot enter the top k */
    /* of the segment at hand */
    struct cursor *cursors;
    size_t n_cursors, cursors_cap;
    struct scan_term *scan;
    size_t scan_cap;
    uint32_t sums[WINDOW_ROOM];
    uint64_t touched[WINDOW / 64];
    uint32_t candidates[WINDOW_ROOM], candidate_sums[WINDOW_ROOM];
    uint32_t *all_sums; /* the exhaustive twin's, made when first asked for */
    size_t all_sums_cap;
};

/* A cursor's share in a window, in the order of bounds. */
struct scan_term {
    struct cursor *cursor;
    uint32_t bound;
    int64_t below; /* sum of the bounds up to this one */
};

/* Offers row `row` of `segment` with this sum to the top k, and raises the floor. */
void lexical_offer(struct lexical_searcher *s, size_t segment, uint32_t row, uint32_t sum);
MUST_USE enum trawl_status lexical_scan(struct lexical_searcher *s, size_t segment);
MUST_USE enum trawl_status lexical_scan_all(struct lexical_searcher *s, size_t segment);

#endif
