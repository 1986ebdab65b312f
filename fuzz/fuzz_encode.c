/*
 * Any bytes as text, through small tokenizers of three kinds: encoding always succeeds, twice the same with and without
 * a used scratch, and what it gives can be decoded.
 */
#include "fuzz.h"
#include "text/tokenizer.h"
#include <string.h>

static const char *const sources[] = {
    "{\"model\":{\"type\":\"BPE\",\"unk_token\":\"?\",\"vocab\":{\"?\":0,\"a\":1,\"b\":2,\"ab\":3,\"aba\":4,"
    "\"\\u2581\":5,"
    "\"\\u2581a\":6},\"merges\":[\"a b\",\"ab a\",\"\\u2581 "
    "a\"]},\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":["
    "{\"type\":\"NFKC\"},{\"type\":\"Lowercase\"},{\"type\":\"StripAccents\"}]},\"pre_tokenizer\":{\"type\":"
    "\"Metaspace\","
    "\"replacement\":\"\\u2581\",\"prepend_scheme\":\"first\"},\"added_tokens\":[{\"id\":7,\"content\":\"aa\","
    "\"lstrip\":true,\"rstrip\":true,\"single_word\":true}]}",
    "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"\\u0120\":3,\"\\u0120a\":4},\"merges\":["
    "[\"a\",\"b\"],[\"\\u0120\",\"a\"]]},\"normalizer\":{\"type\":\"NFC\"},\"pre_tokenizer\":{\"type\":\"Sequence\","
    "\"pretokenizers\":[{\"type\":\"Digits\"},{\"type\":\"ByteLevel\",\"add_prefix_space\":true}]}}",
    "{\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"?\",\"vocab\":{\"?\":0,\"a\":1,\"##b\":2,\"##a\":3}},"
    "\"normalizer\":{\"type\":\"BertNormalizer\"},\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"}}",
    "{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"?\",0.0],[\"a\",-1.0],[\"ab\",-1.5],[\"b\",-3.0]]},"
    "\"pre_tokenizer\":{\"type\":\"WhitespaceSplit\"}}",
};
enum { N_SOURCES = sizeof sources / sizeof *sources };

static void check(enum trawl_status status)
{
    if (status)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct tokenizer *tokenizers[N_SOURCES];
    static struct tokenizer_scratch *scratch;
    if (!scratch) {
        check(tokenizer_scratch_new(&scratch));
        for (size_t i = 0; i < N_SOURCES; i++)
            check(tokenizer_from_json(&tokenizers[i], sources[i], strlen(sources[i]), "built in", NULL));
    }
    for (size_t i = 0; i < N_SOURCES; i++) {
        struct ids used = {0}, fresh = {0};
        struct buf out = {0};
        check(tokenizer_encode(tokenizers[i], scratch, &used, (const char *)data, n, 0));
        check(tokenizer_encode(tokenizers[i], NULL, &fresh, (const char *)data, n, 0));
        if (used.n != fresh.n || (used.n && memcmp(used.ids, fresh.ids, used.n * sizeof *used.ids) != 0))
            abort();
        check(tokenizer_decode(tokenizers[i], &out, used.ids, used.n, false));
        ids_release(&used);
        ids_release(&fresh);
        buf_release(&out);
    }
    return 0;
}
