/*
 * Chat templates as rows, one renderer each; a row is chosen by the fingerprint of the file's template text or by name.
 * There is no Jinja here: an unknown template is refused, naming the known ones.
 */
#ifndef TEXT_CHAT_H
#define TEXT_CHAT_H
#include "base/buf.h"
#include <jansson.h>
#include <stdbool.h>

struct chat_template; /* a const row */
/* By the template text of a model file; UNSUPPORTED names the known rows. */
MUST_USE enum trawl_status chat_find_text(const struct chat_template **t, const char *jinja, size_t n);
MUST_USE enum trawl_status chat_find_name(const struct chat_template **t, const char *name);
const char *chat_name(const struct chat_template *t);
/* "smollm2|qwen2.5|...", for option tables. */
const char *chat_names(void);
/* messages: array of {"role","content",...}; tools: array or NULL. Same text as transformers' apply_chat_template. */
MUST_USE enum trawl_status chat_render(const struct chat_template *t, struct buf *out, const json_t *messages,
                                       const json_t *tools, bool add_generation_prompt);

#endif
