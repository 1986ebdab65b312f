/*
 * Training objectives: the embeddings of a batch in, the loss and its gradient with respect to them out. An objective
 * is one row of a table; around each stand the same wrappers: rows made unit length (cosine), false negatives masked,
 * Matryoshka's prefixes, weighted sums of several objectives. Definitions: docs/methods/losses.md.
 *
 * All work is split over rows of an output, so the bits depend neither on the number of threads nor on their timing.
 */
#ifndef TRAIN_OBJECTIVE_H
#define TRAIN_OBJECTIVE_H
#include "loss.h"
#include <stddef.h>

/* What an objective cannot do without. */
enum objective_needs {
    OBJECTIVE_NEGATIVES = 1, /* at least one negative for every query, none absent */
    OBJECTIVE_SCORES = 2,    /* a teacher's score for every candidate of a query's own */
    OBJECTIVE_LABELS = 4,    /* a grade for every pair of query and positive */
    OBJECTIVE_GUIDE = 8,     /* the guide's similarities */
};

/*
 * A batch: B queries, a positive for each, H negatives for each (row-major). Gradients are written. What is NULL was
 * not given.
 */
struct objective_batch {
    size_t B, H, D;
    const float *q, *p, *n; /* (B,D), (B,D), (B*H,D) */
    float *dq, *dp, *dn;
    const uint8_t *absent;                         /* (B*H) 1: there is no such negative; its row is not read */
    const uint64_t *positive_text, *negative_text; /* (B), (B*H) hashes of the texts: */
    const uint64_t *positive_id,
        *negative_id;    /* and of the documents' ids: a query's own positive elsewhere is masked */
    const float *scores; /* (B,1+H) of a teacher, the positive first */
    const float *labels; /* (B) */
    const float *guide_qp, *guide_qq, *guide_pp; /* (B,B) similarities by a guide model */
    const float *guide_qn;                       /* (B,B*H) */
};

struct objective;
enum { OBJECTIVE_TERMS_MAX = 4, OBJECTIVE_DIMS_MAX = 8 };
struct objective_options {
    struct objective_term {
        const struct objective *objective;
        double weight;
    } terms[OBJECTIVE_TERMS_MAX];
    size_t n_terms;
    bool dot;                        /* plain dot products; else cosines */
    bool symmetric;                  /* InfoNCE from the positives' side too */
    enum candidates candidates;      /* of InfoNCE */
    double margin;                   /* GIST */
    bool margin_relative;            /* GIST: a share of the positive's similarity */
    bool wide;                       /* GIST: queries among queries and positives among positives are candidates too */
    double temperature;              /* KL: of the student and the teacher */
    bool reverse;                    /* KL(student || teacher) */
    double scale;                    /* CoSENT */
    size_t dims[OBJECTIVE_DIMS_MAX]; /* Matryoshka: prefixes and their weights; n_dims 0: all dimensions alone */
    double dims_weight[OBJECTIVE_DIMS_MAX];
    size_t n_dims;
};
/* The defaults: one term InfoNCE, cosine, `ownnegs`, KL at temperature 1, CoSENT's scale 20. */
struct objective_options objective_defaults(void);
/* "infonce", or several with weights: "infonce+0.5*kl". USAGE names what is unknown and what is known. */
MUST_USE enum trawl_status objective_parse(struct objective_options *options, const char *text);
unsigned objective_needs(const struct objective_options *options);
/* The i-th objective's name and what it is, for help texts; NULL past the last. */
const char *objective_name(size_t i, const char **help);

/* Memory for batches of up to these sizes; none is taken later. LIMIT when the matrix of scores is too large. */
struct objective_work;
MUST_USE enum trawl_status objective_work_new(struct objective_work **work, const struct objective_options *options,
                                              size_t B, size_t H, size_t D);
void objective_work_free(struct objective_work *work);

/*
 * *loss out; *dlog_tau (may be NULL) is written: the derivative with respect to the logarithm of InfoNCE's temperature.
 * USAGE names what the batch lacks. Cost: O(B (B + B H) D), and as much again for the gradient.
 */
MUST_USE enum trawl_status objective_step(struct objective_work *work, double *loss, double *dlog_tau,
                                          const struct objective_batch *batch, double tau);

#endif
