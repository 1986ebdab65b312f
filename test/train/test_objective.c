/* Objectives from embeddings to the gradient of embeddings, against test/golden/losses. */
#include "golden_losses.h"
#include "train/objective.h"

static struct objective_options options_of(const char *text)
{
    struct objective_options o = objective_defaults();
    assert_int_equal(objective_parse(&o, text), TRAWL_OK);
    return o;
}

/* A batch whose embeddings are the case's; gradients have room. */
struct loaded {
    struct objective_batch b;
    struct array q, p, n;
    uint64_t *ids[2];
};

static struct loaded load_batch(bool negatives, const char *query_name, const char *positive_name)
{
    struct loaded l = {.q = load(query_name), .p = load(positive_name)};
    if (negatives)
        l.n = load("n");
    l.b = (struct objective_batch){.B = l.q.rows, .D = l.q.cols, .q = l.q.x, .p = l.p.x, .n = l.n.x};
    if (negatives)
        l.b.H = l.n.rows * l.n.cols / l.b.B / l.b.D;
    l.b.dq = calloc(l.b.B * l.b.D, sizeof(float));
    l.b.dp = calloc(l.b.B * l.b.D, sizeof(float));
    l.b.dn = calloc(l.b.B * l.b.H * l.b.D + 1, sizeof(float));
    return l;
}

static void unload(struct loaded *l)
{
    free(l->q.x);
    free(l->p.x);
    free(l->n.x);
    free(l->b.dq);
    free(l->b.dp);
    free(l->b.dn);
    free(l->ids[0]);
    free(l->ids[1]);
}

static void run(struct loaded *l, const struct objective_options *o, double tau)
{
    struct objective_work *work;
    double loss = 0.0;
    assert_int_equal(objective_work_new(&work, o, l->b.B, l->b.H, l->b.D), TRAWL_OK);
    for (int again = 0; again < 2; again++) /* nothing is left over from the first step */
        assert_int_equal(objective_step(work, &loss, NULL, &l->b, tau), TRAWL_OK);
    check_loss(loss);
    objective_work_free(work);
}

static bool flag(const char *name)
{
    double value = 0.0;
    return find_value(&value, "params.tsv", name) && value != 0.0;
}

static void infonce_case(void)
{
    struct loaded l = load_batch(has("n"), "q", "p");
    struct objective_options o = options_of("infonce");
    o.dot = !flag("cosine");
    o.symmetric = strstr(folder, "symmetric") != NULL;
    o.candidates = flag("own_negs_only") ? CANDIDATES_OWNNEGS : CANDIDATES_ALLNEGS;
    if (flag("dup_mask")) {
        l.b.positive_text = l.ids[0] = load_ids("pos_ids");
        l.b.negative_text = l.ids[1] = load_ids("neg_ids");
    }
    run(&l, &o, param("tau"));
    check_grad("q", l.b.dq);
    check_grad("p", l.b.dp);
    if (l.b.H)
        check_grad("n", l.b.dn);
    unload(&l);
}

static void gist_case(void)
{
    struct loaded l = load_batch(true, "q", "p");
    struct objective_options o = options_of("gist");
    struct array ap = load("guide_ap"), aa = load("guide_aa"), pp = load("guide_pp"), an = load("guide_an");
    o.wide = flag("use_aa_pp");
    o.margin = param("margin");
    o.margin_relative = flag("relative");
    l.b.guide_qp = ap.x;
    l.b.guide_qq = aa.x;
    l.b.guide_pp = pp.x;
    l.b.guide_qn = an.x;
    run(&l, &o, param("tau"));
    check_grad("q", l.b.dq);
    check_grad("p", l.b.dp);
    check_grad("n", l.b.dn);
    free(ap.x);
    free(aa.x);
    free(pp.x);
    free(an.x);
    unload(&l);
}

static void cosent_case(void)
{
    struct loaded l = load_batch(false, "x", "y");
    struct objective_options o = options_of("cosent");
    struct array labels = load("labels");
    o.scale = param("scale");
    l.b.labels = labels.x;
    run(&l, &o, 1.0);
    check_grad("x", l.b.dq);
    check_grad("y", l.b.dp);
    free(labels.x);
    unload(&l);
}

static void matryoshka_case(void)
{
    struct loaded l = load_batch(false, "q", "p");
    struct objective_options o = options_of("infonce");
    struct array dims = load("dims");
    o.n_dims = dims.rows;
    for (size_t k = 0; k < dims.rows; k++) {
        char name[32];
        o.dims[k] = (size_t)dims.x[k];
        snprintf(name, sizeof name, "weight_%zu", o.dims[k]);
        o.dims_weight[k] = param(name);
    }
    run(&l, &o, param("tau"));
    check_grad("q", l.b.dq);
    check_grad("p", l.b.dp);
    free(dims.x);
    unload(&l);
}

