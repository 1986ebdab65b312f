/* Hugging Face folders: configuration, tensors and adapters against the reference models of golden/tiny. */
#include "compare.h"
#include "data/vectors.h"
#include "model/safetensors.h"

static const char *const tiny[] = {"llama", "llama3", "mistral", "qwen2", "qwen3", "gemma3_text", "bert"};
enum { N_TINY = sizeof tiny / sizeof *tiny };

static void tensors_equal_the_file(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_TINY; i++) {
        char path[4096];
        struct model_files *m = open_model(tiny_path(path, tiny[i], "model"));
        struct tensor_set set = {0};
        assert_int_equal(safetensors_open_folder(&set, path), TRAWL_OK);
        compare_tensors(m, &set, 0.0f);
        tensor_set_release(&set);
        model_files_close(m);
    }
}

/* The two spellings of one configuration give the same bits. */
static void old_configuration_equals_new(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_TINY; i++) {
        char path[4096], folder[4096];
        tiny_path(path, tiny[i], "model");
        scratch_folder(folder, "v4");
        copy_file(path, "config_v4.json", folder, "config.json");
        copy_file(path, "model.safetensors", folder, "model.safetensors");
        struct model_files *new = open_model(path), *old = open_model(folder);
        assert_memory_equal(&new->source.config.nn, &old->source.config.nn, sizeof(struct nn_config));
        assert_string_equal(new->source.config.dtype, "float32");
        assert_string_equal(old->source.config.dtype, "float32");
        model_files_close(new);
        model_files_close(old);
        assert_int_equal(file_remove_tree(folder), TRAWL_OK);
    }
}

static void configurations_say_what_the_references_say(void **state)
{
    (void)state;
    char path[4096];
    struct model_files *m = open_model(tiny_path(path, "gemma3_text", "model"));
    const struct nn_config *c = &m->source.config.nn;
    const uint32_t windows[] = {8, 8, 0, 8};
    assert_memory_equal(c->window, windows, sizeof windows);
    assert_int_equal(c->rope_table[0], 1);
    assert_int_equal(c->rope_table[2], 0);
    assert_float_equal(c->attention_scale, (float)(1.0 / sqrt(24.0)), 1e-7);
    assert_float_equal(c->embedding_scale, sqrtf(32.0f), 1e-6);
    assert_float_equal(c->rope_inverse[0][1], powf(1e6f, -0.125f), 1e-7);
    assert_float_equal(c->rope_inverse[1][1], powf(1e4f, -0.125f), 1e-7);
    assert_true(c->qk_norm && c->sandwich_norm && c->tied_head && c->has_head);
    model_files_close(m);

    m = open_model(tiny_path(path, "mistral", "model"));
    for (size_t l = 0; l < 3; l++)
        assert_int_equal(m->source.config.nn.window[l], 16);
    assert_false(m->source.config.nn.tied_head);
    model_files_close(m);

    m = open_model(tiny_path(path, "qwen3", "model"));
    assert_int_equal(m->source.config.nn.D, 16);
    assert_int_equal(m->source.config.nn.H * m->source.config.nn.D, 64);
    model_files_close(m);

    m = open_model(tiny_path(path, "bert", "model"));
    c = &m->source.config.nn;
    assert_true(c->encoder && !c->has_head && c->token_types == 2 && c->activation == NN_GELU_ERF);
    assert_string_equal(model_files_modules(m)->document.attention, "bidirectional");
    assert_int_equal(model_files_modules(m)->document.max_length, 64);
    model_files_close(m);
}

static void adapter_equals_merged(void **state)
{
    (void)state;
    char path[4096], merged[4096];
    struct model_files *m = open_model(tiny_path(path, "llama", "lora"));
    struct tensor_set set = {0};
    assert_int_equal(m->adapter_info.n_updates, 7 * 3);
    assert_int_equal(safetensors_open(&set, tiny_path(merged, "llama", "lora/merged.safetensors")), TRAWL_OK);
    compare_tensors(m, &set, 2e-6f); /* sums of four products in another order */
    tensor_set_release(&set);
    model_files_close(m);
}

static void bf16_folder_opens(void **state)
{
    (void)state;
    char path[4096];
    struct model_files *m = open_model(tiny_path(path, "llama", "model_bf16"));
    struct tensor_set set = {0};
    assert_string_equal(m->source.config.dtype, "bfloat16");
    assert_int_equal(source_slot(&m->source, 0, NN_T_EMBED)->tensor->format, FORMAT_BF16);
    assert_int_equal(safetensors_open_folder(&set, path), TRAWL_OK);
    compare_tensors(m, &set, 0.0f);
    tensor_set_release(&set);
    model_files_close(m);
}

/* XLM-R counts positions from the padding id on: states by transformers (tools/make_tiny_xlmr.py). */
static void xlm_roberta_states_equal_transformers(void **state)
{
    (void)state;
    const uint32_t ids[] = {0, 17, 44, 3, 200, 9, 2}, begin[] = {0, 7};
    const struct nn_batch batch = {.ids = ids, .begin = begin, .B = 1, .attention = NN_BIDIRECTIONAL};
    const char *source = getenv("TRAWL_SOURCE");
    char path[4096], reference[4200];
    float hidden[7 * 32];
    struct nn_model *model;
    struct nn_run *run;
    struct npy a;
    snprintf(path, sizeof path, "%s/test/data/xlmr", source ? source : ".");
    snprintf(reference, sizeof reference, "%s/hidden.npy", path);
    struct model_files *m = open_model(path);
    assert_string_equal(model_files_family(m), "xlm-roberta");
    assert_int_equal(model_files_modules(m)->document.max_length, 64);
    assert_int_equal(nn_model_new(&model, model_files_source(m), NN_F32), TRAWL_OK);
    assert_int_equal(nn_run_new(&run, model, 64), TRAWL_OK);
    assert_int_equal(nn_forward(run, hidden, &batch), TRAWL_OK);
    assert_int_equal(npy_open(&a, reference), TRAWL_OK);
    assert_int_equal(a.n, 7 * 32);
    for (size_t i = 0; i < a.n; i++)
        assert_float_equal(hidden[i], (float)npy_get(&a, i), 1e-5f);
    npy_close(&a);
    nn_run_free(run);
    nn_model_free(model);
    model_files_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_equal_the_file), cmocka_unit_test(old_configuration_equals_new),
        cmocka_unit_test(bf16_folder_opens),      cmocka_unit_test(configurations_say_what_the_references_say),
        cmocka_unit_test(adapter_equals_merged),  cmocka_unit_test(xlm_roberta_states_equal_transformers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
