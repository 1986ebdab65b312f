/*
 * Model folders made for a test: a small random model of golden/tiny with a WordPiece tokenizer whose words are pairs
 * of letters, so that the ids of a text can be told by hand: word "aa" is 5, "ab" 6, ... 0 [PAD], 1 [UNK], 2 [CLS], 3
 * [SEP], 4 [MASK].
 */
#ifndef TEST_ENCODE_FIXTURE_H
#define TEST_ENCODE_FIXTURE_H
#include "../golden.h"
#include "base/file.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

enum { FIXTURE_WORDS = 5, FIXTURE_VOCABULARY = 320, FIXTURE_CLS = 2, FIXTURE_SEP = 3 };

static inline void fixture_word(char out[3], uint32_t id)
{
    out[0] = (char)('a' + (id - FIXTURE_WORDS) / 26);
    out[1] = (char)('a' + (id - FIXTURE_WORDS) % 26);
    out[2] = '\0';
}

static inline void fixture_put(const char *folder, const char *name, const void *data, size_t n)
{
    char *path = file_join(folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    free(path);
}

static inline void fixture_text(const char *folder, const char *name, const char *text)
{
    fixture_put(folder, name, text, strlen(text));
}

static inline void fixture_copy(const char *folder, const char *name, const char *from)
{
    char path[4096];
    struct buf data = {0};
    assert_int_equal(file_read(&data, golden_path(path, from), (size_t)1 << 30), TRAWL_OK);
    fixture_put(folder, name, data.data, data.n);
    buf_release(&data);
}

static inline void fixture_tokenizer(const char *folder)
{
    static const char *const special[FIXTURE_WORDS] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
    struct buf b = {0};
    char word[3];
    assert_int_equal(buf_text(&b, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":["), 0);
    for (int i = 0; i < FIXTURE_WORDS; i++)
        assert_int_equal(buf_printf(&b,
                                    "%s{\"id\":%d,\"content\":\"%s\",\"single_word\":false,\"lstrip\":false,"
                                    "\"rstrip\":false,\"normalized\":false,\"special\":true}",
                                    i ? "," : "", i, special[i]),
                         0);
    assert_int_equal(
        buf_text(&b, "],\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":true,"
                     "\"strip_accents\":null,\"lowercase\":true},\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"
                     "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":"
                     "\"[CLS]\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"SpecialToken\":{\"id\":"
                     "\"[SEP]\",\"type_id\":0}}],\"pair\":[{\"SpecialToken\":{\"id\":\"[CLS]\",\"type_id\":0}},"
                     "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"SpecialToken\":{\"id\":\"[SEP]\",\"type_id\":0}},"
                     "{\"Sequence\":{\"id\":\"B\",\"type_id\":1}},{\"SpecialToken\":{\"id\":\"[SEP]\",\"type_id\":1}}],"
                     "\"special_tokens\":{\"[CLS]\":{\"id\":\"[CLS]\",\"ids\":[2],\"tokens\":[\"[CLS]\"]},\"[SEP]\":"
                     "{\"id\":\"[SEP]\",\"ids\":[3],\"tokens\":[\"[SEP]\"]}}},\"decoder\":{\"type\":\"WordPiece\","
                     "\"prefix\":\"##\",\"cleanup\":true},\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\","
                     "\"continuing_subword_prefix\":\"##\",\"max_input_chars_per_word\":100,\"vocab\":{"),
        0);
    for (uint32_t i = 0; i < FIXTURE_VOCABULARY; i++) {
        if (i >= FIXTURE_WORDS)
            fixture_word(word, i);
        assert_int_equal(buf_printf(&b, "%s\"%s\":%u", i ? "," : "", i < FIXTURE_WORDS ? special[i] : word, i), 0);
    }
    assert_int_equal(buf_text(&b, "}}}"), 0);
    fixture_put(folder, "tokenizer.json", b.data, b.n);
    buf_release(&b);
}

/* A model folder of golden/tiny/<arch> with that tokenizer; its name lies in `path`. */
static inline const char *fixture_model(char path[4096], const char *arch, const char *name)
{
    char from[256];
    scratch_path(path, (long)getpid(), name);
    assert_int_equal(file_remove_tree(path), TRAWL_OK);
    assert_int_equal(file_make_folder(path), TRAWL_OK);
    snprintf(from, sizeof from, "tiny/%s/model/config.json", arch);
    fixture_copy(path, "config.json", from);
    snprintf(from, sizeof from, "tiny/%s/model/model.safetensors", arch);
    fixture_copy(path, "model.safetensors", from);
    fixture_tokenizer(path);
    return path;
}

static inline void fixture_remove(const char *path)
{
    assert_int_equal(file_remove_tree(path), TRAWL_OK);
}

/* Makes the folder one of sentence-transformers, with the given pooling flag and a maximum length. */
static inline void fixture_sentence_transformer(const char *folder, const char *pooling_flag, int max_length,
                                                bool normalize, bool dense)
{
    char text[2048], *path = file_join(folder, "1_Pooling");
    assert_int_equal(file_make_folder(path), TRAWL_OK);
    snprintf(text, sizeof text,
             "[{\"idx\":0,\"name\":\"0\",\"path\":\"\",\"type\":\"sentence_transformers.models.Transformer\"},"
             "{\"idx\":1,\"name\":\"1\",\"path\":\"1_Pooling\",\"type\":\"sentence_transformers.models.Pooling\"}%s%s]",
             dense ? ",{\"idx\":2,\"name\":\"2\",\"path\":\"2_Dense\",\"type\":\"sentence_transformers.models.Dense\"}"
                   : "",
             normalize ? ",{\"idx\":3,\"name\":\"3\",\"path\":\"3_Normalize\",\"type\":"
                         "\"sentence_transformers.models.Normalize\"}"
                       : "");
    fixture_text(folder, "modules.json", text);
    snprintf(text, sizeof text, "{\"word_embedding_dimension\":32,\"%s\":true}", pooling_flag);
    fixture_text(path, "config.json", text);
    snprintf(text, sizeof text, "{\"max_seq_length\":%d,\"do_lower_case\":false}", max_length);
    fixture_text(folder, "sentence_bert_config.json", text);
    free(path);
}

/* 2_Dense: a matrix (out, 32) and a bias, in safetensors. */
static inline void fixture_dense(const char *folder, const float *weight, const float *bias, size_t out,
                                 const char *activation)
{
    char head[512], config[512], *path = file_join(folder, "2_Dense");
    struct buf file = {0};
    uint64_t n;
    assert_int_equal(file_make_folder(path), TRAWL_OK);
    snprintf(config, sizeof config,
             "{\"in_features\":32,\"out_features\":%zu,\"bias\":true,\"activation_function\":\"%s\"}", out, activation);
    fixture_text(path, "config.json", config);
    snprintf(head, sizeof head,
             "{\"linear.weight\":{\"dtype\":\"F32\",\"shape\":[%zu,32],\"data_offsets\":[0,%zu]},"
             "\"linear.bias\":{\"dtype\":\"F32\",\"shape\":[%zu],\"data_offsets\":[%zu,%zu]}}",
             out, out * 128, out, out * 128, out * 132);
    n = strlen(head);
    assert_int_equal(buf_append(&file, &n, 8), 0);
    assert_int_equal(buf_text(&file, head), 0);
    assert_int_equal(buf_append(&file, weight, out * 128), 0);
    assert_int_equal(buf_append(&file, bias, out * 4), 0);
    fixture_put(path, "model.safetensors", file.data, file.n);
    buf_release(&file);
    free(path);
}

/* n pseudo-random words as text, and their ids (n, may be NULL). */
static inline void fixture_words(struct buf *text, uint32_t *ids, size_t n, uint32_t seed)
{
    char word[3];
    buf_reset(text);
    assert_int_equal(buf_append(text, "", 0), 0);
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        uint32_t id = FIXTURE_WORDS + (seed >> 8) % (FIXTURE_VOCABULARY - FIXTURE_WORDS);
        fixture_word(word, id);
        assert_int_equal(buf_printf(text, "%s%s", i ? " " : "", word), 0);
        if (ids)
            ids[i] = id;
    }
}

#endif
