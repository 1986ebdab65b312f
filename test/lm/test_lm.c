/* Scoring and generation on the small random models of golden/tiny, whose logits were computed in float64. */
#include "../golden.h"
#include "base/mem.h"
#include "base/pool.h"
#include "data/vectors.h"
#include "lm/lm.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static const char *const archs[] = {"llama", "llama3", "mistral", "qwen2", "qwen3", "gemma3_text"};
enum { N_ARCHS = sizeof archs / sizeof *archs, N_SEQS = 3 };

static struct lm *open_lm(const char *arch, size_t batch_tokens)
{
    char path[4096], name[256];
    struct lm *lm;
    struct lm_options options = {.precision = "f32", .batch_tokens = batch_tokens};
    snprintf(name, sizeof name, "tiny/%s/model", arch);
    if (lm_open(&lm, golden_path(path, name), &options))
        fail_msg("%s", trawl_message());
    return lm;
}

static void open_array(struct npy *a, const char *arch, size_t seq, const char *what)
{
    char path[4096], name[256];
    snprintf(name, sizeof name, "tiny/%s/seq%zu.%s.npy", arch, seq, what);
    if (npy_open(a, golden_path(path, name)))
        fail_msg("%s", trawl_message());
}

/* A sequence of the references with the log-probabilities that its logits say. */
struct reference {
    uint32_t *ids;
    double *logprobs; /* (n-1) */
    size_t n;
};

static struct reference read_reference(const char *arch, size_t seq)
{
    struct npy ids, logits;
    struct reference r;
    open_array(&ids, arch, seq, "ids");
    open_array(&logits, arch, seq, "logits");
    size_t V = logits.shape[logits.n_dims - 1];
    r.n = ids.n;
    r.ids = mem_array(r.n, sizeof *r.ids);
    r.logprobs = mem_array(r.n, sizeof *r.logprobs);
    for (size_t t = 0; t < r.n; t++)
        r.ids[t] = (uint32_t)npy_get(&ids, t);
    for (size_t t = 0; t + 1 < r.n; t++) {
        double sum = 0.0;
        for (size_t v = 0; v < V; v++)
            sum += exp(npy_get(&logits, t * V + v));
        r.logprobs[t] = npy_get(&logits, t * V + r.ids[t + 1]) - log(sum);
    }
    npy_close(&ids);
    npy_close(&logits);
    return r;
}

static void release_reference(struct reference *r)
{
    free(r->ids);
    free(r->logprobs);
}

/* Recommended for f32 in golden/tiny/README.md: 1e-4 absolute and relative to the largest logit, about 10. */
static void assert_near(const double *got, const double *wanted, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabs(got[i] - wanted[i]) <= 1e-3))
            fail_msg("log-probability %zu is %g, expected %g", i, got[i], wanted[i]);
}

static void scores_are_the_references(void **state)
{
    (void)state;
    for (size_t a = 0; a < N_ARCHS; a++) {
        struct lm *lm = open_lm(archs[a], 0);
        struct reference r[N_SEQS];
        struct lm_tokens seqs[N_SEQS];
        double *out[N_SEQS];
        for (size_t s = 0; s < N_SEQS; s++) {
            r[s] = read_reference(archs[a], s);
            seqs[s] = (struct lm_tokens){r[s].ids, r[s].n};
            out[s] = mem_array(r[s].n, sizeof **out);
        }
        assert_int_equal(lm_score(lm, out, NULL, seqs, N_SEQS), TRAWL_OK);
        for (size_t s = 0; s < N_SEQS; s++) {
            assert_near(out[s], r[s].logprobs, r[s].n - 1);
            free(out[s]);
            release_reference(&r[s]);
        }
        lm_close(lm);
    }
}

/* One sequence scored under a batch size, alone. */
static void score_alone(double *out, const char *arch, size_t batch_tokens, const struct lm_tokens *prefix,
                        const struct lm_tokens *seq)
{
    struct lm *lm = open_lm(arch, batch_tokens);
    if (lm_score(lm, &out, prefix, seq, 1))
        fail_msg("%s", trawl_message());
    lm_close(lm);
}

static void a_sequence_longer_than_a_batch_scores_the_same_bits(void **state)
{
    (void)state;
    for (size_t a = 0; a < N_ARCHS; a++) {
        struct reference r = read_reference(archs[a], 2);
        struct lm_tokens seq = {r.ids, r.n};
        double *whole = mem_array(r.n, sizeof *whole), *pieces = mem_array(r.n, sizeof *pieces);
        score_alone(whole, archs[a], 0, NULL, &seq);
        score_alone(pieces, archs[a], 7, NULL, &seq);
        assert_memory_equal(whole, pieces, (r.n - 1) * sizeof *whole);
        free(whole);
        free(pieces);
        release_reference(&r);
    }
}

