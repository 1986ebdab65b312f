/*
 * A step goes: for every prefix of dimensions, cut and normalise the rows; every term adds its gradient with respect to
 * those rows; back through the normalisation; added to the batch's gradient with the prefix's weight.
 */
#include "objective.h"
#include "base/mem.h"
#include "base/pool.h"
#include "math/dot.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The rows of one side as the terms see them: cut, perhaps of unit length, with room for their gradient. */
struct rows {
    float *x, *norms, *d; /* (n,D), (n), (n,D) */
    size_t n;
};

struct objective_work {
    struct objective_options o;
    size_t B, H, D; /* room */
    struct rows q, p, n;
    float *s, *ds;       /* (B, columns) */
    uint8_t *hidden;     /* (B, columns) */
    float *list, *dlist; /* (B, 1+H) */
    float *own;          /* (B) the guide's similarity to the positive */
    float *dx;           /* (rows, D) gradient behind the normalisation */
};

struct objective {
    const char *name, *help;
    unsigned needs;
    /* Adds its gradient, times weight, to work->q.d, p.d, n.d; returns the loss. */
    double (*step)(struct objective_work *w, double *dlog_tau, const struct objective_batch *b, double tau,
                   double weight);
};

/* ---- products of rows ---- */

struct product {
    float *out; /* scores (x->n, M) from column `at`, or gradient rows */
    size_t M, at, n, D;
    const float *x, *y, *ds;
    bool transposed;
};

static void product_rows(void *ctx, size_t begin, size_t end, size_t worker)
{
    const struct product *p = ctx;
    (void)worker;
    for (size_t i = begin; i < end; i++)
        dot_kernels()->f32(p->out + i * p->M + p->at, p->y, p->n, p->x + i * p->D, 1, p->D, false);
}

/* s (B,M) at column `at` = x (B,D) y (n,D)^T */
static void product_forward(float *s, size_t M, size_t at, const float *x, size_t B, const float *y, size_t n, size_t D)
{
    struct product p = {.out = s, .M = M, .at = at, .n = n, .D = D, .x = x, .y = y};
    pool_run(B, 4, product_rows, &p);
}

static void product_grad_rows(void *ctx, size_t begin, size_t end, size_t worker)
{
    const struct product *p = ctx;
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        float *restrict out = p->out + i * p->D;
        for (size_t j = 0; j < p->n; j++) {
            float d = p->transposed ? p->ds[j * p->M + p->at + i] : p->ds[i * p->M + p->at + j];
            const float *restrict y = p->y + j * p->D;
            if (d == 0.0f) /* most of what is hidden */
                continue;
            for (size_t c = 0; c < p->D; c++)
                out[c] += d * y[c];
        }
    }
}

/* dx (B,D) += ds y, dy (n,D) += ds^T x */
static void product_backward(float *dx, float *dy, const float *ds, size_t M, size_t at, const float *x, size_t B,
                             const float *y, size_t n, size_t D)
{
    struct product p = {.out = dx, .M = M, .at = at, .n = n, .D = D, .y = y, .ds = ds};
    pool_run(B, 4, product_grad_rows, &p);
    p = (struct product){.out = dy, .M = M, .at = at, .n = B, .D = D, .y = x, .ds = ds, .transposed = true};
    pool_run(n, 4, product_grad_rows, &p);
}

static void scale_by(float *x, size_t n, double factor)
{
    for (size_t i = 0; factor != 1.0 && i < n; i++)
        x[i] = (float)((double)x[i] * factor);
}

/* ---- the objectives ---- */

static void hide_absent(uint8_t *hidden, const struct objective_batch *b, size_t M, size_t at)
{
    for (size_t i = 0; b->absent && i < b->B; i++)
        for (size_t j = 0; j < b->B * b->H; j++)
            hidden[i * M + at + j] |= b->absent[j];
}

static void hide_duplicates(uint8_t *hidden, const struct objective_batch *b)
{
    if (b->positive_text)
        mask_duplicates(hidden, b->positive_text, b->negative_text, b->B, b->H);
    if (b->positive_id)
        mask_duplicates(hidden, b->positive_id, b->negative_id, b->B, b->H);
}

