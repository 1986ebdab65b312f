/* A tokenizer.json of any content, then a text through it and back. */
#include "fuzz.h"
#include "text/tokenizer.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char text[] = "Hello  world's <s>\n1234 \xc3\xa9 e\xcc\x81 \xe4\xb8\xad\xf0\x9f\x91\xa9 \xff x";
    struct tokenizer *t;
    struct ids ids = {0};
    struct buf out = {0};
    if (tokenizer_from_json(&t, (const char *)data, n, "fuzz", NULL))
        return 0;
    enum trawl_status status = tokenizer_encode(t, NULL, &ids, text, sizeof text - 1, TOKENIZER_PARSE_SPECIAL);
    if (!status)
        status = tokenizer_decode(t, &out, ids.ids, ids.n, false);
    (void)status;
    ids_release(&ids);
    buf_release(&out);
    tokenizer_free(t);
    return 0;
}
