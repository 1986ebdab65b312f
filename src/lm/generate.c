/*
 * Greedy generation. Prompts go through the model packed together, what all of them begin with once; then every step
 * feeds one token of each running sequence. Sequences are taken in groups whose keys and values fit a budget.
 */
#include "lm_int.h"
#include "base/mem.h"
#include "base/pool.h"
#include <stdlib.h>
#include <string.h>

enum {
    GROUP_MAX = 64,
    PREFIX_MIN = 16, /* a shorter common beginning is not worth a pass of its own */
};
#define KV_BYTES ((size_t)1 << 30) /* of a group; a single sequence may take more */

/* One group being continued. */
struct group {
    struct lm *lm;
    struct lm_continuation *out;
    const struct lm_tokens *prompts;
    const struct lm_generate_options *options;
    size_t n;
    struct nn_kv *kv[GROUP_MAX];
    size_t room[GROUP_MAX]; /* tokens that may still be made */
    size_t running[GROUP_MAX], n_running;
    float *last;              /* (GROUP_MAX, C) states that predict the next token, by sequence */
    uint32_t next[GROUP_MAX]; /* by sequence */
};

static uint32_t argmax(const float *logits, size_t V)
{
    size_t best = 0;
    for (size_t v = 1; v < V; v++)
        if (logits[v] > logits[best])
            best = v;
    return (uint32_t)best;
}

/* next[] of the running sequences from their last states. */
static enum trawl_status choose(struct group *g)
{
    struct lm *lm = g->lm;
    size_t C = lm->config->C, V = lm->config->V, n = g->n_running;
    for (size_t i = 0; i < n; i++)
        memcpy(lm->hidden + i * C, g->last + g->running[i] * C, C * sizeof(float));
    for (size_t i = 0; i < n; i += lm->tile) {
        size_t rows = n - i < lm->tile ? n - i : lm->tile;
        TRY(nn_logits(lm->run, lm->logits, lm->hidden + i * C, rows));
        for (size_t r = 0; r < rows; r++)
            g->next[g->running[i + r]] = argmax(lm->logits + r * V, V);
    }
    return TRAWL_OK;
}

static bool is_stop(const struct lm_generate_options *options, uint32_t id)
{
    for (size_t i = 0; i < options->n_stop; i++)
        if (options->stop[i] == id)
            return true;
    return false;
}

/* Appends the chosen tokens and drops the sequences that are complete. */
static enum trawl_status accept(struct group *g)
{
    size_t kept = 0;
    for (size_t i = 0; i < g->n_running; i++) {
        size_t s = g->running[i];
        struct lm_continuation *c = &g->out[s];
        c->stopped = is_stop(g->options, g->next[s]);
        if (c->stopped)
            continue;
        TRY(mem_grow((void **)&c->ids.ids, &c->ids.cap, c->ids.n + 1, sizeof *c->ids.ids));
        c->ids.ids[c->ids.n++] = g->next[s];
        if (c->ids.n < g->room[s])
            g->running[kept++] = s;
    }
    g->n_running = kept;
    return TRAWL_OK;
}

/* Feeds the rows begin[0..B) of lm->ids (row b: sequence rows[b]) and keeps each row's last state. */
static enum trawl_status feed_rows(struct group *g, const size_t *rows, size_t B)
{
    struct lm *lm = g->lm;
    size_t C = lm->config->C;
    for (size_t b = 0; b < B; b++)
        lm->kv[b] = g->kv[rows[b]];
    struct nn_batch batch = {
        .ids = lm->ids, .begin = lm->begin, .B = B, .attention = NN_CAUSAL, .kv = lm->kv, .kv_append = true};
    TRY(nn_forward(lm->run, lm->hidden, &batch));
    for (size_t b = 0; b < B; b++)
        memcpy(g->last + rows[b] * C, lm->hidden + (lm->begin[b + 1] - 1) * C, C * sizeof(float));
    return TRAWL_OK;
}

/* The prompts' tokens from `shared` on, in packed batches of whole prompts; one beyond a batch goes alone in pieces. */
static enum trawl_status prefill(struct group *g, size_t shared)
{
    struct lm *lm = g->lm;
    size_t rows[GROUP_MAX], B = 0, T = 0, C = lm->config->C;
    lm->begin[0] = 0;
    for (size_t s = 0; s < g->n; s++) {
        struct lm_tokens rest = {g->prompts[s].ids + shared, g->prompts[s].n - shared};
        if (rest.n > lm->batch_tokens - T && B) {
            TRY(feed_rows(g, rows, B));
            B = T = 0;
        }
        if (rest.n > lm->batch_tokens) {
            size_t n;
            TRY(lm_feed(lm, g->kv[s], &rest, &n));
            memcpy(g->last + s * C, lm->hidden + (n - 1) * C, C * sizeof(float));
            continue;
        }
        memcpy(lm->ids + T, rest.ids, rest.n * sizeof *lm->ids);
        T += rest.n;
        rows[B++] = s;
        lm->begin[B] = (uint32_t)T;
    }
    return B ? feed_rows(g, rows, B) : TRAWL_OK;
}

