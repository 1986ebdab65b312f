/* Files of vectors: what NumPy wrote is read, what we write is read back, what is damaged is refused. */
#include "data/vectors.h"
#include "scratch.h"
#include <math.h>

static const struct contract a_contract = {.model = "0123456789abcdef",
                                           .tokenizer = "fedcba9876543210",
                                           .pooling = "mean",
                                           .attention = "causal",
                                           .normalize = "l2",
                                           .join = "space",
                                           .prompt = "p: \"x\"\n",
                                           .prompt_pooled = true,
                                           .special_pooled = true,
                                           .max_length = 512,
                                           .dims = 3,
                                           .model_name = "m",
                                           .precision = "f32",
                                           .isa = "avx2"};

/* Header of version `major` around a literal, then data. Returns the whole length. */
static size_t make_npy(unsigned char *out, int major, const char *literal, const void *data, size_t n)
{
    size_t m = strlen(literal), begin = major == 1 ? 10 : 12;
    memcpy(out, "\x93NUMPY", 6);
    out[6] = (unsigned char)major;
    out[7] = 0;
    out[8] = (unsigned char)m;
    out[9] = (unsigned char)(m >> 8);
    out[10] = out[11] = 0;
    memcpy(out + begin, literal, m);
    memcpy(out + begin + m, data, n);
    return begin + m + n;
}

static void every_header_version_is_read(void **state)
{
    const float data[6] = {1, 2, 3, 4, 5, 6};
    unsigned char file[512];
    (void)state;
    for (int major = 1; major <= 3; major++) {
        struct npy a;
        size_t n = make_npy(file, major, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } \n", data, 24);
        assert_int_equal(npy_open(&a, scratch_write("a.npy", file, n)), TRAWL_OK);
        assert_int_equal(a.n_dims, 2);
        assert_int_equal(a.n, 6);
        for (size_t i = 0; i < 6; i++)
            assert_true(npy_get(&a, i) == data[i]);
        npy_close(&a);
    }
    unlink(scratch_name);
}

static void fortran_order_and_other_types_are_converted(void **state)
{
    const int16_t columns[6] = {1, -4, 2, 5, 3, 6}; /* [[1,2,3],[-4,5,6]] by columns */
    const uint16_t halves[3] = {0x3c00, 0xc000, 0x0001};
    unsigned char file[512];
    struct npy a;
    (void)state;
    size_t n = make_npy(file, 1, "{\"shape\": (2,3), 'fortran_order': True, 'descr': '<i2'}", columns, 12);
    assert_int_equal(npy_open(&a, scratch_write("a.npy", file, n)), TRAWL_OK);
    const double wanted[6] = {1, 2, 3, -4, 5, 6};
    for (size_t i = 0; i < 6; i++)
        assert_true(npy_get(&a, i) == wanted[i]);
    npy_close(&a);
    n = make_npy(file, 1, "{'descr': '<f2', 'fortran_order': False, 'shape': (3,), }", halves, 6);
    assert_int_equal(npy_open(&a, scratch_write("a.npy", file, n)), TRAWL_OK);
    assert_true(npy_get(&a, 0) == 1.0 && npy_get(&a, 1) == -2.0 && npy_get(&a, 2) == 0x1p-24);
    npy_close(&a);
    unlink(scratch_name);
}

static void reference_arrays_are_read(void **state)
{
    char path[4096];
    struct npy a;
    (void)state;
    assert_int_equal(npy_open(&a, golden_path(path, "bm25/scores.npy")), TRAWL_OK);
    assert_int_equal(a.n_dims, 2);
    for (size_t i = 0; i < a.n; i++)
        assert_true(isfinite(npy_get(&a, i)));
    npy_close(&a);
}

static void hostile_headers_are_refused(void **state)
{
    static const char *const literals[] = {
        "{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551615, 2), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 9223372036854775807), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 4), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-2, 3), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,6), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (6), }",
        "{'descr': '>f4', 'fortran_order': False, 'shape': (2, 3), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (2, 3), }",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 3), }",
        "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (2, 3), }",
        "{'descr': '<f4', 'shape': (2, 3), }",
        "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } x",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3",
        ""};
    const float data[6] = {0};
    unsigned char file[512];
    struct npy a;
    (void)state;
    for (size_t i = 0; i < sizeof literals / sizeof *literals; i++) {
        size_t n = make_npy(file, 1, literals[i], data, 24);
        const char *path = scratch_write("a.npy", file, n);
        assert_int_not_equal(npy_open(&a, path), TRAWL_OK);
        assert_message(path);
        assert_null(a.data);
    }
    unlink(scratch_name);
}