static void a_shared_prefix_changes_no_bit(void **state)
{
    (void)state;
    for (size_t a = 0; a < N_ARCHS; a++) {
        struct reference r = read_reference(archs[a], 2);
        size_t n = r.n / 3;
        struct lm_tokens seq = {r.ids, r.n}, prefix = {r.ids, n}, rest = {r.ids + n, r.n - n};
        double *whole = mem_array(r.n, sizeof *whole), *after = mem_array(r.n, sizeof *after);
        score_alone(whole, archs[a], 0, NULL, &seq);
        for (size_t batch = 5; batch < 1000; batch += 900) {
            score_alone(after, archs[a], batch, &prefix, &rest);
            assert_memory_equal(whole + n - 1, after, rest.n * sizeof *whole);
        }
        free(whole);
        free(after);
        release_reference(&r);
    }
}

static void company_and_threads_change_no_bit(void **state)
{
    (void)state;
    enum { N = 40 };
    struct reference r = read_reference("llama", 2);
    struct lm_tokens seqs[N];
    double *together[N], *alone = mem_array(r.n, sizeof *alone);
    for (size_t i = 0; i < N; i++) {
        seqs[i] = (struct lm_tokens){r.ids + i % 5, (i * 7) % (r.n - 5)}; /* lengths 0 and 1 among them */
        together[i] = mem_array(r.n, sizeof **together);
    }
    size_t threads = pool_threads();
    pool_set_threads(1);
    struct lm *lm = open_lm("llama", 64);
    assert_int_equal(lm_score(lm, together, NULL, seqs, N), TRAWL_OK);
    lm_close(lm);
    pool_set_threads(threads > 1 ? threads : 2);
    lm = open_lm("llama", 0);
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(lm_score(lm, &alone, NULL, &seqs[i], 1), TRAWL_OK);
        if (seqs[i].n)
            assert_memory_equal(together[i], alone, (seqs[i].n - 1) * sizeof *alone);
        free(together[i]);
    }
    lm_close(lm);
    pool_set_threads(threads);
    free(alone);
    release_reference(&r);
}

static void bad_ids_are_refused_by_place(void **state)
{
    (void)state;
    struct lm *lm = open_lm("llama", 0);
    uint32_t ids[300] = {1, 2, 320};
    struct lm_tokens seqs[2] = {{ids, 2}, {ids, 3}};
    double values[300], *out[2] = {values, values};
    assert_int_equal(lm_score(lm, out, NULL, seqs, 2), TRAWL_FORMAT);
    assert_non_null(strstr(trawl_message(), "sequence 2: token 3 is 320, the vocabulary has 320"));
    ids[2] = 0;
    seqs[1].n = 257;
    assert_int_equal(lm_score(lm, out, NULL, seqs, 2), TRAWL_LIMIT);
    assert_non_null(strstr(trawl_message(), "256 positions"));
    seqs[1].n = 200;
    assert_int_equal(lm_score(lm, out, &seqs[1], seqs, 2), TRAWL_LIMIT);
    lm_close(lm);
}

/* ---- generation ---- */

/* The slow twin: the whole sequence forward again for every token. */
static size_t generate_slowly(uint32_t *out, struct lm *lm, const struct lm_tokens *prompt, size_t max_tokens,
                              uint32_t stop)
{
    const struct nn_config *c = nn_model_config(lm_model(lm));
    uint32_t ids[256];
    float *hidden = mem_aligned(256 * c->C, sizeof *hidden), *logits = mem_aligned(c->V, sizeof *logits);
    struct nn_run *run;
    size_t n = prompt->n, made = 0;
    assert_int_equal(nn_run_new(&run, lm_model(lm), 256), TRAWL_OK);
    memcpy(ids, prompt->ids, n * sizeof *ids);
    for (; made < max_tokens && n < 256; made++) {
        uint32_t begin[2] = {0, (uint32_t)n};
        struct nn_batch batch = {.ids = ids, .begin = begin, .B = 1, .attention = NN_CAUSAL};
        assert_int_equal(nn_forward(run, hidden, &batch), TRAWL_OK);
        assert_int_equal(nn_logits(run, logits, hidden + (n - 1) * c->C, 1), TRAWL_OK);
        uint32_t best = 0;
        for (uint32_t v = 1; v < c->V; v++)
            best = logits[v] > logits[best] ? v : best;
        if (best == stop)
            break;
        out[made] = ids[n++] = best;
    }
    nn_run_free(run);
    free(hidden);
    free(logits);
    return made;
}

