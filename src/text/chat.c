#include "chat.h"
struct chat_template {
    const char *name;
};
enum trawl_status chat_find_text(const struct chat_template **t, const char *jinja, size_t n)
{
    (void)t;
    (void)jinja;
    (void)n;
    return fail(TRAWL_UNSUPPORTED, "no");
}
enum trawl_status chat_find_name(const struct chat_template **t, const char *name)
{
    (void)t;
    (void)name;
    return fail(TRAWL_UNSUPPORTED, "no");
}
const char *chat_name(const struct chat_template *t)
{
    return t->name;
}
enum trawl_status chat_render(const struct chat_template *t, struct buf *out, const json_t *messages,
                              const json_t *tools, bool g)
{
    (void)t;
    (void)out;
    (void)messages;
    (void)tools;
    (void)g;
    return TRAWL_OK;
}
