/* sentence-transformers folders, trawl.json and bare models: the default contracts and what follows pooling. */
#include "compare.h"

/* A sentence-transformers folder around the tiny BERT. */
static void make_folder(char folder[4096], const char *modules, const char *pooling)
{
    char bert[4096];
    tiny_path(bert, "bert", "model");
    scratch_folder(folder, "st");
    copy_file(bert, "config.json", folder, "config.json");
    copy_file(bert, "model.safetensors", folder, "model.safetensors");
    put_text(folder, "modules.json", modules);
    char *sub = file_join(folder, "1_Pooling");
    assert_int_equal(file_make_folder(sub), TRAWL_OK);
    put_text(sub, "config.json", pooling);
    free(sub);
}

#define MODULE(idx, path, type) "{\"idx\":" #idx ",\"name\":\"" #idx "\",\"path\":\"" path "\",\"type\":\"" type "\"}"
#define OLD_TYPE "sentence_transformers.models."
static const char plain_modules[] =
    "[" MODULE(0, "", OLD_TYPE "Transformer") "," MODULE(1, "1_Pooling", OLD_TYPE "Pooling") "]";
static const char normalized_modules[] =
    "[" MODULE(0, "", "sentence_transformers.base.modules.transformer.Transformer") "," MODULE(
        1, "1_Pooling",
        "sentence_transformers.sentence_transformer.modules.pooling.Pooling") "," MODULE(2, "2_Normalize",
                                                                                         OLD_TYPE "Normalize") "]";

static const struct {
    const char *config, *pooling; /* pooling NULL: refused, naming `message` */
    const char *message;
} poolings[] = {
    {"{\"word_embedding_dimension\":32,\"pooling_mode_mean_tokens\":true,\"pooling_mode_cls_token\":false}", "mean",
     NULL},
    {"{\"word_embedding_dimension\":32,\"pooling_mode_mean_tokens\":false,\"pooling_mode_cls_token\":true}", "first",
     NULL},
    {"{\"pooling_mode_lasttoken\":true}", "last", NULL},
    {"{\"pooling_mode_weightedmean_tokens\":true}", "weighted-mean", NULL},
    {"{\"pooling_mode_max_tokens\":true}", NULL, "'max'"},
    {"{\"pooling_mode_mean_sqrt_len_tokens\":true}", NULL, "'mean_sqrt_len_tokens'"},
    {"{\"pooling_mode_max_tokens\":true,\"pooling_mode_cls_token\":true}", NULL, "2 pooling modes"},
    {"{\"embedding_dimension\":32,\"pooling_mode\":\"cls\"}", "first", NULL},
    {"{\"embedding_dimension\":32,\"pooling_mode\":[\"lasttoken\"]}", "last", NULL},
    {"{\"embedding_dimension\":32,\"pooling_mode\":\"sum\"}", NULL, "'sum'"},
    {"{\"embedding_dimension\":64,\"pooling_mode\":\"mean\"}", NULL, "64 dimensions"},
};

static void pooling_configurations_old_and_new(void **state)
{
    (void)state;
    char folder[4096];
    for (size_t i = 0; i < sizeof poolings / sizeof *poolings; i++) {
        struct model_files *m;
        make_folder(folder, plain_modules, poolings[i].config);
        enum trawl_status status = model_files_open(&m, folder);
        if (poolings[i].pooling) {
            if (status)
                fail_msg("%s", trawl_message());
            assert_string_equal(model_files_modules(m)->document.pooling, poolings[i].pooling);
            assert_string_equal(model_files_modules(m)->query.pooling, poolings[i].pooling);
            model_files_close(m);
        } else {
            assert_int_not_equal(status, TRAWL_OK);
            assert_message(poolings[i].message);
            assert_message("1_Pooling/config.json");
        }
    }
    assert_int_equal(file_remove_tree(folder), TRAWL_OK);
}