static double infonce_step(struct objective_work *w, double *dlog_tau, const struct objective_batch *b, double tau,
                           double weight)
{
    size_t B = b->B, N = B * b->H, M = B + N;
    double d = 0.0;
    product_forward(w->s, M, 0, w->q.x, B, w->p.x, B, b->D);
    product_forward(w->s, M, B, w->q.x, B, w->n.x, N, b->D);
    mask_candidates(w->hidden, B, b->H, w->o.candidates);
    hide_duplicates(w->hidden, b);
    hide_absent(w->hidden, b, M, B);
    double loss = (w->o.symmetric ? loss_infonce_symmetric : loss_infonce)(w->ds, &d, w->s, w->hidden, B, M, tau);
    scale_by(w->ds, B * M, weight);
    product_backward(w->q.d, w->p.d, w->ds, M, 0, w->q.x, B, w->p.x, B, b->D);
    product_backward(w->q.d, w->n.d, w->ds, M, B, w->q.x, B, w->n.x, N, b->D);
    *dlog_tau += weight * d;
    return loss;
}

/* Columns: positives, with `wide` queries and positives again, negatives; all of every query are candidates. */
static double gist_step(struct objective_work *w, double *dlog_tau, const struct objective_batch *b, double tau,
                        double weight)
{
    size_t B = b->B, N = B * b->H, at = w->o.wide ? 3 * B : B, M = at + N, D = b->D;
    double d = 0.0, margin = w->o.margin;
    bool relative = w->o.margin_relative;
    memset(w->hidden, 0, B * M);
    for (size_t i = 0; i < B; i++)
        w->own[i] = b->guide_qp[i * B + i];
    product_forward(w->s, M, 0, w->q.x, B, w->p.x, B, D);
    mask_guide(w->hidden, M, b->guide_qp, w->own, B, B, margin, relative, true);
    if (w->o.wide) {
        product_forward(w->s, M, B, w->q.x, B, w->q.x, B, D);
        product_forward(w->s, M, 2 * B, w->p.x, B, w->p.x, B, D);
        mask_guide(w->hidden + B, M, b->guide_qq, w->own, B, B, margin, relative, false);
        mask_guide(w->hidden + 2 * B, M, b->guide_pp, w->own, B, B, margin, relative, false);
    }
    product_forward(w->s, M, at, w->q.x, B, w->n.x, N, D);
    if (N)
        mask_guide(w->hidden + at, M, b->guide_qn, w->own, B, N, margin, relative, false);
    hide_absent(w->hidden, b, M, at);
    double loss = loss_infonce(w->ds, &d, w->s, w->hidden, B, M, tau);
    scale_by(w->ds, B * M, weight);
    product_backward(w->q.d, w->p.d, w->ds, M, 0, w->q.x, B, w->p.x, B, D);
    if (w->o.wide) {
        product_backward(w->q.d, w->q.d, w->ds, M, B, w->q.x, B, w->q.x, B, D);
        product_backward(w->p.d, w->p.d, w->ds, M, 2 * B, w->p.x, B, w->p.x, B, D);
    }
    product_backward(w->q.d, w->n.d, w->ds, M, at, w->q.x, B, w->n.x, N, D);
    *dlog_tau += weight * d;
    return loss;
}

/* list (B,1+H): each query's scores of its own positive and negatives. */
static void lists_forward(struct objective_work *w, const struct objective_batch *b)
{
    size_t L = 1 + b->H, D = b->D;
    for (size_t i = 0; i < b->B; i++) {
        dot_kernels()->f32(w->list + i * L, w->p.x + i * D, 1, w->q.x + i * D, 1, D, false);
        dot_kernels()->f32(w->list + i * L + 1, w->n.x + i * b->H * D, b->H, w->q.x + i * D, 1, D, false);
    }
}

static void lists_backward(struct objective_work *w, const struct objective_batch *b, double weight)
{
    size_t H = b->H, L = 1 + H, D = b->D;
    scale_by(w->dlist, b->B * L, weight);
    for (size_t i = 0; i < b->B; i++) {
        float *dq = w->q.d + i * D;
        const float *ds = w->dlist + i * L, *q = w->q.x + i * D;
        product_backward(dq, w->p.d + i * D, ds, L, 0, q, 1, w->p.x + i * D, 1, D);
        product_backward(dq, w->n.d + i * H * D, ds, L, 1, q, 1, w->n.x + i * H * D, H, D);
    }
}

