/*
 * Words of a text by UAX #29, as Lucene's StandardTokenizer finds them: runs of letters, digits and connectors with
 * the marks that belong to them, each Han or Hiragana character by itself, runs of South-East Asian letters kept
 * together, emoji sequences whole. Longer words than 255 UTF-16 units are cut into pieces of that length.
 */
#ifndef TEXT_WORDS_H
#define TEXT_WORDS_H
#include "base/buf.h"
#include <stdbool.h>

/* Scanner state: classes of characters beyond ASCII, looked up in ICU once per page of 256. Zero is a valid start. */
struct words {
    unsigned char *pages[0x1100];
};
void words_release(struct words *w);

/*
 * The first word that begins at or after *begin: its range of bytes in *begin, *end; false when there is none.
 * *ascii says whether the word is ASCII only.
 */
MUST_USE enum trawl_status words_next(struct words *w, const char *text, size_t n, size_t *begin, size_t *end,
                                      bool *found, bool *ascii);

#endif