static const float rows[2][3] = {{0.1f, -2.0f, 3e-30f}, {1.0f, 0.0f, 16777217.0f}};

static void write_rows(const char *path, const char *format, bool contract)
{
    struct vectors_writer *w;
    assert_int_equal(vectors_create(&w, path, format, 3, contract ? &a_contract : NULL, contract ? &a_contract : NULL),
                     TRAWL_OK);
    assert_int_equal(vectors_add(w, "first \"id\"", rows[0]), TRAWL_OK);
    assert_int_equal(vectors_add(w, "2", rows[1]), TRAWL_OK);
    assert_int_equal(vectors_commit(&w), TRAWL_OK);
    assert_null(w);
}

static void every_format_is_read_back_bit_for_bit(void **state)
{
    static const char *const formats[] = {"npy", "jsonl", "vecs"};
    char path[4096];
    (void)state;
    scratch_path(path, (long)getpid(), "vectors");
    for (size_t f = 0; f < 3; f++) {
        struct vectors v;
        write_rows(path, formats[f], f == 2);
        if (vectors_open(&v, path) != TRAWL_OK)
            fail_msg("%s", trawl_message());
        assert_int_equal(v.N, 2);
        assert_int_equal(v.D, 3);
        assert_memory_equal(v.rows, rows, sizeof rows);
        if (f > 0) {
            assert_string_equal(v.ids + v.id_begin[0], "first \"id\"");
            assert_string_equal(v.ids + v.id_begin[1], "2");
        }
        assert_int_equal(v.has_contract, f == 2);
        if (f == 2) {
            assert_int_equal(contract_check(&a_contract, &v.document, "it"), TRAWL_OK);
            assert_string_equal(v.document.model_name, "m");
        }
        vectors_close(&v);
    }
    unlink(path);
}

static void values_that_are_not_finite_are_refused(void **state)
{
    const float bad[3] = {0, NAN, 0};
    unsigned char file[512];
    struct vectors v;
    struct vectors_writer *w;
    char path[4096];
    (void)state;
    size_t n = make_npy(file, 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }", bad, 12);
    assert_int_equal(vectors_open(&v, scratch_write("a.npy", file, n)), TRAWL_FORMAT);
    assert_message("row 0 holds a value that is not finite");
    unlink(scratch_name);
    scratch_path(path, (long)getpid(), "bad.vecs");
    assert_int_equal(vectors_create(&w, path, "vecs", 3, NULL, NULL), TRAWL_OK);
    assert_int_equal(vectors_add(w, "x", bad), TRAWL_FORMAT);
    vectors_abort(&w);
    assert_int_not_equal(access(path, F_OK), 0);
}

static void malformed_json_vectors_name_their_line(void **state)
{
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"{\"id\": \"a\", \"vector\": [1, 2]}\n{\"id\": \"b\", \"vector\": [1]}\n", "line 2: a vector of 1 dim"},
        {"{\"vector\": [1, 2]}\n", "line 1: member 'id'"},
        {"{\"id\": \"a\"}\n", "line 1: member 'vector'"},
        {"{\"id\": \"a\", \"vector\": [1, [2]]}\n", "line 1: item 1"},
        {"{\"id\": \"a\", \"vector\": [1e99]}\n", "line 1: item 0"},
        {"{\"id\": \"a\", \"vector\": []}\n", "line 1: a vector of 0"},
        {"", "no vectors"}};
    struct vectors v;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(vectors_open(&v, scratch_text("v.jsonl", cases[i].text)), TRAWL_FORMAT);
        assert_message(cases[i].words);
    }
    unlink(scratch_name);
}

/* Cut at every length and with every byte changed, a file is refused or read; nothing crashes. A .vecs file's checksums
 * catch every change. */
