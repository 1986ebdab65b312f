/* Damaged and hostile Hugging Face folders and adapters: each is refused with the file and what is wrong. */
#include "compare.h"
#include "model/safetensors.h"

static void make_llama(char folder[4096])
{
    char llama[4096];
    tiny_path(llama, "llama", "model");
    scratch_folder(folder, "damaged");
    copy_file(llama, "config.json", folder, "config.json");
    copy_file(llama, "model.safetensors", folder, "model.safetensors");
}

static enum trawl_status try_open(const char *path)
{
    struct model_files *m = NULL;
    enum trawl_status status = model_files_open(&m, path);
    model_files_close(m);
    return status;
}

/* ---- safetensors ---- */

static enum trawl_status open_bytes(const char *folder, const void *data, size_t n)
{
    struct tensor_set set = {0};
    put_file(folder, "x.safetensors", data, n);
    char *path = file_join(folder, "x.safetensors");
    enum trawl_status status = safetensors_open(&set, path);
    free(path);
    tensor_set_release(&set);
    return status;
}

static enum trawl_status open_header(const char *folder, const char *header, size_t data_bytes)
{
    struct buf file = {0};
    uint64_t length = strlen(header);
    char zeros[64] = {0};
    assert_int_equal(buf_append(&file, &length, 8), TRAWL_OK);
    assert_int_equal(buf_text(&file, header), TRAWL_OK);
    assert_int_equal(buf_append(&file, zeros, data_bytes), TRAWL_OK);
    enum trawl_status status = open_bytes(folder, file.data, file.n);
    buf_release(&file);
    return status;
}

static void cut_safetensors_are_refused(void **state)
{
    (void)state;
    char folder[4096], adapter[4096];
    struct buf whole;
    scratch_folder(folder, "cut");
    get_file(&whole, tiny_path(adapter, "llama", "lora"), "adapter_model.safetensors");
    assert_int_equal(open_bytes(folder, whole.data, whole.n), TRAWL_OK);
    for (size_t n = 0; n < whole.n; n += n < 6000 ? 1 : 211)
        if (open_bytes(folder, whole.data, n) == TRAWL_OK)
            fail_msg("the first %zu of %zu bytes were taken for a file", n, whole.n);
    assert_int_equal(open_bytes(folder, whole.data, whole.n - 1), TRAWL_CORRUPT);
    assert_message("cut short?");
    buf_release(&whole);
    assert_int_equal(file_remove_tree(folder), TRAWL_OK);
}

static void flipped_headers_do_no_harm(void **state)
{
    (void)state;
    char folder[4096], adapter[4096];
    struct buf whole;
    size_t refused = 0;
    scratch_folder(folder, "flip");
    get_file(&whole, tiny_path(adapter, "llama", "lora"), "adapter_model.safetensors");
    for (size_t i = 0; i < 3000; i++) {
        whole.data[i] ^= (char)(1 << i % 8);
        refused += open_bytes(folder, whole.data, whole.n) != TRAWL_OK;
        whole.data[i] ^= (char)(1 << i % 8);
    }
    assert_true(refused > 500); /* a letter of a name may change unseen here; the model that needs it is refused */
    buf_release(&whole);
    assert_int_equal(file_remove_tree(folder), TRAWL_OK);
}

static void impossible_headers_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *header, *message;
        size_t data_bytes;
    } bad[] = {
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[2],"
         "\"data_"
         "offsets\":[4,12]}}",
         "share bytes", 12},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", "ends at byte 8 of 4", 4},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", "take 8 of the 12", 12},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", "other than its 8 bytes", 8},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296,4294967296],\"data_offsets\":[0,8]}}",
         "beyond all memory", 8},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,8]}}", "not a whole number", 8},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", "data_offsets", 8},
        {"{\"a\":{\"dtype\":\"Q9\",\"shape\":[2],\"data_offsets\":[0,8]}}", "'Q9'", 8},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"a\":{\"dtype\":\"F32\",\"shape\":[1],"
         "\"data_"
         "offsets\":[4,8]}}",
         "malformed JSON", 8},
        {"[1,2]", "not a JSON object", 0},
        {"{\"a\":", "malformed JSON", 0},
    };
    char folder[4096];
    scratch_folder(folder, "header");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_not_equal(open_header(folder, bad[i].header, bad[i].data_bytes), TRAWL_OK);
        assert_message(bad[i].message);
        assert_message("x.safetensors");
    }
    unsigned char huge[16] = {0, 0, 0, 0, 0, 0, 0, 0x10, '{', '}'};
    assert_int_equal(open_bytes(folder, huge, sizeof huge), TRAWL_FORMAT);
    assert_message("a header of");
    assert_int_equal(file_remove_tree(folder), TRAWL_OK);
}

