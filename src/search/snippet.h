/*
 * Snippets: the part of a passage that shows best why it was found, with the query's words marked.
 *
 * Words match when the field's analyzer makes the same term of them. Of all stretches of about `width` characters the
 * one is taken whose distinct query terms weigh most (idf of the field; a term's further occurrences count a tenth),
 * the first of equals. A passage without such words, as a dense search may find it, is shown from its beginning.
 */
#ifndef SEARCH_SNIPPET_H
#define SEARCH_SNIPPET_H
#include "index/index.h"

struct snippet_style {
    const char *before, *after; /* put around each matching word */
    size_t width;               /* characters; 0: all of the text */
};
/* Bold and underlined for a terminal, ** .. ** elsewhere; 200 characters. */
struct snippet_style snippet_style(bool terminal);

struct snippets; /* one per thread */
/* field: the lexical field whose analyzer and frequencies are used; SIZE_MAX: analyzer english, all words weigh alike.
 */
MUST_USE enum trawl_status snippets_new(struct snippets **s, const struct index *ix, size_t field);
void snippets_free(struct snippets *s);
/* The query for the following calls; n 0: nothing matches. */
MUST_USE enum trawl_status snippets_query(struct snippets *s, const char *query, size_t n);
/* Appends the snippet of text[0..n) to *out: valid UTF-8 on one line, with an ellipsis where something was left out. */
MUST_USE enum trawl_status snippet_append(struct buf *out, struct snippets *s, const char *text, size_t n,
                                          const struct snippet_style *style);

#endif
