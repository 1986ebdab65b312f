/*
 * Batches out of training examples: B queries, a positive of each, H negatives of each, tokenised. Which examples stand
 * in a batch, and which of an example's passages are drawn, follows from the seed and the place alone, so a resumed run
 * sees the same batches.
 */
#ifndef TRAIN_BATCH_H
#define TRAIN_BATCH_H
#include "cache.h"
#include "data/training.h"
#include "objective.h"

struct batch_options {
    size_t B, H;
    uint64_t seed;
    const char *join; /* of documents' titles and texts */
    unsigned needs;   /* enum objective_needs */
    bool keep_texts;  /* for a guide */
};
/* Where the next batch begins. An epoch's last examples that fill no batch are left out. */
struct batch_place {
    uint32_t epoch;
    size_t position;
};
struct batch {
    struct batch_options o;
    struct text_rows rows; /* queries 0 .. B, positives B .. 2B, negatives 2B .. 2B + BH */
    uint8_t *absent;       /* (B*H) */
    uint64_t *positive_text, *negative_text, *positive_id, *negative_id;
    float *scores, *labels;
    struct buf texts; /* all texts one behind the other, in the order of rows: keep_texts */
    struct text_view *views;
    size_t n_negatives; /* that are there */
    /* scratch of reading; negatives of a query are spooled until its batch is complete */
    struct buf negatives, joined;
    size_t *negative_end; /* (B*H) */
    size_t *picks, cap_picks;
    struct buf positives;
    size_t *positive_end; /* (B) */
};
MUST_USE enum trawl_status batch_init(struct batch *b, const struct batch_options *options);
void batch_release(struct batch *b);
/* FORMAT when the examples are fewer than a batch; *place moves on. */
MUST_USE enum trawl_status batch_read(struct batch *b, struct training *t, struct encoder *e,
                                      struct batch_place *place);
/* Sets what the objective is given of it. */
void batch_fill(const struct batch *b, struct objective_batch *out);

#endif