static void damaged_files_are_refused(void **state)
{
    char path[4096];
    struct buf file = {0};
    struct vectors v;
    (void)state;
    scratch_path(path, (long)getpid(), "whole.vecs");
    write_rows(path, "vecs", true);
    assert_int_equal(file_read(&file, path, 1 << 20), TRAWL_OK);
    for (size_t i = 0; i < file.n; i++) {
        assert_int_not_equal(vectors_open(&v, scratch_write("cut.vecs", file.data, i)), TRAWL_OK);
        file.data[i] = (char)(file.data[i] ^ 0x10);
        if (vectors_open(&v, scratch_write("cut.vecs", file.data, file.n)) == TRAWL_OK) {
            assert_memory_equal(v.rows, rows, sizeof rows); /* a byte between chunks, which nobody reads */
            vectors_close(&v);
        }
        file.data[i] = (char)(file.data[i] ^ 0x10);
    }
    unlink(scratch_name);
    write_rows(path, "npy", false);
    assert_int_equal(file_read(&file, path, 1 << 20), TRAWL_OK);
    for (size_t i = 0; i < file.n; i++) {
        assert_int_not_equal(vectors_open(&v, scratch_write("cut.npy", file.data, i)), TRAWL_OK);
        file.data[i] = (char)(file.data[i] ^ 0x01);
        if (vectors_open(&v, scratch_write("cut.npy", file.data, file.n)) == TRAWL_OK)
            vectors_close(&v);
        file.data[i] = (char)(file.data[i] ^ 0x01);
    }
    unlink(scratch_name);
    unlink(path);
    buf_release(&file);
}

static void a_contract_survives_json(void **state)
{
    struct contract back;
    json_t *json;
    (void)state;
    assert_int_equal(contract_to_json(&json, &a_contract), TRAWL_OK);
    assert_int_equal(contract_from_json(&back, json, "here"), TRAWL_OK);
    assert_int_equal(contract_check(&a_contract, &back, "here"), TRAWL_OK);
    assert_string_equal(back.isa, a_contract.isa);
    json_decref(json);
}

static void a_contract_lacking_a_field_is_refused(void **state)
{
    struct contract back;
    json_t *json;
    const char *key;
    json_t *value;
    (void)state;
    assert_int_equal(contract_to_json(&json, &a_contract), TRAWL_OK);
    json_object_foreach(json, key, value)
    {
        json_t *less = json_copy(json);
        json_object_del(less, key);
        assert_int_equal(contract_from_json(&back, less, "here"), TRAWL_FORMAT);
        assert_message(key);
        json_object_set_new(less, key, json_array());
        assert_int_equal(contract_from_json(&back, less, "here"), TRAWL_FORMAT);
        json_decref(less);
    }
    json_object_set_new(json, "pooling", json_string("a pooling whose name is far too long"));
    assert_int_equal(contract_from_json(&back, json, "here"), TRAWL_FORMAT);
    json_decref(json);
}

static void the_field_that_differs_is_named(void **state)
{
    struct contract other = a_contract;
    (void)state;
    strcpy(other.precision, "int8");
    strcpy(other.isa, "ref");
    strcpy(other.model_name, "elsewhere");
    assert_int_equal(contract_check(&a_contract, &other, "it"), TRAWL_OK);
    strcpy(other.pooling, "last");
    assert_int_equal(contract_check(&a_contract, &other, "it"), TRAWL_MISMATCH);
    assert_message("it: pooling is 'last', but 'mean' is wanted");
    other = a_contract;
    other.max_length = 256;
    assert_int_equal(contract_check(&a_contract, &other, "it"), TRAWL_MISMATCH);
    assert_message("max_length is 256, but 512 is wanted");
    other = a_contract;
    other.append_eos = true;
    assert_int_equal(contract_check(&a_contract, &other, "it"), TRAWL_MISMATCH);
    assert_message("append_eos is true");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_header_version_is_read),
        cmocka_unit_test(fortran_order_and_other_types_are_converted),
        cmocka_unit_test(reference_arrays_are_read),
        cmocka_unit_test(hostile_headers_are_refused),
        cmocka_unit_test(every_format_is_read_back_bit_for_bit),
        cmocka_unit_test(values_that_are_not_finite_are_refused),
        cmocka_unit_test(malformed_json_vectors_name_their_line),
        cmocka_unit_test(damaged_files_are_refused),
        cmocka_unit_test(a_contract_survives_json),
        cmocka_unit_test(a_contract_lacking_a_field_is_refused),
        cmocka_unit_test(the_field_that_differs_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