static void normalisation_follows_the_modules(void **state)
{
    (void)state;
    char folder[4096];
    make_folder(folder, plain_modules, "{}");
    struct model_files *m = open_model(folder);
    assert_string_equal(model_files_modules(m)->document.normalize, "none");
    model_files_close(m);
    make_folder(folder, normalized_modules, "{}");
    m = open_model(folder);
    assert_string_equal(model_files_modules(m)->document.normalize, "l2");
    model_files_close(m);
    assert_int_equal(file_remove_tree(folder), TRAWL_OK);
}

static void prompts_and_length_go_to_their_sides(void **state)
{
    (void)state;
    char folder[4096];
    make_folder(folder, plain_modules, "{\"pooling_mode\":\"mean\",\"include_prompt\":false}");
    put_text(folder, "config_sentence_transformers.json",
             "{\"prompts\":{\"query\":\"Q: \",\"passage\":\"P: \",\"other\":\"O: \"},\"default_prompt_name\":null}");
    put_text(folder, "sentence_bert_config.json", "{\"max_seq_length\":20,\"do_lower_case\":false}");
    struct model_files *m = open_model(folder);
    const struct model_modules *s = model_files_modules(m);
    assert_string_equal(s->query.prompt, "Q: ");
    assert_string_equal(s->document.prompt, "P: ");
    assert_false(s->query.prompt_pooled);
    assert_int_equal(s->query.max_length, 20);
    assert_string_equal(s->query.join, "");
    model_files_close(m);
    put_text(folder, "config_sentence_transformers.json",
             "{\"prompts\":{\"sts\":\"S: \"},\"default_prompt_name\":\"sts\"}");
    put_text(folder, "sentence_bert_config.json", "{\"max_seq_length\":null}");
    put_text(folder, "tokenizer_config.json", "{\"model_max_length\":1000000000000000019884624838656}");
    m = open_model(folder);
    s = model_files_modules(m);
    assert_string_equal(s->query.prompt, "S: ");
    assert_string_equal(s->document.prompt, "S: ");
    assert_int_equal(s->document.max_length, 64); /* the model's positions */
    model_files_close(m);
    assert_int_equal(file_remove_tree(folder), TRAWL_OK);
}

/* sentence-transformers 6 writes this for models with a chat template, and then wraps every text in it. */
static void texts_as_chat_messages_are_refused(void **state)
{
    (void)state;
    char folder[4096];
    struct model_files *m;
    make_folder(folder, plain_modules, "{}");
    put_text(folder, "sentence_bert_config.json",
             "{\"modality_config\":{\"text\":{\"method\":\"forward\"},\"message\":{\"format\":\"flat\"}}}");
    assert_int_equal(model_files_open(&m, folder), TRAWL_UNSUPPORTED);
    assert_message("chat template");
    put_text(folder, "sentence_bert_config.json", "{\"modality_config\":{\"text\":{\"method\":\"forward\"}}}");
    model_files_close(open_model(folder));
    assert_int_equal(file_remove_tree(folder), TRAWL_OK);
}

/* ---- Dense ---- */

static void put_safetensors(const char *folder, const char *header, const float *data, size_t n)
{
    struct buf file = {0};
    uint64_t length = strlen(header);
    assert_int_equal(buf_append(&file, &length, 8), TRAWL_OK);
    assert_int_equal(buf_text(&file, header), TRAWL_OK);
    assert_int_equal(buf_append(&file, data, n * sizeof *data), TRAWL_OK);
    put_file(folder, "model.safetensors", file.data, file.n);
    buf_release(&file);
}

