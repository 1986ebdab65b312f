/*
 * GGUF: the files of test/data/gguf (tools/make_tiny_gguf.py, gguf-py) against the Hugging Face folders they were made
 * from; damaged, cut and hostile ones.
 */
#include "compare.h"
#include "model/safetensors.h"

static const char *data_path(char path[4096], const char *name)
{
    const char *source = getenv("TRAWL_SOURCE");
    snprintf(path, 4096, "%s/test/data/gguf/%s", source ? source : ".", name);
    return path;
}

static void compare_with_folder(const char *file, const char *arch)
{
    char path[4096], folder[4096];
    struct model_files *m = open_model(data_path(path, file)), *hf = open_model(tiny_path(folder, arch, "model"));
    struct nn_config a = m->source.config.nn, b = hf->source.config.nn;
    struct tensor_set set = {0};
    for (int table = 0; table < 2 && !a.encoder; table++)
        for (size_t i = 0; i < a.D / 2; i++)
            assert_float_equal(a.rope_inverse[table][i], b.rope_inverse[table][i], 1e-6f * b.rope_inverse[table][i]);
    memcpy(a.rope_inverse, b.rope_inverse, sizeof a.rope_inverse); /* compared above: the divisors are rounded */
    assert_memory_equal(&a, &b, sizeof a);
    assert_int_equal(safetensors_open_folder(&set, folder), TRAWL_OK);
    compare_tensors(m, &set, 0.0f);
    tensor_set_release(&set);
    model_files_close(m);
    model_files_close(hf);
}

static void families_equal_their_folders(void **state)
{
    (void)state;
    compare_with_folder("llama.gguf", "llama");
    compare_with_folder("llama3.gguf", "llama3");
    compare_with_folder("qwen2.gguf", "qwen2");
    compare_with_folder("qwen3.gguf", "qwen3");
    compare_with_folder("gemma3_text.gguf", "gemma3_text");
    compare_with_folder("bert.gguf", "bert");
}

static void split_files_open_by_any_part(void **state)
{
    (void)state;
    compare_with_folder("split-00001-of-00003.gguf", "llama");
    compare_with_folder("split-00003-of-00003.gguf", "llama");
}

static void a_missing_part_is_named(void **state)
{
    (void)state;
    char folder[4096], data[4096];
    struct model_files *m;
    data_path(data, "");
    scratch_folder(folder, "split");
    copy_file(data, "split-00001-of-00003.gguf", folder, "split-00001-of-00003.gguf");
    copy_file(data, "split-00003-of-00003.gguf", folder, "split-00003-of-00003.gguf");
    assert_int_equal(model_files_open(&m, folder), TRAWL_IO);
    assert_message("split-00002-of-00003.gguf");
    copy_file(data, "split-00003-of-00003.gguf", folder, "split-00002-of-00003.gguf");
    assert_int_equal(model_files_open(&m, folder), TRAWL_MISMATCH);
    assert_message("part 3 of 3, not part 2 of 3");
    assert_int_equal(file_remove_tree(folder), TRAWL_OK);
}

/* Seven element types, as gguf-py itself reads them back, with the rows of q and k put in order. */
static void element_types_equal_gguf_py(void **state)
{
    (void)state;
    char path[4096];
    struct model_files *m = open_model(data_path(path, "mixed.gguf"));
    struct tensor_set set = {0};
    assert_int_equal(safetensors_open(&set, data_path(path, "mixed.expected.safetensors")), TRAWL_OK);
    compare_tensors(m, &set, 0.0f);
    tensor_set_release(&set);
    model_files_close(m);
}

/* ---- hostile files ---- */

static enum trawl_status open_bytes(const char *folder, const void *data, size_t n)
{
    struct model_files *m = NULL;
    put_file(folder, "x.gguf", data, n);
    enum trawl_status status = model_files_open(&m, folder);
    model_files_close(m);
    return status;
}

static void cut_files_are_refused(void **state)
{
    (void)state;
    char folder[4096], data[4096];
    struct buf whole;
    get_file(&whole, data_path(data, ""), "mixed.gguf");
    scratch_folder(folder, "cut");
    for (size_t n = 0; n < whole.n; n += n < 4000 ? 1 : 97)
        if (open_bytes(folder, whole.data, n) == TRAWL_OK)
            fail_msg("the first %zu of %zu bytes were taken for a model", n, whole.n);
    assert_int_equal(open_bytes(folder, whole.data, whole.n - 1), TRAWL_CORRUPT);
    assert_message("cut short?");
    buf_release(&whole);
    assert_int_equal(file_remove_tree(folder), TRAWL_OK);
}

/* Any byte of header, metadata and tensor table flipped: refused or not, but never a crash (run under sanitizers). */
static void flipped_bytes_do_no_harm(void **state)
{
    (void)state;
    char folder[4096], data[4096];
    struct buf whole;
    size_t refused = 0, table = 3000;
    get_file(&whole, data_path(data, ""), "mixed.gguf");
    scratch_folder(folder, "flip");
    for (size_t i = 0; i < table; i++) {
        whole.data[i] ^= (char)(1 << i % 8);
        refused += open_bytes(folder, whole.data, whole.n) != TRAWL_OK;
        whole.data[i] ^= (char)(1 << i % 8);
    }
    assert_true(refused > table / 2);
    buf_release(&whole);
    assert_int_equal(file_remove_tree(folder), TRAWL_OK);
}