static double margin_mse_step(struct objective_work *w, double *dlog_tau, const struct objective_batch *b, double tau,
                              double weight)
{
    (void)dlog_tau, (void)tau;
    lists_forward(w, b);
    double loss = loss_margin_mse(w->dlist, w->list, b->scores, b->B, 1 + b->H);
    lists_backward(w, b, weight);
    return loss;
}

static double kl_step(struct objective_work *w, double *dlog_tau, const struct objective_batch *b, double tau,
                      double weight)
{
    (void)dlog_tau, (void)tau;
    lists_forward(w, b);
    double loss = loss_kl(w->dlist, w->list, b->scores, b->B, 1 + b->H, w->o.temperature, w->o.reverse);
    lists_backward(w, b, weight);
    return loss;
}

static double cosent_step(struct objective_work *w, double *dlog_tau, const struct objective_batch *b, double tau,
                          double weight)
{
    size_t D = b->D;
    (void)dlog_tau, (void)tau;
    for (size_t i = 0; i < b->B; i++)
        dot_kernels()->f32(w->list + i, w->p.x + i * D, 1, w->q.x + i * D, 1, D, false);
    double loss = loss_cosent(w->dlist, w->list, b->labels, b->B, w->o.scale);
    scale_by(w->dlist, b->B, weight);
    for (size_t i = 0; i < b->B; i++)
        product_backward(w->q.d + i * D, w->p.d + i * D, w->dlist + i, 1, 0, w->q.x + i * D, 1, w->p.x + i * D, 1, D);
    return loss;
}

static const struct objective objectives[] = {
    {"infonce", "the positive among positives and negatives of the batch", 0, infonce_step},
    {"gist", "InfoNCE without the candidates that a guide model takes for positives", OBJECTIVE_GUIDE, gist_step},
    {"margin-mse", "a teacher's distances between positive and negatives", OBJECTIVE_NEGATIVES | OBJECTIVE_SCORES,
     margin_mse_step},
    {"kl", "a teacher's distribution over positive and negatives", OBJECTIVE_NEGATIVES | OBJECTIVE_SCORES, kl_step},
    {"cosent", "the order of graded pairs", OBJECTIVE_LABELS, cosent_step},
};
enum { N_OBJECTIVES = sizeof objectives / sizeof *objectives };

/* ---- options ---- */

const char *objective_name(size_t i, const char **help)
{
    if (i >= N_OBJECTIVES)
        return NULL;
    *help = objectives[i].help;
    return objectives[i].name;
}

struct objective_options objective_defaults(void)
{
    struct objective_options o = {.n_terms = 1, .candidates = CANDIDATES_OWNNEGS, .temperature = 1.0, .scale = 20.0};
    o.terms[0].objective = &objectives[0];
    o.terms[0].weight = 1.0;
    return o;
}

static const struct objective *find_objective(const char *name, size_t n)
{
    for (size_t i = 0; i < N_OBJECTIVES; i++)
        if (strlen(objectives[i].name) == n && !memcmp(objectives[i].name, name, n))
            return &objectives[i];
    return NULL;
}

enum trawl_status objective_parse(struct objective_options *options, const char *text)
{
    const char *at = text;
    options->n_terms = 0;
    do {
        struct objective_term term = {.weight = 1.0};
        size_t n = strcspn(at, "+");
        const char *star = memchr(at, '*', n), *name = star ? star + 1 : at;
        if (star) {
            char *end;
            term.weight = strtod(at, &end);
            if (end != star || !(term.weight > 0.0) || !isfinite(term.weight))
                return fail(TRAWL_USAGE, "'%.*s' is no weight in objective '%s'", (int)(star - at), at, text);
        }
        term.objective = find_objective(name, n - (size_t)(name - at));
        if (!term.objective)
            return fail(TRAWL_USAGE, "unknown objective '%.*s' (infonce, gist, margin-mse, kl, cosent)",
                        (int)(n - (size_t)(name - at)), name);
        if (options->n_terms == OBJECTIVE_TERMS_MAX)
            return fail(TRAWL_USAGE, "objective '%s' has more than %d terms", text, OBJECTIVE_TERMS_MAX);
        options->terms[options->n_terms++] = term;
        at += n;
    } while (*at++ == '+');
    return TRAWL_OK;
}