static void dense_modules_are_read(void **state)
{
    (void)state;
    char folder[4096];
    struct model_files *m;
    float data[2 * 32 + 2];
    for (size_t i = 0; i < 66; i++)
        data[i] = (float)i;
    make_folder(folder,
                "[" MODULE(0, "", OLD_TYPE "Transformer") "," MODULE(1, "1_Pooling", OLD_TYPE "Pooling") "," MODULE(
                    2, "2_Dense", OLD_TYPE "Dense") "," MODULE(3, "3_Normalize", OLD_TYPE "Normalize") "]",
                "{}");
    char *dense = file_join(folder, "2_Dense");
    assert_int_equal(file_make_folder(dense), TRAWL_OK);
    put_text(
        dense, "config.json",
        "{\"in_features\":32,\"out_features\":2,\"bias\":true,\"activation_function\":\"torch.nn.modules.activation."
        "Tanh\"}");
    put_text(dense, "pytorch_model.bin", "x");
    assert_int_equal(model_files_open(&m, folder), TRAWL_UNSUPPORTED);
    assert_message("pytorch_model.bin is not read");
    put_safetensors(dense,
                    "{\"linear.weight\":{\"dtype\":\"F32\",\"shape\":[2,32],\"data_offsets\":[0,256]},"
                    "\"linear.bias\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[256,264]}}",
                    data, 66);
    m = open_model(folder);
    const struct model_modules *s = model_files_modules(m);
    assert_int_equal(s->n_dense, 1);
    assert_true(s->dense[0].tanh);
    assert_float_equal(s->dense[0].weight[63], 63.0f, 0.0f);
    assert_float_equal(s->dense[0].bias[1], 65.0f, 0.0f);
    assert_int_equal(s->document.dims, 2);
    model_files_close(m);
    put_text(dense, "config.json", "{\"in_features\":16,\"out_features\":2,\"bias\":true}");
    assert_int_equal(model_files_open(&m, folder), TRAWL_MISMATCH);
    put_text(dense, "config.json",
             "{\"in_features\":32,\"out_features\":2,\"activation_function\":\"torch.nn.modules.activation.GELU\"}");
    assert_int_equal(model_files_open(&m, folder), TRAWL_UNSUPPORTED);
    assert_message("'GELU'");
    free(dense);
    assert_int_equal(file_remove_tree(folder), TRAWL_OK);
}

static void other_modules_are_refused_by_name(void **state)
{
    (void)state;
    char folder[4096];
    struct model_files *m;
    make_folder(folder, "[" MODULE(0, "", OLD_TYPE "Transformer") "," MODULE(1, "1_LSTM", OLD_TYPE "LSTM") "]", "{}");
    assert_int_equal(model_files_open(&m, folder), TRAWL_UNSUPPORTED);
    assert_message("'LSTM'");
    make_folder(folder, "[" MODULE(0, "", OLD_TYPE "Transformer") "," MODULE(1, "../x", OLD_TYPE "Pooling") "]", "{}");
    assert_int_equal(model_files_open(&m, folder), TRAWL_FORMAT);
    assert_message("leaves the folder");
    assert_int_equal(file_remove_tree(folder), TRAWL_OK);
}

/* ---- bare models and trawl.json ---- */

static void a_bare_model_has_the_plain_contract(void **state)
{
    (void)state;
    char path[4096];
    struct model_files *m = open_model(tiny_path(path, "llama", "model"));
    const struct contract *c = &model_files_modules(m)->document;
    assert_string_equal(c->pooling, "mean");
    assert_string_equal(c->attention, "causal");
    assert_string_equal(c->normalize, "l2");
    assert_string_equal(c->prompt, "");
    assert_true(c->add_special && c->special_pooled && !c->append_eos);
    assert_int_equal(c->max_length, 256); /* 512, but the model knows no more positions */
    assert_int_equal(c->dims, 32);
    model_files_close(m);
}

static void make_with_trawl(char folder[4096], const char *trawl)
{
    char llama[4096];
    tiny_path(llama, "llama", "model");
    scratch_folder(folder, "trawl");
    copy_file(llama, "config.json", folder, "config.json");
    copy_file(llama, "model.safetensors", folder, "model.safetensors");
    put_text(folder, "trawl.json", trawl);
}

static void trawl_json_changes_the_fields_it_names(void **state)
{
    (void)state;
    char folder[4096];
    make_with_trawl(folder, "{\"version\":1,\"document\":{\"pooling\":\"last\",\"append_eos\":true,\"max_length\":100},"
                            "\"query\":{\"pooling\":\"last\",\"prompt\":\"find: \",\"dims\":16}}");
    struct model_files *m = open_model(folder);
    const struct model_modules *s = model_files_modules(m);
    assert_string_equal(s->document.pooling, "last");
    assert_true(s->document.append_eos);
    assert_int_equal(s->document.max_length, 100);
    assert_string_equal(s->query.prompt, "find: ");
    assert_int_equal(s->query.dims, 16);
    assert_string_equal(s->query.attention, "causal");
    model_files_close(m);
    assert_int_equal(file_remove_tree(folder), TRAWL_OK);
}

