/* What mining and its report share. */
#ifndef STAGE_MINE_STAGE_H
#define STAGE_MINE_STAGE_H
#include "mine/mine.h"

struct mine_pick {
    uint32_t doc;
    float score;
    size_t teacher;
};

/* A mined query, as it was written. */
struct mined {
    size_t query, teacher; /* teacher: whose scores the positives have */
    const struct mine_found *found;
    const struct mine_pick *picks;
    size_t n, wanted;
};

struct mine_report;
struct mine_report_options {
    const struct mine_set *set;
    struct mine_teacher **teachers;
    struct mine_journal **journals;
    size_t n_teachers;
    const struct mine_plan *plan; /* all five rules */
    size_t chosen;                /* which of them */
    struct mine_teacher *judge;   /* NULL: none */
    size_t negatives;
    const char *dataset, *split, *settings; /* for the head */
};
MUST_USE enum trawl_status mine_report_new(struct mine_report **r, const struct mine_report_options *options);
void mine_report_free(struct mine_report *r);
/* Takes a query as an example where its turn has come. */
MUST_USE enum trawl_status mine_report_row(struct mine_report *r, const struct mined *row);
/* Goes through the journals and writes <place>.html and .txt, or report.html and report.txt in a folder. */
MUST_USE enum trawl_status mine_report_write(struct mine_report *r, const char *place,
                                             const struct trawl_mine_report *totals);

/* How many of the picks the judge scores at or above the query's anchor; *n of them have a score. */
MUST_USE enum trawl_status mine_judge(struct mine_teacher *judge, const struct mine_set *set, enum mine_anchor anchor,
                                      size_t query, const uint32_t *docs, size_t n_docs, uint64_t *judged,
                                      uint64_t *suspected);

#endif