static void check_generation(struct lm *lm, const struct lm_tokens *prompts, size_t n, size_t max_tokens, uint32_t stop)
{
    struct lm_continuation *out = mem_array(n, sizeof *out);
    struct lm_generate_options options = {.max_tokens = max_tokens, .stop = &stop, .n_stop = 1};
    uint32_t slow[256];
    if (lm_generate(lm, out, prompts, n, &options))
        fail_msg("%s", trawl_message());
    for (size_t i = 0; i < n; i++) {
        size_t made = generate_slowly(slow, lm, &prompts[i], max_tokens, stop);
        assert_int_equal(out[i].ids.n, made);
        if (made)
            assert_memory_equal(out[i].ids.ids, slow, made * sizeof *slow);
        assert_int_equal(out[i].stopped, made < max_tokens);
        ids_release(&out[i].ids);
    }
    free(out);
}

static void greedy_continuations_are_those_of_the_slow_twin(void **state)
{
    (void)state;
    enum { N = 70 }; /* more than one group */
    for (size_t a = 0; a < N_ARCHS; a++) {
        struct reference r = read_reference(archs[a], 2);
        struct lm_tokens prompts[N];
        for (size_t i = 0; i < N; i++)
            prompts[i] = (struct lm_tokens){r.ids + i % 3, 1 + (i * 5) % (r.n - 3)};
        for (size_t batch = 9; batch < 2000; batch += 991) {
            struct lm *lm = open_lm(archs[a], batch);
            check_generation(lm, prompts, a ? 6 : N, 12, UINT32_MAX);
            lm_close(lm);
        }
        release_reference(&r);
    }
}

static void prompts_with_a_common_beginning_continue_the_same(void **state)
{
    (void)state;
    struct reference r = read_reference("llama", 2);
    uint32_t ids[3][64];
    struct lm_tokens prompts[3];
    size_t n = r.n < 40 ? r.n : 40;
    assert_true(n > 20); /* else nothing is shared */
    for (size_t i = 0; i < 3; i++) {
        memcpy(ids[i], r.ids, n * sizeof **ids);
        ids[i][n] = (uint32_t)(50 + i);
        prompts[i] = (struct lm_tokens){ids[i], n + 1};
    }
    struct lm *lm = open_lm("llama", 0);
    check_generation(lm, prompts, 3, 16, UINT32_MAX);
    prompts[1].n = n - 3; /* one prompt is the beginning of the others */
    check_generation(lm, prompts, 3, 16, UINT32_MAX);
    lm_close(lm);
    release_reference(&r);
}

static void generation_stops_before_the_stop_id(void **state)
{
    (void)state;
    struct reference r = read_reference("llama", 1);
    struct lm_tokens prompt = {r.ids, 4};
    uint32_t made[256];
    struct lm *lm = open_lm("llama", 0);
    size_t n = generate_slowly(made, lm, &prompt, 10, UINT32_MAX);
    assert_int_equal(n, 10);
    check_generation(lm, &prompt, 1, 10, made[6]);
    check_generation(lm, &prompt, 1, 10, made[0]);
    lm_close(lm);
    release_reference(&r);
}

static void generation_ends_at_the_last_position(void **state)
{
    (void)state;
    struct lm *lm = open_lm("llama", 0);
    uint32_t ids[256];
    struct lm_continuation out = {0};
    struct lm_generate_options options = {.max_tokens = 100};
    for (uint32_t i = 0; i < 256; i++)
        ids[i] = 5 + i;
    struct lm_tokens prompt = {ids, 250};
    assert_int_equal(lm_generate(lm, &out, &prompt, 1, &options), TRAWL_OK);
    assert_int_equal(out.ids.n, 7); /* the last one made needs no position */
    assert_false(out.stopped);
    ids_release(&out.ids);
    prompt.n = 0;
    assert_int_equal(lm_generate(lm, &out, &prompt, 1, &options), TRAWL_FORMAT);
    lm_close(lm);
}

static void an_encoder_is_no_language_model(void **state)
{
    (void)state;
    char path[4096];
    struct lm *lm;
    struct lm_options options = {0};
    assert_int_equal(lm_open(&lm, golden_path(path, "tiny/bert/model"), &options), TRAWL_UNSUPPORTED);
    assert_int_equal(lm_open(&lm, "/nonexistent/model", &options), TRAWL_NOT_FOUND);
    options.precision = "f8";
    assert_int_equal(lm_open(&lm, golden_path(path, "tiny/llama/model"), &options), TRAWL_USAGE);
    assert_null(lm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_are_the_references),
        cmocka_unit_test(a_sequence_longer_than_a_batch_scores_the_same_bits),
        cmocka_unit_test(a_shared_prefix_changes_no_bit),
        cmocka_unit_test(company_and_threads_change_no_bit),
        cmocka_unit_test(bad_ids_are_refused_by_place),
        cmocka_unit_test(greedy_continuations_are_those_of_the_slow_twin),
        cmocka_unit_test(prompts_with_a_common_beginning_continue_the_same),
        cmocka_unit_test(generation_stops_before_the_stop_id),
        cmocka_unit_test(generation_ends_at_the_last_position),
        cmocka_unit_test(an_encoder_is_no_language_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