unsigned objective_needs(const struct objective_options *options)
{
    unsigned needs = 0;
    for (size_t i = 0; i < options->n_terms; i++)
        needs |= options->terms[i].objective->needs;
    return needs;
}

/* ---- memory ---- */

static enum trawl_status rows_make(struct rows *r, size_t n, size_t D)
{
    r->x = mem_aligned(n * D, sizeof *r->x);
    r->d = mem_aligned(n * D, sizeof *r->d);
    r->norms = mem_array(n, sizeof *r->norms);
    return r->x && r->d && r->norms ? TRAWL_OK : mem_status();
}

static void rows_release(struct rows *r)
{
    free(r->x);
    free(r->d);
    free(r->norms);
}

static enum trawl_status work_make(struct objective_work *w)
{
    size_t B = w->B, N, columns, entries, values;
    bool over = __builtin_mul_overflow(B, w->H, &N) || __builtin_add_overflow(N, 3 * B, &columns) ||
                __builtin_mul_overflow(columns, B, &entries) || __builtin_mul_overflow(columns, w->D, &values) ||
                entries > SIZE_MAX / sizeof(float) || values > SIZE_MAX / sizeof(float) || B > SIZE_MAX / 8;
    if (over)
        return fail(TRAWL_LIMIT, "a batch of %zu queries with %zu negatives each is too large", B, w->H);
    TRY(rows_make(&w->q, B, w->D));
    TRY(rows_make(&w->p, B, w->D));
    TRY(rows_make(&w->n, N, w->D));
    w->s = mem_aligned(entries, sizeof *w->s);
    w->ds = mem_aligned(entries, sizeof *w->ds);
    w->hidden = mem_array(entries, 1);
    w->list = mem_array(B + N, sizeof *w->list);
    w->dlist = mem_array(B + N, sizeof *w->dlist);
    w->own = mem_array(B, sizeof *w->own);
    w->dx = mem_aligned((N > B ? N : B) * w->D, sizeof *w->dx);
    bool whole = w->s && w->ds && w->hidden && w->list && w->dlist && w->own && w->dx;
    return whole ? TRAWL_OK : mem_status();
}

enum trawl_status objective_work_new(struct objective_work **work, const struct objective_options *options, size_t B,
                                     size_t H, size_t D)
{
    struct objective_work *w = mem_array(1, sizeof *w);
    *work = NULL;
    if (!w)
        return mem_status();
    *w = (struct objective_work){.o = *options, .B = B, .H = H, .D = D};
    enum trawl_status status = work_make(w);
    if (status == TRAWL_OK)
        *work = w;
    else
        objective_work_free(w);
    return status;
}

void objective_work_free(struct objective_work *w)
{
    if (!w)
        return;
    rows_release(&w->q);
    rows_release(&w->p);
    rows_release(&w->n);
    free(w->s);
    free(w->ds);
    free(w->hidden);
    free(w->list);
    free(w->dlist);
    free(w->own);
    free(w->dx);
    free(w);
}

/* ---- the step ---- */

/* The first k components of rows (n,D), of unit length unless `dot`. `absent` rows are not read. */
static void rows_load(struct rows *r, const float *x, const uint8_t *absent, size_t n, size_t D, size_t k, bool dot)
{
    r->n = n;
    for (size_t i = 0; i < n; i++)
        if (absent && absent[i])
            memset(r->x + i * k, 0, k * sizeof *r->x);
        else
            memcpy(r->x + i * k, x + i * D, k * sizeof *r->x);
    memset(r->d, 0, n * k * sizeof *r->d);
    if (!dot)
        l2_forward(r->x, r->norms, r->x, n, k);
}