static void shards_follow_their_index(void **state)
{
    (void)state;
    char folder[4096];
    struct tensor_set set = {0};
    scratch_folder(folder, "shards");
    assert_int_equal(open_header(folder, "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8),
                     TRAWL_OK);
    copy_file(folder, "x.safetensors", folder, "one.safetensors");
    assert_int_equal(open_header(folder, "{\"b\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4),
                     TRAWL_OK);
    copy_file(folder, "x.safetensors", folder, "two.safetensors");
    put_text(folder, "model.safetensors.index.json",
             "{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\"}}");
    assert_int_equal(safetensors_open_folder(&set, folder), TRAWL_OK);
    assert_non_null(tensor_set_find(&set, "a"));
    assert_non_null(tensor_set_find(&set, "b"));
    tensor_set_release(&set);
    put_text(folder, "model.safetensors.index.json", "{\"weight_map\":{\"c\":\"one.safetensors\"}}");
    assert_int_equal(safetensors_open_folder(&set, folder), TRAWL_MISMATCH);
    assert_message("tensor 'c'");
    tensor_set_release(&set);
    put_text(folder, "model.safetensors.index.json", "{\"weight_map\":{\"a\":\"../one.safetensors\"}}");
    assert_int_equal(safetensors_open_folder(&set, folder), TRAWL_FORMAT);
    tensor_set_release(&set);
    put_text(folder, "model.safetensors.index.json", "{\"weight_map\":{\"a\":\"three.safetensors\"}}");
    assert_int_equal(safetensors_open_folder(&set, folder), TRAWL_IO);
    assert_message("three.safetensors");
    tensor_set_release(&set);
    assert_int_equal(file_remove_tree(folder), TRAWL_OK);
}

/* ---- configurations ---- */

static void configurations_that_disagree_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *old, *new, *message;
    } edits[] = {
        {"\"model_type\": \"llama\"", "\"model_type\": \"mamba\"", "'mamba'"},
        {"\"hidden_size\": 32", "\"hidden_size\": 48", "[320, 32]"},
        {"\"intermediate_size\": 64", "\"intermediate_size\": 96", "says ["},
        {"\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4", "'model.layers.3."},
        {"\"num_hidden_layers\": 3", "\"num_hidden_layers\": 2", "has no place in a llama model of 2 layers"},
        {"\"num_hidden_layers\": 3", "\"num_hidden_layers\": 1152921504606846976", "number of layers"},
        {"\"vocab_size\": 320", "\"vocab_size\": 321", "says [321, 32]"},
        {"\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3", "no multiple"},
        {"\"head_dim\": 8", "\"head_dim\": 7", "odd"},
        {"\"head_dim\": 8", "\"head_dim\": \"x\"", "'head_dim'"},
        {"\"hidden_act\": \"silu\"", "\"hidden_act\": \"mish\"", "'mish'"},
        {"\"rope_type\": \"default\"", "\"rope_type\": \"longrope\"", "'longrope'"},
        {"\"rope_type\": \"default\"", "\"rope_type\": \"yarn\"", "factor"},
        {"\"rope_theta\": 10000.0", "\"rope_theta\": -1", "rope_theta"},
        {"\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false", "'lm_head.weight' is missing"},
        {"\"attention_bias\": false", "\"attention_bias\": true", "q_proj.bias' is missing"},
        {"\"mlp_bias\": false", "\"mlp_bias\": true", "mlp_bias"},
        {"\"hidden_size\": 32,", "", "'hidden_size' is missing"},
        {"{", "[", "malformed JSON"},
    };
    char folder[4096];
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        make_llama(folder);
        edit_file(folder, "config.json", edits[i].old, edits[i].new);
        if (try_open(folder) == TRAWL_OK)
            fail_msg("%s was taken", edits[i].new);
        assert_message(edits[i].message);
        assert_message("config.json");
    }
    make_llama(folder);
    edit_file(folder, "config.json", "\"rope_type\": \"default\"", "\"rope_type\": \"linear\", \"factor\": 4.0");
    assert_int_equal(try_open(folder), TRAWL_OK);
    assert_int_equal(file_remove_tree(folder), TRAWL_OK);
}

