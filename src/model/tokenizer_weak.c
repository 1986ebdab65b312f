/* Stands in for src/text/tokenizer.c until that is there; the linker prefers the real ones. */
#include "text/tokenizer.h"

#define WEAK __attribute__((weak))

WEAK enum trawl_status tokenizer_open(struct tokenizer **t, const char *path)
{
    (void)path;
    *t = NULL;
    return TRAWL_OK;
}
WEAK enum trawl_status tokenizer_from_gguf(struct tokenizer **t, const struct tokenizer_gguf *spec)
{
    (void)spec;
    *t = NULL;
    return TRAWL_OK;
}
WEAK void tokenizer_free(struct tokenizer *t)
{
    (void)t;
}
WEAK uint64_t tokenizer_fingerprint(const struct tokenizer *t)
{
    (void)t;
    return 0;
}
