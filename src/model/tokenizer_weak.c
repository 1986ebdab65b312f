/* Stands in for src/text/tokenizer.c until that is there; the linker prefers the real ones. */
#include "text/chat.h"
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
WEAK size_t tokenizer_vocab(const struct tokenizer *t)
{
    (void)t;
    return 0;
}
WEAK uint32_t tokenizer_special_id(const struct tokenizer *t, enum tokenizer_special which)
{
    (void)t;
    (void)which;
    return TOKENIZER_NONE;
}
WEAK bool tokenizer_wants_bos(const struct tokenizer *t)
{
    (void)t;
    return false;
}
WEAK size_t tokenizer_n_added(const struct tokenizer *t)
{
    (void)t;
    return 0;
}
WEAK enum trawl_status tokenizer_piece(const struct tokenizer *t, struct buf *out, uint32_t id)
{
    (void)t;
    (void)out;
    (void)id;
    return TRAWL_OK;
}
WEAK enum trawl_status chat_find_text(const struct chat_template **t, const char *jinja, size_t n)
{
    (void)jinja;
    (void)n;
    *t = NULL;
    return fail(TRAWL_UNSUPPORTED, "this build has no chat templates");
}
WEAK const char *chat_name(const struct chat_template *t)
{
    (void)t;
    return "";
}
