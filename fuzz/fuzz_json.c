/* JSON in; what was read is written and read again. */
#include "fuzz.h"
#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    json_t *value, *again;
    struct buf quoted = {0};
    if (!json_parse(&value, (const char *)data, n, "'input'"))
        json_decref(value);
    if (json_quote(&quoted, (const char *)data, n) || json_parse(&again, quoted.data, quoted.n, "'quoted'"))
        abort(); /* every text can be quoted, and is JSON then */
    json_decref(again);
    buf_release(&quoted);
    return 0;
}