/*
 * Scores as dot products: with queries of length one in one dimension and the scores as documents' embeddings, the
 * gradient of a document is that of its score.
 */
static void list_case(void)
{
    struct array s = load("s"), t = load("t");
    size_t B = s.rows, H = s.cols - 1;
    struct objective_options o = options_of(strncmp(folder, "kl_", 3) == 0 ? "kl" : "margin-mse");
    struct loaded l = {.b = {.B = B, .H = H, .D = 1, .scores = t.x}};
    float *q = calloc(B, sizeof *q), *p = calloc(B, sizeof *p), *n = calloc(B * H, sizeof *n);
    o.dot = true;
    o.reverse = strncmp(folder, "kl_reverse", 10) == 0;
    if (strncmp(folder, "kl_", 3) == 0)
        o.temperature = param("temperature");
    for (size_t i = 0; i < B; i++) {
        q[i] = 1.0f;
        p[i] = s.x[i * s.cols];
        memcpy(n + i * H, s.x + i * s.cols + 1, H * sizeof *n);
    }
    l.q.x = q, l.p.x = p, l.n.x = n;
    l.b.q = q, l.b.p = p, l.b.n = n;
    l.b.dq = calloc(B, sizeof(float));
    l.b.dp = calloc(B, sizeof(float));
    l.b.dn = calloc(B * H, sizeof(float));
    run(&l, &o, 1.0);
    for (size_t i = 0; i < B; i++) { /* in the order of s */
        s.x[i * s.cols] = l.b.dp[i];
        memcpy(s.x + i * s.cols + 1, l.b.dn + i * H, H * sizeof *n);
    }
    check_grad("s", s.x);
    free(s.x);
    free(t.x);
    unload(&l);
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

static void lists(void **state)
{
    (void)state;
    each_case("margin_mse", list_case);
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

/* ---- what no reference file has: every option's gradient by central differences ---- */

enum { B = 5, H = 2, D = 12 };
struct random_batch {
    float q[B * D], p[B * D], n[B * H * D], dq[B * D], dp[B * D], dn[B * H * D], scores[B * (1 + H)], labels[B];
    float qp[B * B], qq[B * B], pp[B * B], qn[B * B * H];
    uint8_t absent[B * H];
};

static void fill(float *x, size_t n, float phase)
{
    for (size_t i = 0; i < n; i++)
        x[i] = sinf(phase + 1.7f * (float)i + 0.03f * (float)(i * i));
}

static struct objective_batch random_batch(struct random_batch *r)
{
    memset(r->absent, 0, sizeof r->absent);
    fill(r->q, B * D, 0.1f);
    fill(r->p, B * D, 0.7f);
    fill(r->n, B * H * D, 1.9f);
    fill(r->scores, B * (1 + H), 2.0f);
    fill(r->labels, B, 0.5f);
    fill(r->qp, B * B, 0.2f);
    fill(r->qq, B * B, 0.3f);
    fill(r->pp, B * B, 0.4f);
    fill(r->qn, B * B * H, 0.6f);
    return (struct objective_batch){.B = B,
                                    .H = H,
                                    .D = D,
                                    .q = r->q,
                                    .p = r->p,
                                    .n = r->n,
                                    .dq = r->dq,
                                    .dp = r->dp,
                                    .dn = r->dn,
                                    .scores = r->scores,
                                    .labels = r->labels,
                                    .guide_qp = r->qp,
                                    .guide_qq = r->qq,
                                    .guide_pp = r->pp,
                                    .guide_qn = r->qn};
}

static void check_differences(const struct objective_options *o, struct random_batch *r,
                              const struct objective_batch *b)
{
    struct objective_work *work;
    double loss, up, down, d_tau, tau = 0.7;
    float *inputs[] = {r->q, r->p, r->n}, *grads[] = {r->dq, r->dp, r->dn}, kept[3][B * H * D];
    size_t sizes[] = {B * D, B * D, B * H * D};
    assert_int_equal(objective_work_new(&work, o, B, H, D), TRAWL_OK);
    assert_int_equal(objective_step(work, &loss, &d_tau, b, tau), TRAWL_OK);
    for (int k = 0; k < 3; k++)
        memcpy(kept[k], grads[k], sizes[k] * sizeof(float));
    for (int k = 0; k < 3; k++)
        for (size_t i = 0; i < sizes[k]; i += 3) {
            const float h = 4e-3f, x = inputs[k][i], high = x + h, low = x - h;
            inputs[k][i] = high;
            assert_int_equal(objective_step(work, &up, NULL, b, tau), TRAWL_OK);
            inputs[k][i] = low;
            assert_int_equal(objective_step(work, &down, NULL, b, tau), TRAWL_OK);
            inputs[k][i] = x;
            double wanted = (up - down) / ((double)high - (double)low);
            if (!(fabs(wanted - (double)kept[k][i]) < 2e-3 * (1.0 + fabs(wanted))))
                fail_msg("input %d, entry %zu: %g, by differences %g", k, i, (double)kept[k][i], wanted);
        }
    assert_int_equal(objective_step(work, &up, NULL, b, tau * exp(1e-3)), TRAWL_OK);
    assert_int_equal(objective_step(work, &down, NULL, b, tau * exp(-1e-3)), TRAWL_OK);
    assert_true(fabs((up - down) / 2e-3 - d_tau) < 1e-4 * (1.0 + fabs(d_tau)));
    objective_work_free(work);
}

static void differences(void **state)
{
    static const char *const names[] = {"infonce", "gist", "margin-mse", "kl", "cosent", "infonce+0.5*kl+2*margin-mse"};
    static const enum candidates candidates[] = {CANDIDATES_OWN, CANDIDATES_INBATCH, CANDIDATES_OWNNEGS,
                                                 CANDIDATES_ALLNEGS};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (int variant = 0; variant < 8; variant++) {
            struct random_batch r;
            struct objective_batch b = random_batch(&r);
            struct objective_options o = options_of(names[i]);
            o.dot = variant & 1;
            o.symmetric = variant & 2;
            o.wide = variant & 2;
            o.scale = 2.0;
            o.candidates = candidates[variant / 2];
            if (variant & 4) {
                o.n_dims = 2;
                o.dims[0] = 5, o.dims[1] = D;
                o.dims_weight[0] = 0.25, o.dims_weight[1] = 1.5;
            }
            check_differences(&o, &r, &b);
        }
}

/* A negative that is not there gets no gradient and is nobody's candidate, whatever lies in its row. */
static void absent_negatives(void **state)
{
    struct random_batch r;
    struct objective_batch b = random_batch(&r);
    struct objective_options o = options_of("infonce");
    struct objective_work *work;
    double with, without;
    (void)state;
    o.candidates = CANDIDATES_ALLNEGS;
    b.absent = r.absent;
    r.absent[3] = 1;
    assert_int_equal(objective_work_new(&work, &o, B, H, D), TRAWL_OK);
    assert_int_equal(objective_step(work, &with, NULL, &b, 0.1), TRAWL_OK);
    for (size_t d = 0; d < D; d++) {
        assert_true(r.dn[3 * D + d] == 0.0f);
        r.n[3 * D + d] = NAN;
    }
    assert_int_equal(objective_step(work, &without, NULL, &b, 0.1), TRAWL_OK);
    assert_true(with == without);
    objective_work_free(work);
}

static void what_is_missing_is_named(void **state)
{
    static const char *const cases[][2] = {
        {"kl", "scores"}, {"margin-mse", "scores"}, {"cosent", "grades"}, {"gist", "guide"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct random_batch r;
        struct objective_batch b = random_batch(&r);
        struct objective_options o = options_of(cases[i][0]);
        struct objective_work *work;
        double loss;
        b.scores = b.labels = b.guide_qp = NULL;
        assert_int_equal(objective_work_new(&work, &o, B, H, D), TRAWL_OK);
        assert_int_equal(objective_step(work, &loss, NULL, &b, 1.0), TRAWL_USAGE);
        assert_non_null(strstr(trawl_message(), cases[i][1]));
        objective_work_free(work);
    }
}

static void unknown_objectives_are_refused(void **state)
{
    static const char *const cases[] = {"", "infonc", "infonce+", "infonce+x*kl", "-1*kl", "nan*kl", "kl+kl+kl+kl+kl"};
    struct objective_options o = objective_defaults();
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(objective_parse(&o, cases[i]), TRAWL_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(infonce),
        cmocka_unit_test(gist),
        cmocka_unit_test(lists),
        cmocka_unit_test(cosent),
        cmocka_unit_test(matryoshka),
        cmocka_unit_test(differences),
        cmocka_unit_test(absent_negatives),
        cmocka_unit_test(what_is_missing_is_named),
        cmocka_unit_test(unknown_objectives_are_refused),
    };
    return cmocka_run_group_tests_name("objectives", tests, NULL, NULL);
}
