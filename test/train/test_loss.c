/* Losses and gradients against test/golden/losses; parameters and shapes are read from the cases' files. */
#include "golden_losses.h"
#include "train/loss.h"

/* s (B,M) at column `at`: the block x (B,D) y (n,D)^T; and what its gradient gives x and y. */
static void block_forward(float *s, size_t M, size_t at, const float *x, const float *y, size_t B, size_t n, size_t D)
{
    for (size_t i = 0; i < B; i++)
        for (size_t j = 0; j < n; j++) {
            double dot = 0.0;
            for (size_t d = 0; d < D; d++)
                dot += (double)x[i * D + d] * (double)y[j * D + d];
            s[i * M + at + j] = (float)dot;
        }
}

static void block_backward(float *dx, float *dy, const float *ds, size_t M, size_t at, const float *x, const float *y,
                           size_t B, size_t n, size_t D)
{
    for (size_t i = 0; i < B; i++)
        for (size_t j = 0; j < n; j++)
            for (size_t d = 0; d < D; d++) {
                dx[i * D + d] += ds[i * M + at + j] * y[j * D + d];
                dy[j * D + d] += ds[i * M + at + j] * x[i * D + d];
            }
}

/* Unit rows of x, or x itself for dot products, with room for the gradient with respect to them. */
struct side {
    struct array raw;
    float *unit, *norms, *d;
};

static struct side side_load(const char *name, bool cosine, size_t dims)
{
    struct side s = {.raw = load(name)};
    if (dims && dims < s.raw.cols) {
        for (size_t b = 0; b < s.raw.rows; b++)
            memmove(s.raw.x + b * dims, s.raw.x + b * s.raw.cols, dims * sizeof *s.raw.x);
        s.raw.cols = dims;
    }
    size_t n = s.raw.rows * s.raw.cols;
    s.unit = calloc(n, sizeof *s.unit);
    s.d = calloc(n, sizeof *s.d);
    s.norms = calloc(s.raw.rows, sizeof *s.norms);
    if (cosine)
        l2_forward(s.unit, s.norms, s.raw.x, s.raw.rows, s.raw.cols);
    else
        memcpy(s.unit, s.raw.x, n * sizeof *s.unit);
    return s;
}

/* Turns the gradient with respect to unit rows into that with respect to the input. */
static float *side_grad(struct side *s, bool cosine)
{
    if (cosine) {
        float *dx = calloc(s->raw.rows * s->raw.cols, sizeof *dx);
        l2_backward(dx, s->d, s->unit, s->norms, s->raw.rows, s->raw.cols);
        memcpy(s->d, dx, s->raw.rows * s->raw.cols * sizeof *dx);
        free(dx);
    }
    return s->d;
}

static void side_free(struct side *s)
{
    free(s->raw.x);
    free(s->unit);
    free(s->d);
    free(s->norms);
}

static void infonce_case(void)
{
    bool cosine = param("cosine") != 0.0, negatives = has("n"), symmetric = strstr(folder, "symmetric") != NULL;
    double flag = 0.0;
    struct side q = side_load("q", cosine, 0), p = side_load("p", cosine, 0), n = {0};
    if (negatives)
        n = side_load("n", cosine, 0);
    size_t B = q.raw.rows, D = q.raw.cols, H = negatives ? n.raw.rows * n.raw.cols / B / D : 0, M = B + B * H;
    if (negatives && n.raw.cols != D) { /* stored (B,H,D): rows of D */
        n.raw.rows = B * H;
        n.raw.cols = D;
        free(n.norms);
        n.norms = calloc(n.raw.rows, sizeof *n.norms);
        if (cosine)
            l2_forward(n.unit, n.norms, n.raw.x, n.raw.rows, D);
    }
    float *s = calloc(B * M, sizeof *s), *ds = calloc(B * M, sizeof *ds);
    uint8_t *hidden = calloc(B * M, 1);
    block_forward(s, M, 0, q.unit, p.unit, B, B, D);
    if (negatives)
        block_forward(s, M, B, q.unit, n.unit, B, B * H, D);
    mask_candidates(hidden, B, H,
                    find_value(&flag, "params.tsv", "own_negs_only") && flag != 0.0 ? CANDIDATES_OWNNEGS
                                                                                    : CANDIDATES_ALLNEGS);
    if (find_value(&flag, "params.tsv", "dup_mask") && flag != 0.0) {
        uint64_t *pos = load_ids("pos_ids"), *neg = load_ids("neg_ids");
        mask_duplicates(hidden, pos, neg, B, H);
        free(pos);
        free(neg);
    }
    check_loss((symmetric ? loss_infonce_symmetric : loss_infonce)(ds, NULL, s, hidden, B, M, param("tau")));
    block_backward(q.d, p.d, ds, M, 0, q.unit, p.unit, B, B, D);
    if (negatives)
        block_backward(q.d, n.d, ds, M, B, q.unit, n.unit, B, B * H, D);
    check_grad("q", side_grad(&q, cosine));
    check_grad("p", side_grad(&p, cosine));
    if (negatives)
        check_grad("n", side_grad(&n, cosine));
    side_free(&q);
    side_free(&p);
    side_free(&n);
    free(s);
    free(ds);
    free(hidden);
}

