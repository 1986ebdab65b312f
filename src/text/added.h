/* Matching of added tokens in a text; see added.c. */
#ifndef TEXT_ADDED_H
#define TEXT_ADDED_H
#include "tokenizer_int.h"

struct added_match {
    size_t begin, end;
    uint32_t id;
};
MUST_USE enum trawl_status added_finish(struct tokenizer *t);
/*
 * Next match after the one in *match (all zero at first); *from (0 at first) is where to look on. Special tokens are
 * passed over, with the text that they cover, unless parse_special.
 */
bool added_next(const struct tokenizer *t, const struct matcher *m, const char *text, size_t n, bool parse_special,
                size_t *from, struct added_match *match);

#endif