static void old_sliding_window_pattern_is_ignored(void **state)
{
    (void)state;
    char folder[4096], gemma[4096];
    tiny_path(gemma, "gemma3_text", "model");
    scratch_folder(folder, "gemma");
    copy_file(gemma, "config.json", folder, "config.json");
    copy_file(gemma, "model.safetensors", folder, "model.safetensors");
    edit_file(folder, "config.json", "\"_sliding_window_pattern\": 6", "\"_sliding_window_pattern\": 2");
    struct model_files *m = open_model(folder);
    assert_int_equal(m->source.config.nn.window[1], 8);
    model_files_close(m);
    assert_int_equal(file_remove_tree(folder), TRAWL_OK);
}

/* ---- weights ---- */

static void values_that_are_not_finite_are_named(void **state)
{
    (void)state;
    char folder[4096];
    struct nn_model *packed = NULL;
    make_llama(folder);
    struct model_files *m = open_model(folder);
    const struct tensor *t = source_slot(&m->source, 1, NN_T_UP)->tensor;
    size_t at = (size_t)(t->data - m->set.files[0].map.data) + (5 * 32 + 7) * sizeof(float);
    model_files_close(m);
    const float bad[] = {(float)NAN, (float)INFINITY};
    for (int i = 0; i < 2; i++) {
        struct buf data;
        get_file(&data, folder, "model.safetensors");
        memcpy(data.data + at, &bad[i], sizeof(float));
        put_file(folder, "model.safetensors", data.data, data.n);
        buf_release(&data);
        m = open_model(folder);
        assert_int_equal(nn_model_new(&packed, model_files_source(m), NN_F32), TRAWL_FORMAT);
        assert_message("'model.layers.1.mlp.up_proj.weight' holds");
        assert_message("row 5, column 7");
        assert_message("model.safetensors");
        model_files_close(m);
    }
    assert_int_equal(file_remove_tree(folder), TRAWL_OK);
}

/* ---- adapters ---- */

static void make_adapter(char folder[4096])
{
    char lora[4096], base[4096 + 64];
    tiny_path(lora, "llama", "lora");
    scratch_folder(folder, "adapter");
    copy_file(lora, "adapter_config.json", folder, "adapter_config.json");
    copy_file(lora, "adapter_model.safetensors", folder, "adapter_model.safetensors");
    char absolute[4096];
    assert_non_null(realpath(tiny_path(lora, "llama", "model"), absolute));
    snprintf(base, sizeof base, "\"%s\"", absolute);
    edit_file(folder, "adapter_config.json", "\"../model\"", base);
}