/* dx (n,D) += weight times the gradient before the normalisation. */
static void rows_store(float *dx, float *scratch, const struct rows *r, size_t D, size_t k, bool dot, double weight)
{
    const float *d = r->d;
    if (!dot) {
        l2_backward(scratch, r->d, r->x, r->norms, r->n, k);
        d = scratch;
    }
    for (size_t i = 0; i < r->n; i++)
        for (size_t c = 0; c < k; c++)
            dx[i * D + c] += (float)(weight * (double)d[i * k + c]);
}

static enum trawl_status check_batch(const struct objective_work *w, const struct objective_batch *b)
{
    unsigned needs = objective_needs(&w->o);
    size_t N = b->B * b->H;
    if (!b->B || b->B > w->B || b->H > w->H || b->D > w->D)
        return fail(TRAWL_LIMIT,
                    "a batch of %zu queries with %zu negatives of %zu dimensions, there is room for %zu, %zu and %zu",
                    b->B, b->H, b->D, w->B, w->H, w->D);
    if ((needs & OBJECTIVE_NEGATIVES) && (!N || (b->absent && memchr(b->absent, 1, N))))
        return fail(TRAWL_USAGE, "the objective needs negatives, and the batch lacks some");
    if ((needs & OBJECTIVE_SCORES) && !b->scores)
        return fail(TRAWL_USAGE, "the objective needs a teacher's scores, and the batch has none");
    if ((needs & OBJECTIVE_LABELS) && !b->labels)
        return fail(TRAWL_USAGE, "the objective needs graded pairs, and the batch has no grades");
    bool guided = b->guide_qp && (b->guide_qn || !N) && (!w->o.wide || (b->guide_qq && b->guide_pp));
    if ((needs & OBJECTIVE_GUIDE) && !guided)
        return fail(TRAWL_USAGE, "the objective needs a guide model, and the batch has no similarities of one");
    for (size_t k = 0; k < w->o.n_dims; k++)
        if (!w->o.dims[k] || w->o.dims[k] > b->D)
            return fail(TRAWL_USAGE, "a prefix of %zu dimensions, the embeddings have %zu", w->o.dims[k], b->D);
    return TRAWL_OK;
}

static double prefix_step(struct objective_work *w, double *dlog_tau, const struct objective_batch *whole, size_t k,
                          double tau, double weight)
{
    struct objective_batch b = *whole;
    double loss = 0.0, d = 0.0;
    bool dot = w->o.dot;
    rows_load(&w->q, b.q, NULL, b.B, b.D, k, dot);
    rows_load(&w->p, b.p, NULL, b.B, b.D, k, dot);
    rows_load(&w->n, b.n, b.absent, b.B * b.H, b.D, k, dot);
    b.D = k;
    for (size_t i = 0; i < w->o.n_terms; i++) {
        const struct objective_term *term = &w->o.terms[i];
        loss += term->weight * term->objective->step(w, &d, &b, tau, term->weight);
    }
    rows_store(b.dq, w->dx, &w->q, whole->D, k, dot, weight);
    rows_store(b.dp, w->dx, &w->p, whole->D, k, dot, weight);
    rows_store(b.dn, w->dx, &w->n, whole->D, k, dot, weight);
    *dlog_tau += weight * d;
    return weight * loss;
}

enum trawl_status objective_step(struct objective_work *work, double *loss, double *dlog_tau,
                                 const struct objective_batch *batch, double tau)
{
    double d = 0.0;
    size_t n = batch->B * batch->D;
    TRY(check_batch(work, batch));
    memset(batch->dq, 0, n * sizeof *batch->dq);
    memset(batch->dp, 0, n * sizeof *batch->dp);
    if (batch->H)
        memset(batch->dn, 0, n * batch->H * sizeof *batch->dn);
    *loss = work->o.n_dims ? 0.0 : prefix_step(work, &d, batch, batch->D, tau, 1.0);
    for (size_t k = 0; k < work->o.n_dims; k++)
        *loss += prefix_step(work, &d, batch, work->o.dims[k], tau, work->o.dims_weight[k]);
    if (dlog_tau)
        *dlog_tau = d;
    return TRAWL_OK;
}
