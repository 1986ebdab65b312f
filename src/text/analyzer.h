/*
 * Lexical analyzers: text to terms with positions. Rows: english (UAX #29 words, possessive 's off, lower case,
 * Lucene's 33 stop words, Porter), ascii (lower-case runs of [a-z0-9]), standard (words and lower case), and one per
 * Snowball language.
 */
#ifndef TEXT_ANALYZER_H
#define TEXT_ANALYZER_H
#include "base/buf.h"

struct analyzer; /* one per thread: stemmers and break iterators are stateful */
MUST_USE enum trawl_status analyzer_new(struct analyzer **a, const char *name);
void analyzer_free(struct analyzer *a);
const char *analyzer_name(const struct analyzer *a);
/* "english|ascii|standard|german|..." for option tables. */
const char *analyzer_names(void);
/* Called for each term: its bytes (valid during the call), its position, and the byte range of the text it came from.
 */
typedef MUST_USE enum trawl_status (*analyzer_term_fn)(void *ctx, const char *term, size_t n, uint32_t position,
                                                       size_t begin, size_t end);
MUST_USE enum trawl_status analyzer_run(struct analyzer *a, const char *text, size_t n, analyzer_term_fn fn, void *ctx);

#endif
