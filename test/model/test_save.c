/* Models written are the models that were meant: read back, every row has the same bits. */
#include "../encode/fixture.h"
#include "model/model.h"
#include "model/save.h"
#include "model/safetensors.h"
#include <math.h>

static struct model_files *open_golden(const char *name)
{
    char path[4096];
    struct model_files *m;
    assert_int_equal(model_files_open(&m, golden_path(path, name)), TRAWL_OK);
    return m;
}

/* Largest difference of any weight of two models of one shape. */
static double difference(const struct nn_source *a, const struct nn_source *b)
{
    double worst = 0.0;
    for (int i = 0; i < NN_T_COUNT; i++) {
        size_t rows, cols;
        bool per_layer;
        nn_tensor_shape(a->config, (enum nn_tensor)i, &rows, &cols, &per_layer);
        for (size_t layer = 0; layer < (per_layer ? a->config->L : 1); layer++) {
            bool has = a->has(a->ctx, layer, (enum nn_tensor)i);
            assert_int_equal(has, b->has(b->ctx, layer, (enum nn_tensor)i));
            if (!has || nn_tensor_presence(a->config, (enum nn_tensor)i) == NN_ABSENT)
                continue;
            float *x = calloc(rows * cols, sizeof *x), *y = calloc(rows * cols, sizeof *y);
            assert_int_equal(a->read(a->ctx, x, layer, (enum nn_tensor)i, 0, rows), TRAWL_OK);
            assert_int_equal(b->read(b->ctx, y, layer, (enum nn_tensor)i, 0, rows), TRAWL_OK);
            for (size_t k = 0; k < rows * cols; k++)
                worst = fmax(worst, fabs((double)x[k] - (double)y[k]));
            free(x);
            free(y);
        }
    }
    return worst;
}

/* An adapter taken off its base and written again gives the same merged weights; its base is the plain model. */
static void an_adapter_comes_back(void **state)
{
    char folder[4096];
    struct model_files *golden = open_golden("tiny/llama/lora"), *taken = open_golden("tiny/llama/lora"),
                       *plain = open_golden("tiny/llama/model"), *again;
    struct model_update *updates;
    size_t n, rank;
    double scale;
    (void)state;
    scratch_path(folder, (long)getpid(), "adapter");
    assert_int_equal(model_files_unmerge(taken, &updates, &n, &rank, &scale), TRAWL_OK);
    assert_true(n > 0);
    assert_true(difference(model_files_source(taken), model_files_source(plain)) == 0.0);
    const struct model_modules *modules = model_files_modules(taken);
    struct contract query = modules->query, document = modules->document;
    snprintf(query.prompt, sizeof query.prompt, "query: ");
    snprintf(document.pooling, sizeof document.pooling, "last");
    struct model_adapter adapter = {.rank = rank,
                                    .alpha = scale * (double)rank,
                                    .updates = updates,
                                    .n_updates = n,
                                    .document = &document,
                                    .query = &query};
    for (int time = 0; time < 2; time++) /* the second replaces the first */
        assert_int_equal(model_save_adapter(taken, folder, &adapter), TRAWL_OK);
    assert_int_equal(model_files_open(&again, folder), TRAWL_OK);
    assert_true(difference(model_files_source(golden), model_files_source(again)) == 0.0);
    assert_string_equal(model_files_modules(again)->query.prompt, "query: ");
    assert_string_equal(model_files_modules(again)->document.pooling, "last");
    free(updates);
    model_files_close(again);
    model_files_close(plain);
    model_files_close(taken);
    model_files_close(golden);
    fixture_remove(folder);
}

static void whole_models_come_back(void **state)
{
    static const char *const archs[] = {"llama", "llama3", "mistral", "qwen2", "qwen3", "gemma3_text", "bert"};
    (void)state;
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++) {
        char folder[4096], path[4096];
        struct model_files *m, *again;
        fixture_model(path, archs[i], "whole-in");
        scratch_path(folder, (long)getpid(), "whole-out");
        assert_int_equal(model_files_open(&m, path), TRAWL_OK);
        const struct model_modules *modules = model_files_modules(m);
        assert_int_equal(model_save_folder(m, model_files_source(m), folder, &modules->document, &modules->query),
                         TRAWL_OK);
        assert_int_equal(model_files_open(&again, folder), TRAWL_OK);
        /* Gemma's norms lose their 1 and get it back, in f32 */
        assert_true(difference(model_files_source(m), model_files_source(again)) <= 2.5e-7);
        assert_string_equal(model_files_modules(again)->document.normalize, "l2");
        model_files_close(again);
        model_files_close(m);
        fixture_remove(folder);
        fixture_remove(path);
    }
}

/* The merged weights of the reference: golden's merged.safetensors. */
static void a_merged_model_has_the_reference_weights(void **state)
{
    char path[4096], folder[4096], file[4200];
    struct tensor_set set = {0}, written = {0};
    struct model_files *m = open_golden("tiny/llama/lora");
    const struct model_modules *modules = model_files_modules(m);
    (void)state;
    scratch_path(folder, (long)getpid(), "merged");
    assert_int_equal(model_save_folder(m, model_files_source(m), folder, &modules->document, &modules->query),
                     TRAWL_OK);
    snprintf(file, sizeof file, "%s/model.safetensors", folder);
    assert_int_equal(safetensors_open(&written, file), TRAWL_OK);
    assert_int_equal(safetensors_open(&set, golden_path(path, "tiny/llama/lora/merged.safetensors")), TRAWL_OK);
    for (size_t i = 0; i < set.n; i++) {
        const struct tensor *t = &set.items[i], *own = tensor_set_find(&written, t->name);
        if (!own) /* tied heads are stored once */
            continue;
        size_t n = t->rows * t->cols;
        float *x = calloc(n, sizeof *x), *y = calloc(n, sizeof *y);
        assert_int_equal(own->rows * own->cols, n);
        assert_int_equal(tensor_read(x, &set, t, 0, t->rows), TRAWL_OK);
        assert_int_equal(tensor_read(y, &written, own, 0, own->rows), TRAWL_OK);
        for (size_t k = 0; k < n; k++)
            assert_true(fabs((double)x[k] - (double)y[k]) < 1e-6);
        free(x);
        free(y);
    }
    assert_true(written.n > 20);
    tensor_set_release(&set);
    tensor_set_release(&written);
    model_files_close(m);
    fixture_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_adapter_comes_back),
        cmocka_unit_test(whole_models_come_back),
        cmocka_unit_test(a_merged_model_has_the_reference_weights),
    };
    return cmocka_run_group_tests_name("save", tests, NULL, NULL);
}
