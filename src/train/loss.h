/*
 * Losses on matrices of scores, each with its gradient, in the terms that objectives are put together from. B queries
 * (or lists), M candidates. Sums in double; gradients are written, not added. Definitions: docs/methods/losses.md.
 */
#ifndef TRAIN_LOSS_H
#define TRAIN_LOSS_H
#include "base/status.h"
#include <stdbool.h>

/* y (B,D) = x (B,D) / |x|; norms (B) out, for the backward pass. A zero row stays zero. */
void l2_forward(float *y, float *norms, const float *x, size_t B, size_t D);
/* dx (B,D) = (dy - y <y,dy>) / |x|. */
void l2_backward(float *dx, const float *dy, const float *y, const float *norms, size_t B, size_t D);

/*
 * Which candidates a query sees: one byte per entry of (B,M), 0: seen. Columns 0..B are the positives, column i that of
 * query i; hard negatives follow, H of each query, row-major. The true positive is never hidden.
 */
enum candidates {
    CANDIDATES_OWN,     /* own positive, own negatives */
    CANDIDATES_INBATCH, /* all positives, no negatives */
    CANDIDATES_OWNNEGS, /* all positives, own negatives */
    CANDIDATES_ALLNEGS, /* all of both */
};
void mask_candidates(uint8_t *hidden, size_t B, size_t H, enum candidates candidates);
/* Hides candidates that are the query's own positive in another column: ids (B) and (B*H) by content or document. */
void mask_duplicates(uint8_t *hidden, const uint64_t *positive_ids, const uint64_t *negative_ids, size_t B, size_t H);
/*
 * GISTEmbed (Solatorio 2024): hides entries of an (B,n) block whose guide similarity exceeds that of the query's own
 * positive, g (B), less margin (relative: less |g| margin). `hidden` points at the block's first column and has rows of
 * M bytes; `spare_diagonal` leaves (i,i) alone.
 */
void mask_guide(uint8_t *hidden, size_t M, const float *guide, const float *g, size_t B, size_t n, double margin,
                bool relative, bool spare_diagonal);

/*
 * Cross entropy with column i the target of row i (InfoNCE, van den Oord et al. 2018): mean_i -log softmax_j(s_ij /
 * tau)_i over the columns not hidden. ds (B,M) out; *dlog_tau (may be NULL) is added to. `hidden` may be NULL.
 */
double loss_infonce(float *ds, double *dlog_tau, const float *s, const uint8_t *hidden, size_t B, size_t M, double tau);
/* The mean of rows' and columns' cross entropy of the first B columns; M columns from the queries' side. */
double loss_infonce_symmetric(float *ds, double *dlog_tau, const float *s, const uint8_t *hidden, size_t B, size_t M,
                              double tau);

/* The following take lists: s (B,M) scores of the student, t (B,M) of the teacher (or grades). ds (B,M) out. */
/* Mean over lists and negatives of ((s_0 - s_j) - (t_0 - t_j))^2, column 0 the positive (Hofstaetter et al. 2020). */
double loss_margin_mse(float *ds, const float *s, const float *t, size_t B, size_t M);
/* Mean of KL(softmax(t/T) || softmax(s/T)), or reversed KL(softmax(s/T) || softmax(t/T)); no factor T^2. */
double loss_kl(float *ds, const float *s, const float *t, size_t B, size_t M, double temperature, bool reverse);
/* log(1 + sum over pairs with label_i < label_j of exp(scale (s_i - s_j))) over n cosines s (CoSENT, Su 2022). */
double loss_cosent(float *ds, const float *s, const float *labels, size_t n, double scale);

#endif