static void gist_case(void)
{
    struct side q = side_load("q", true, 0), p = side_load("p", true, 0), n = side_load("n", true, 0);
    bool wide = param("use_aa_pp") != 0.0, relative = param("relative") != 0.0;
    size_t B = q.raw.rows, D = q.raw.cols, N = n.raw.rows, at_n = wide ? 3 * B : B, M = at_n + N;
    double margin = param("margin");
    float *s = calloc(B * M, sizeof *s), *ds = calloc(B * M, sizeof *ds), *own = calloc(B, sizeof *own);
    uint8_t *hidden = calloc(B * M, 1);
    struct array ap = load("guide_ap"), aa = load("guide_aa"), pp = load("guide_pp"), an = load("guide_an");
    for (size_t i = 0; i < B; i++)
        own[i] = ap.x[i * B + i];
    block_forward(s, M, 0, q.unit, p.unit, B, B, D);
    mask_guide(hidden, M, ap.x, own, B, B, margin, relative, true);
    if (wide) {
        block_forward(s, M, B, q.unit, q.unit, B, B, D);
        mask_guide(hidden + B, M, aa.x, own, B, B, margin, relative, false);
        block_forward(s, M, 2 * B, p.unit, p.unit, B, B, D);
        mask_guide(hidden + 2 * B, M, pp.x, own, B, B, margin, relative, false);
    }
    block_forward(s, M, at_n, q.unit, n.unit, B, N, D);
    mask_guide(hidden + at_n, M, an.x, own, B, N, margin, relative, false);
    check_loss(loss_infonce(ds, NULL, s, hidden, B, M, param("tau")));
    block_backward(q.d, p.d, ds, M, 0, q.unit, p.unit, B, B, D);
    if (wide) {
        block_backward(q.d, q.d, ds, M, B, q.unit, q.unit, B, B, D);
        block_backward(p.d, p.d, ds, M, 2 * B, p.unit, p.unit, B, B, D);
    }
    block_backward(q.d, n.d, ds, M, at_n, q.unit, n.unit, B, N, D);
    check_grad("q", side_grad(&q, true));
    check_grad("p", side_grad(&p, true));
    check_grad("n", side_grad(&n, true));
    side_free(&q);
    side_free(&p);
    side_free(&n);
    free(ap.x);
    free(aa.x);
    free(pp.x);
    free(an.x);
    free(s);
    free(ds);
    free(own);
    free(hidden);
}

static void list_case(void)
{
    struct array s = load("s"), t = load("t");
    float *ds = calloc(s.rows * s.cols, sizeof *ds);
    if (strncmp(folder, "kl_", 3) == 0)
        check_loss(loss_kl(ds, s.x, t.x, s.rows, s.cols, param("temperature"), strncmp(folder, "kl_reverse", 10) == 0));
    else
        check_loss(loss_margin_mse(ds, s.x, t.x, s.rows, s.cols));
    check_grad("s", ds);
    free(s.x);
    free(t.x);
    free(ds);
}

