/*
 * Mining over a collection: its queries with their positives, teachers that rank its documents, and what of their
 * rankings is kept. Memory is bounded: texts and vectors are mapped, queries are ranked in blocks, and the candidates
 * that are kept go to a journal from which an interrupted run continues.
 */
#ifndef MINE_H
#define MINE_H
#include "data/doc_set.h"
#include "rules.h"

/* ---- the collection ---- */
struct mine_query {
    const char *id, *text;
    size_t text_bytes;
    uint32_t *positives, *curated; /* documents judged above 0; judged 0 */
    uint32_t *excluded;            /* ascending: positives, their copies, documents without text */
    size_t n_positives, n_curated, n_excluded;
};
struct mine_set {
    struct doc_set *docs;
    struct queries queries;
    struct mine_query *items; /* (n) judged queries with a positive, in the order of the judgements */
    size_t n, without_positives;
    uint64_t copies; /* of positives, over all queries */
    uint32_t *lists; /* what the queries point into */
    size_t n_lists, lists_cap;
    uint32_t *asked; /* (n) place of each query among `queries` */
};
/* A BEIR folder and the name of a split. FORMAT names file, line and id of what points nowhere. */
MUST_USE enum trawl_status mine_set_open(struct mine_set *set, const char *folder, const char *split, bool strict);
void mine_set_close(struct mine_set *set);
/* Of documents, queries and positives. */
uint64_t mine_set_fingerprint(const struct mine_set *set);

/* ---- what is kept of a ranking ---- */
enum mine_anchor { MINE_ANCHOR_MIN, MINE_ANCHOR_MEAN, MINE_ANCHOR_MAX };
/* Of the positives that have a score; NaN where none has. */
double mine_anchor_of(const float *scores, size_t n, enum mine_anchor anchor);
enum { MINE_RULES = 5 };
struct mine_plan {
    struct mine_rule_options rules[MINE_RULES];
    size_t n_rules;
    size_t keep;  /* best candidates that each rule leaves */
    size_t depth; /* places of the raw ranking; 0: none */
    enum mine_anchor anchor;
};
/* One query by one teacher. */
struct mine_found {
    double anchor;          /* of the positives' scores; NaN: the teacher scored none of them */
    const float *positives; /* (n_positives) NaN: not scored */
    const struct mine_candidate *raw, *kept[MINE_RULES];
    size_t n_positives, n_raw, n_kept[MINE_RULES];
};

/* ---- teachers ---- */
struct mine_teacher;
/* Vectors of the documents (in their order, or with their ids) and of the queries (all, or those of the split). */
MUST_USE enum trawl_status mine_teacher_vectors(struct mine_teacher **t, const struct mine_set *set, const char *name,
                                                const char *documents, const char *queries);
/* A run (TREC or JSON), or a matrix of scores (.npy: queries by documents). */
MUST_USE enum trawl_status mine_teacher_run(struct mine_teacher **t, const struct mine_set *set, const char *name,
                                            const char *path);
/* The first lexical field of an index of the documents, a row each. */
MUST_USE enum trawl_status mine_teacher_lexical(struct mine_teacher **t, const struct mine_set *set, const char *name,
                                                const char *index);
/* Uniform scores drawn from the seed: negatives by chance. */
MUST_USE enum trawl_status mine_teacher_random(struct mine_teacher **t, const struct mine_set *set, const char *name,
                                               uint64_t seed);
void mine_teacher_close(struct mine_teacher *t);
const char *mine_teacher_name(const struct mine_teacher *t);
/* out (n): scores of documents for a query, NaN where the teacher has none. */
MUST_USE enum trawl_status mine_teacher_score(struct mine_teacher *t, float *out, size_t query, const uint32_t *docs,
                                              size_t n);

/* ---- the journal: a teacher's candidates for every query, in their order ---- */
struct mine_journal;
/*
 * Ranks what the file does not hold yet and opens it; a file that was cut off is continued after its last good block.
 * What stands in it depends on nothing but set, teacher and plan. path NULL: a nameless file.
 */
MUST_USE enum trawl_status mine_journal_make(struct mine_journal **j, const char *path, struct mine_teacher *t,
                                             const struct mine_plan *plan, size_t *n_resumed);
void mine_journal_close(struct mine_journal *j);
void mine_journal_rewind(struct mine_journal *j);
/* The next query's candidates, valid until the next call. */
MUST_USE enum trawl_status mine_journal_next(struct mine_journal *j, struct mine_found *found);

#endif