static void adapters_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *old, *new, *message;
    } edits[] = {
        {"\"peft_type\": \"LORA\"", "\"peft_type\": \"IA3\"", "'IA3'"},
        {"\"use_dora\": false", "\"use_dora\": true", "'use_dora'"},
        {"\"fan_in_fan_out\": false", "\"fan_in_fan_out\": true", "'fan_in_fan_out'"},
        {"\"layer_replication\": null", "\"layer_replication\": [[0,2]]", "'layer_replication'"},
    };
    char folder[4096], other[4096];
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        make_adapter(folder);
        edit_file(folder, "adapter_config.json", edits[i].old, edits[i].new);
        assert_int_equal(try_open(folder), TRAWL_UNSUPPORTED);
        assert_message(edits[i].message);
    }
    make_adapter(folder);
    assert_int_equal(try_open(folder), TRAWL_OK);
    char *file = file_join(folder, "adapter_model.safetensors");
    unlink(file);
    free(file);
    assert_int_equal(try_open(folder), TRAWL_NOT_FOUND);
    assert_message("adapter_model.bin is not read");
    /* on a base of another shape */
    char lora[4096];
    tiny_path(lora, "llama", "lora");
    tiny_path(other, "qwen3", "model");
    scratch_folder(folder, "adapter");
    copy_file(lora, "adapter_config.json", folder, "adapter_config.json");
    copy_file(lora, "adapter_model.safetensors", folder, "adapter_model.safetensors");
    char absolute[4096], base[4096 + 8];
    assert_non_null(realpath(other, absolute));
    snprintf(base, sizeof base, "\"%s\"", absolute);
    edit_file(folder, "adapter_config.json", "\"../model\"", base);
    assert_int_equal(try_open(folder), TRAWL_MISMATCH);
    assert_message("do not fit");
    edit_file(folder, "adapter_config.json", base, "\"no-such-base\"");
    assert_int_equal(try_open(folder), TRAWL_NOT_FOUND);
    assert_message("base 'no-such-base' of the adapter");
    assert_int_equal(file_remove_tree(folder), TRAWL_OK);
}

/* rsLoRA divides by sqrt(r): with r = 4 and alpha halved, the same weights come out. */
static void rank_stabilised_adapters_scale_by_the_root(void **state)
{
    (void)state;
    char folder[4096], merged[4096];
    struct tensor_set set = {0};
    make_adapter(folder);
    edit_file(folder, "adapter_config.json", "\"use_rslora\": false", "\"use_rslora\": true");
    edit_file(folder, "adapter_config.json", "\"lora_alpha\": 8", "\"lora_alpha\": 4");
    struct model_files *m = open_model(folder);
    assert_int_equal(safetensors_open(&set, tiny_path(merged, "llama", "lora/merged.safetensors")), TRAWL_OK);
    compare_tensors(m, &set, 2e-6f);
    tensor_set_release(&set);
    model_files_close(m);
    assert_int_equal(file_remove_tree(folder), TRAWL_OK);
}

/* The same adapter on the GGUF of its base: names are Hugging Face's, rows of q and k in another order. */
static void adapters_apply_to_gguf_bases(void **state)
{
    (void)state;
    char folder[4096], merged[4096], base[4096 + 64], llama[4096];
    const char *source = getenv("TRAWL_SOURCE");
    struct tensor_set set = {0};
    make_adapter(folder);
    assert_non_null(realpath(tiny_path(llama, "llama", "model"), merged));
    char gguf[4096 + 32];
    snprintf(base, sizeof base, "%s", merged);
    snprintf(gguf, sizeof gguf, "%s/test/data/gguf/llama.gguf", source ? source : ".");
    char gguf_path[4096];
    assert_non_null(realpath(gguf, gguf_path));
    edit_file(folder, "adapter_config.json", base, gguf_path);
    struct model_files *m = open_model(folder);
    assert_int_equal(safetensors_open(&set, tiny_path(merged, "llama", "lora/merged.safetensors")), TRAWL_OK);
    compare_tensors(m, &set, 2e-6f);
    tensor_set_release(&set);
    model_files_close(m);
    assert_int_equal(file_remove_tree(folder), TRAWL_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_safetensors_are_refused),
        cmocka_unit_test(flipped_headers_do_no_harm),
        cmocka_unit_test(impossible_headers_are_refused),
        cmocka_unit_test(shards_follow_their_index),
        cmocka_unit_test(configurations_that_disagree_are_refused),
        cmocka_unit_test(old_sliding_window_pattern_is_ignored),
        cmocka_unit_test(values_that_are_not_finite_are_named),
        cmocka_unit_test(adapters_that_do_not_fit_are_refused),
        cmocka_unit_test(rank_stabilised_adapters_scale_by_the_root),
        cmocka_unit_test(adapters_apply_to_gguf_bases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