static void absurd_counts_are_refused(void **state)
{
    (void)state;
    char folder[4096], data[4096];
    struct buf whole;
    get_file(&whole, data_path(data, ""), "mixed.gguf");
    scratch_folder(folder, "absurd");
    for (size_t at = 8; at <= 16; at += 8) { /* number of tensors, number of keys */
        unsigned char kept[8];
        memcpy(kept, whole.data + at, 8);
        memset(whole.data + at, 0, 8);
        whole.data[at + 7] = 0x10; /* 2^60 */
        assert_int_equal(open_bytes(folder, whole.data, whole.n), TRAWL_CORRUPT);
        assert_message("promises");
        memcpy(whole.data + at, kept, 8);
    }
    buf_release(&whole);
    assert_int_equal(file_remove_tree(folder), TRAWL_OK);
}

/* Sets a number in the entry of a named tensor, `skip` bytes after its name. */
static enum trawl_status with_entry(const char *folder, const char *name, size_t skip, uint64_t value, size_t bytes)
{
    char data[4096];
    struct buf whole;
    get_file(&whole, data_path(data, ""), "mixed.gguf");
    char *at = memmem(whole.data, whole.n, name, strlen(name));
    assert_non_null(at);
    memcpy(at + strlen(name) + skip, &value, bytes);
    enum trawl_status status = open_bytes(folder, whole.data, whole.n);
    buf_release(&whole);
    return status;
}

static void damaged_tensor_entries_are_named(void **state)
{
    (void)state;
    char folder[4096];
    scratch_folder(folder, "entry");
    const char *name = "blk.1.ffn_up.weight"; /* then: dimensions 4, sizes 8 + 8, type 4, offset 8 */
    assert_int_equal(with_entry(folder, name, 20, 23, 4), TRAWL_UNSUPPORTED);
    assert_message("'blk.1.ffn_up.weight' is of type IQ4_XS");
    assert_int_equal(with_entry(folder, name, 20, 99, 4), TRAWL_UNSUPPORTED);
    assert_message("unknown type 99");
    assert_int_equal(with_entry(folder, name, 24, 7, 8), TRAWL_FORMAT);
    assert_message("not a multiple of 32");
    assert_int_equal(with_entry(folder, name, 24, 0, 8), TRAWL_FORMAT);
    assert_message("share bytes");
    assert_int_equal(with_entry(folder, name, 24, (uint64_t)1 << 62, 8), TRAWL_CORRUPT);
    assert_message("beyond the end");
    assert_int_equal(with_entry(folder, name, 12, UINT64_MAX, 8), TRAWL_FORMAT);
    assert_int_equal(with_entry(folder, name, 12, 32, 8), TRAWL_MISMATCH);
    assert_message("is of shape [32, 32]");
    assert_message("says [64, 32]");
    assert_int_equal(with_entry(folder, name, 0, 9, 4), TRAWL_FORMAT);
    assert_message("9 dimensions");
    assert_int_equal(with_entry(folder, name, (size_t)-4, 0x646e6575, 4), TRAWL_MISMATCH); /* another name */
    assert_message("blk.1.ffn_up.weight' is missing");
    assert_int_equal(file_remove_tree(folder), TRAWL_OK);
}

static void other_architectures_are_refused_by_name(void **state)
{
    (void)state;
    char folder[4096], data[4096];
    struct model_files *m;
    scratch_folder(folder, "arch");
    copy_file(data_path(data, ""), "mixed.gguf", folder, "x.gguf");
    edit_file(folder, "x.gguf", "general.architecture", "general.architectura");
    assert_int_equal(model_files_open(&m, folder), TRAWL_FORMAT);
    assert_message("general.architecture");
    copy_file(data_path(data, ""), "mixed.gguf", folder, "x.gguf");
    char *at = NULL;
    struct buf whole;
    get_file(&whole, folder, "x.gguf");
    at = memmem(whole.data, whole.n, "general.architecture", 20);
    memcpy(at + 20 + 4 + 8, "mamba", 5);
    put_file(folder, "x.gguf", whole.data, whole.n);
    buf_release(&whole);
    assert_int_equal(model_files_open(&m, folder), TRAWL_UNSUPPORTED);
    assert_message("'mamba' is not supported");
    assert_message("qwen3");
    assert_int_equal(file_remove_tree(folder), TRAWL_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(families_equal_their_folders),
        cmocka_unit_test(split_files_open_by_any_part),
        cmocka_unit_test(a_missing_part_is_named),
        cmocka_unit_test(element_types_equal_gguf_py),
        cmocka_unit_test(cut_files_are_refused),
        cmocka_unit_test(flipped_bytes_do_no_harm),
        cmocka_unit_test(absurd_counts_are_refused),
        cmocka_unit_test(damaged_tensor_entries_are_named),
        cmocka_unit_test(other_architectures_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