static void trawl_json_that_makes_no_sense_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *json, *message;
    } bad[] = {
        {"{\"version\":2}", "version 2"},
        {"[]", "not a JSON object"},
        {"{\"version\":1,\"document\":{\"poling\":\"last\"}}", "'poling'"},
        {"{\"version\":1,\"document\":{\"pooling\":\"median\"}}", "'median'"},
        {"{\"version\":1,\"query\":{\"dims\":33}}", "dims 33"},
        {"{\"version\":1,\"query\":{\"attention\":\"both\"}}", "'both'"},
        {"{\"version\":1,\"base_fingerprint\":\"0123456789abcdef\"}", "0123456789abcdef"},
    };
    char folder[4096];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct model_files *m;
        make_with_trawl(folder, bad[i].json);
        assert_int_not_equal(model_files_open(&m, folder), TRAWL_OK);
        assert_message(bad[i].message);
        assert_message("trawl.json");
    }
    assert_int_equal(file_remove_tree(folder), TRAWL_OK);
}

/* ---- fingerprints ---- */

static void a_changed_weight_changes_the_fingerprint(void **state)
{
    (void)state;
    char folder[4096], cache[4096], before[17], after[17], again[17];
    scratch_folder(cache, "cache");
    setenv("XDG_CACHE_HOME", cache, 1);
    make_with_trawl(folder, "{\"version\":1}");
    struct model_files *m = open_model(folder);
    assert_int_equal(model_files_fingerprint(m, before), TRAWL_OK);
    assert_string_equal(model_files_modules(m)->document.model, before);
    model_files_close(m);
    struct buf data;
    get_file(&data, folder, "model.safetensors");
    data.data[data.n - 1] ^= 1;
    put_file(folder, "model.safetensors", data.data, data.n);
    m = open_model(folder);
    assert_int_equal(model_files_fingerprint(m, after), TRAWL_OK);
    model_files_close(m);
    assert_string_not_equal(before, after);
    data.data[data.n - 1] ^= 1;
    put_file(folder, "model.safetensors", data.data, data.n);
    buf_release(&data);
    put_text(cache, "trawl/fingerprints.tsv", "rubbish\n\t\t\t\n"); /* a damaged cache is no obstacle */
    m = open_model(folder);
    assert_int_equal(model_files_fingerprint(m, again), TRAWL_OK);
    model_files_close(m);
    assert_string_equal(before, again);
    assert_int_equal(file_remove_tree(folder), TRAWL_OK);
    assert_int_equal(file_remove_tree(cache), TRAWL_OK);
}

static void an_adapter_has_a_fingerprint_of_its_own(void **state)
{
    (void)state;
    char path[4096], base[17], with[17];
    struct model_files *m = open_model(tiny_path(path, "llama", "model"));
    assert_int_equal(model_files_fingerprint(m, base), TRAWL_OK);
    model_files_close(m);
    m = open_model(tiny_path(path, "llama", "lora"));
    assert_int_equal(model_files_fingerprint(m, with), TRAWL_OK);
    model_files_close(m);
    assert_string_not_equal(base, with);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pooling_configurations_old_and_new),
        cmocka_unit_test(normalisation_follows_the_modules),
        cmocka_unit_test(prompts_and_length_go_to_their_sides),
        cmocka_unit_test(texts_as_chat_messages_are_refused),
        cmocka_unit_test(dense_modules_are_read),
        cmocka_unit_test(other_modules_are_refused_by_name),
        cmocka_unit_test(a_bare_model_has_the_plain_contract),
        cmocka_unit_test(trawl_json_changes_the_fields_it_names),
        cmocka_unit_test(trawl_json_that_makes_no_sense_is_refused),
        cmocka_unit_test(a_changed_weight_changes_the_fingerprint),
        cmocka_unit_test(an_adapter_has_a_fingerprint_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