static void cosent_case(void)
{
    struct side x = side_load("x", true, 0), y = side_load("y", true, 0);
    struct array labels = load("labels");
    size_t n = x.raw.rows, D = x.raw.cols;
    float *s = calloc(n, sizeof *s), *ds = calloc(n, sizeof *ds);
    for (size_t i = 0; i < n; i++)
        block_forward(s + i, 1, 0, x.unit + i * D, y.unit + i * D, 1, 1, D);
    check_loss(loss_cosent(ds, s, labels.x, n, param("scale")));
    for (size_t i = 0; i < n; i++)
        block_backward(x.d + i * D, y.d + i * D, ds + i, 1, 0, x.unit + i * D, y.unit + i * D, 1, 1, D);
    check_grad("x", side_grad(&x, true));
    check_grad("y", side_grad(&y, true));
    side_free(&x);
    side_free(&y);
    free(labels.x);
    free(s);
    free(ds);
}

static void matryoshka_case(void)
{
    struct array dims = load("dims"), q0 = load("q"), p0 = load("p");
    size_t B = q0.rows, D = q0.cols;
    float *dq = calloc(B * D, sizeof *dq), *dp = calloc(B * D, sizeof *dp), *s = calloc(B * B, sizeof *s),
          *ds = calloc(B * B, sizeof *ds);
    double loss = 0.0;
    for (size_t k = 0; k < dims.rows; k++) {
        size_t n = (size_t)dims.x[k];
        char name[32];
        snprintf(name, sizeof name, "weight_%zu", n);
        float weight = (float)param(name);
        struct side q = side_load("q", true, n), p = side_load("p", true, n);
        block_forward(s, B, 0, q.unit, p.unit, B, B, n);
        loss += (double)weight * loss_infonce(ds, NULL, s, NULL, B, B, param("tau"));
        block_backward(q.d, p.d, ds, B, 0, q.unit, p.unit, B, B, n);
        const float *gq = side_grad(&q, true), *gp = side_grad(&p, true);
        for (size_t i = 0; i < B; i++)
            for (size_t d = 0; d < n; d++) {
                dq[i * D + d] += weight * gq[i * n + d];
                dp[i * D + d] += weight * gp[i * n + d];
            }
        side_free(&q);
        side_free(&p);
    }
    check_loss(loss);
    check_grad("q", dq);
    check_grad("p", dp);
    free(dims.x);
    free(q0.x);
    free(p0.x);
    free(dq);
    free(dp);
    free(s);
    free(ds);
}

static void infonce(void **state)
{
    (void)state;
    each_case("infonce_", infonce_case);
}

static void gist(void **state)
{
    (void)state;
    each_case("gist_", gist_case);
}

static void margin_mse(void **state)
{
    (void)state;
    each_case("margin_mse", list_case);
}

static void kl(void **state)
{
    (void)state;
    each_case("kl_", list_case);
}

static void cosent(void **state)
{
    (void)state;
    each_case("cosent", cosent_case);
}

static void matryoshka(void **state)
{
    (void)state;
    each_case("matryoshka", matryoshka_case);
}

/* The gradient of log tau by central differences of the loss itself. */
static void temperature_gradient(void **state)
{
    float s[12], ds[12];
    double d = 0.0, h = 1e-5;
    (void)state;
    for (int i = 0; i < 12; i++)
        s[i] = sinf(1.0f + 1.7f * (float)i);
    loss_infonce_symmetric(ds, &d, s, NULL, 3, 4, 0.3);
    double up = loss_infonce_symmetric(ds, NULL, s, NULL, 3, 4, 0.3 * exp(h)),
           down = loss_infonce_symmetric(ds, NULL, s, NULL, 3, 4, 0.3 * exp(-h));
    assert_true(fabs((up - down) / (2.0 * h) - d) < 1e-7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(infonce),
        cmocka_unit_test(gist),
        cmocka_unit_test(margin_mse),
        cmocka_unit_test(kl),
        cmocka_unit_test(cosent),
        cmocka_unit_test(matryoshka),
        cmocka_unit_test(temperature_gradient),
    };
    return cmocka_run_group_tests_name("losses", tests, NULL, NULL);
}