/* Tokens that all prompts of the group begin with, at least one left to each. */
static size_t common_prefix(const struct group *g)
{
    if (g->n < 2)
        return 0;
    size_t n = g->prompts[0].n - 1;
    for (size_t s = 1; s < g->n; s++) {
        size_t most = g->prompts[s].n - 1 < n ? g->prompts[s].n - 1 : n;
        n = 0;
        while (n < most && g->prompts[s].ids[n] == g->prompts[0].ids[n])
            n++;
    }
    return n < PREFIX_MIN ? 0 : n;
}

static enum trawl_status open_kv(struct group *g)
{
    for (size_t s = 0; s < g->n; s++) {
        size_t positions = g->lm->config->positions, most = positions - g->prompts[s].n + 1;
        g->room[s] = g->options->max_tokens < most ? g->options->max_tokens : most;
        TRY(nn_kv_new(&g->kv[s], g->lm->model, g->prompts[s].n + g->room[s]));
        g->running[s] = s;
    }
    g->n_running = g->n;
    return TRAWL_OK;
}

static enum trawl_status share_prefix(struct group *g, size_t shared)
{
    size_t rows;
    if (!shared)
        return TRAWL_OK;
    struct lm_tokens prefix = {g->prompts[0].ids, shared};
    TRY(lm_feed(g->lm, g->kv[0], &prefix, &rows));
    for (size_t s = 1; s < g->n; s++)
        TRY(nn_kv_copy(g->kv[s], g->kv[0]));
    return TRAWL_OK;
}

static enum trawl_status step(struct group *g)
{
    struct lm *lm = g->lm;
    for (size_t i = 0; i < g->n_running; i++) {
        lm->ids[i] = g->next[g->running[i]];
        lm->begin[i] = (uint32_t)i;
    }
    lm->begin[g->n_running] = (uint32_t)g->n_running;
    return feed_rows(g, g->running, g->n_running);
}

static enum trawl_status run_group(struct group *g)
{
    enum trawl_status status;
    size_t shared = common_prefix(g);
    TRY_OUT(open_kv(g));
    TRY_OUT(share_prefix(g, shared));
    TRY_OUT(prefill(g, shared));
    for (;;) {
        TRY_OUT(choose(g));
        TRY_OUT(accept(g));
        if (!g->n_running)
            break;
        TRY_OUT(step(g));
    }
out:
    for (size_t s = 0; s < g->n; s++)
        nn_kv_free(g->kv[s]);
    return status;
}

static enum trawl_status check(const struct lm *lm, const struct lm_tokens *prompts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        enum trawl_status status = lm_check(lm, &prompts[i]);
        if (status != TRAWL_OK)
            return fail_context(status, "prompt %zu", i + 1);
        if (!prompts[i].n)
            return fail(TRAWL_FORMAT, "prompt %zu has no tokens: there is nothing to continue", i + 1);
    }
    return TRAWL_OK;
}

/* How many of the prompts from `first` on make the next group. */
static size_t group_size(const struct lm *lm, const struct lm_tokens *prompts, size_t n, size_t max_tokens)
{
    const struct nn_config *c = lm->config;
    size_t budget = KV_BYTES / (c->L * 2 * c->K * c->D * sizeof(float)), used = 0, size = 0;
    size_t most = lm->batch_tokens < GROUP_MAX ? lm->batch_tokens : GROUP_MAX;
    for (; size < n && size < most; size++) {
        size_t need = prompts[size].n + (max_tokens < c->positions ? max_tokens : c->positions);
        if (size && need > budget - used)
            break;
        used += need < budget - used ? need : budget - used;
    }
    return size;
}

enum trawl_status lm_generate(struct lm *lm, struct lm_continuation *out, const struct lm_tokens *prompts, size_t n,
                              const struct lm_generate_options *options)
{
    enum trawl_status status = TRAWL_OK;
    TRY(check(lm, prompts, n));
    float *last = options->max_tokens ? mem_array(GROUP_MAX * lm->config->C, sizeof *last) : NULL;
    if (!options->max_tokens)
        return TRAWL_OK;
    if (!last)
        return mem_status();
    for (size_t i = 0; i < n;) {
        struct group g = {.lm = lm, .out = out + i, .prompts = prompts + i, .options = options, .last = last};
        g.n = group_size(lm, prompts + i, n - i, options->max_tokens);
        TRY_OUT(run_group(&g));
        i += g.n;
    }
out:
    free(last);
    return status;
}
