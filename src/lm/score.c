/*
 * Log-likelihood. Sequences are packed whole into batches; one that is longer than a batch goes alone, in pieces, over
 * its own K/V. The rows that predict a token are pushed together in place and meet the LM head a tile at a time, so
 * that (T,V) logits never exist.
 */
#include "lm_int.h"
#include "base/pool.h"
#include <math.h>
#include <string.h>

/* Rows of logits, each against the token that came: row r against targets[r], into *out[r]. */
struct predictions {
    const float *logits; /* (tile,V) */
    const uint32_t *targets;
    double **out;
    size_t V;
};

/* log of the sum of exp(logits), around the largest one, in four sums of fixed order. */
static double log_normaliser(const float *logits, size_t V)
{
    float top = logits[0];
    for (size_t v = 1; v < V; v++)
        top = logits[v] > top ? logits[v] : top;
    double sum[4] = {0.0};
    size_t v = 0;
    for (; v + 4 <= V; v += 4)
        for (size_t i = 0; i < 4; i++)
            sum[i] += exp((double)logits[v + i] - (double)top);
    for (; v < V; v++)
        sum[0] += exp((double)logits[v] - (double)top);
    return (double)top + log((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

static void score_rows(void *ctx, size_t begin, size_t end, size_t worker)
{
    const struct predictions *p = ctx;
    (void)worker;
    for (size_t r = begin; r < end; r++) {
        const float *logits = p->logits + r * p->V;
        *p->out[r] = (double)logits[p->targets[r]] - log_normaliser(logits, p->V);
    }
}

static enum trawl_status score_hidden(struct lm *lm, const float *hidden, const uint32_t *targets, double **out,
                                      size_t n)
{
    struct predictions p = {.logits = lm->logits, .V = lm->config->V};
    for (size_t r = 0; r < n; r += lm->tile) {
        size_t rows = n - r < lm->tile ? n - r : lm->tile;
        TRY(nn_logits(lm->run, lm->logits, hidden + r * lm->config->C, rows));
        p.targets = targets + r;
        p.out = out + r;
        pool_run(rows, 1, score_rows, &p);
    }
    return TRAWL_OK;
}

/* The call's state: predictions collected for one batch. */
struct scoring {
    struct lm *lm;
    double *const *out;
    const struct lm_tokens *prefix, *seqs;
    struct nn_kv *prefix_kv; /* NULL without a prefix */
};

/* Moves the states of a piece that predict something to the front; row i of a sequence predicts its token i + 1. */
static size_t gather(struct scoring *s, size_t seq, size_t token, size_t row, size_t rows, size_t n)
{
    const struct lm_tokens *tokens = &s->seqs[seq];
    size_t C = s->lm->config->C, shift = s->prefix->n ? 0 : 1;
    for (size_t i = 0; i < rows && token + i + 1 < tokens->n; i++, n++) {
        memmove(s->lm->hidden + n * C, s->lm->hidden + (row + i) * C, C * sizeof(float));
        s->lm->targets[n] = tokens->ids[token + i + 1];
        s->lm->places[n] = &s->out[seq][token + i + 1 - shift];
    }
    return n;
}

/* First tokens after a prefix: all from its last state. */
static enum trawl_status score_first(struct scoring *s, size_t n)
{
    if (!s->prefix->n)
        return TRAWL_OK;
    TRY(nn_logits(s->lm->run, s->lm->logits, s->lm->prefix_row, 1));
    double normaliser = log_normaliser(s->lm->logits, s->lm->config->V);
    for (size_t i = 0; i < n; i++)
        if (s->seqs[i].n)
            s->out[i][0] = (double)s->lm->logits[s->seqs[i].ids[0]] - normaliser;
    return TRAWL_OK;
}

static enum trawl_status score_batch(struct scoring *s, size_t first, size_t end)
{
    struct lm *lm = s->lm;
    size_t T = 0, B = 0, n = 0;
    for (size_t i = first; i < end; i++) {
        if (!s->seqs[i].n)
            continue;
        lm->begin[B] = (uint32_t)T;
        lm->kv[B++] = s->prefix_kv;
        memcpy(lm->ids + T, s->seqs[i].ids, s->seqs[i].n * sizeof *lm->ids);
        T += s->seqs[i].n;
    }
    if (!T)
        return TRAWL_OK;
    lm->begin[B] = (uint32_t)T;
    struct nn_batch batch = {
        .ids = lm->ids, .begin = lm->begin, .B = B, .attention = NN_CAUSAL, .kv = s->prefix_kv ? lm->kv : NULL};
    TRY(nn_forward(lm->run, lm->hidden, &batch));
    T = 0;
    for (size_t i = first; i < end; T += s->seqs[i++].n)
        n = gather(s, i, 0, T, s->seqs[i].n, n);
    return score_hidden(lm, lm->hidden, lm->targets, lm->places, n);
}

/* A sequence beyond one batch: its own K/V holds prefix and sequence. */
static enum trawl_status score_long(struct scoring *s, size_t seq)
{
    struct lm *lm = s->lm;
    const struct lm_tokens *tokens = &s->seqs[seq];
    struct nn_kv *kv = NULL;
    size_t rows;
    enum trawl_status status;
    TRY(nn_kv_new(&kv, lm->model, s->prefix->n + tokens->n));
    TRY_OUT(lm_feed(lm, kv, s->prefix, &rows));
    for (size_t at = 0; at < tokens->n; at += rows) {
        size_t left = tokens->n - at;
        struct lm_tokens piece = {tokens->ids + at, left < lm->batch_tokens ? left : lm->batch_tokens};
        TRY_OUT(lm_feed(lm, kv, &piece, &rows));
        size_t n = gather(s, seq, at, 0, rows, 0);
        TRY_OUT(score_hidden(lm, lm->hidden, lm->targets, lm->places, n));
    }
    status = TRAWL_OK;
out:
    nn_kv_free(kv);
    return status;
}

static enum trawl_status check(const struct scoring *s, size_t n)
{
    size_t positions = s->lm->config->positions;
    TRY(lm_check(s->lm, s->prefix));
    for (size_t i = 0; i < n; i++) {
        enum trawl_status status = lm_check(s->lm, &s->seqs[i]);
        if (status != TRAWL_OK)
            return fail_context(status, "sequence %zu", i + 1);
        if (s->prefix->n > positions - s->seqs[i].n)
            return fail(TRAWL_LIMIT, "sequence %zu has %zu tokens after a prefix of %zu, the model knows %zu positions",
                        i + 1, s->seqs[i].n, s->prefix->n, positions);
    }
    return TRAWL_OK;
}

static enum trawl_status run_prefix(struct scoring *s)
{
    size_t rows = 0, C = s->lm->config->C;
    if (!s->prefix->n)
        return TRAWL_OK;
    TRY(nn_kv_new(&s->prefix_kv, s->lm->model, s->prefix->n));
    TRY(lm_feed(s->lm, s->prefix_kv, s->prefix, &rows));
    memcpy(s->lm->prefix_row, s->lm->hidden + (rows - 1) * C, C * sizeof(float));
    return TRAWL_OK;
}

enum trawl_status lm_score(struct lm *lm, double *const *out, const struct lm_tokens *prefix,
                           const struct lm_tokens *seqs, size_t n)
{
    static const struct lm_tokens none = {0};
    struct scoring s = {.lm = lm, .out = out, .prefix = prefix ? prefix : &none, .seqs = seqs};
    enum trawl_status status = TRAWL_OK;
    TRY(check(&s, n));
    TRY_OUT(run_prefix(&s));
    TRY_OUT(score_first(&s, n));
    for (size_t i = 0; i < n;) {
        size_t end = i, T = 0;
        while (end < n && seqs[end].n <= lm->batch_tokens - T)
            T += seqs[end++].n;
        TRY_OUT(end > i ? score_batch(&s, i, end) : score_long(&s, i));
        i = end > i ? end : i + 1;
    }
out:
    nn_kv_free(s.prefix_kv);
    return status;
}
