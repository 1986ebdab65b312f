/* UTF-8: decoding with replacement, validation, repair. Malformed sequences follow the "maximal subpart" rule (one
 * U+FFFD each). */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H
#include "buf.h"
#include <stdbool.h>

/* Code point at text[*i] (n bytes in all), advancing *i; U+FFFD for a malformed sequence. */
uint32_t utf8_next(const char *text, size_t n, size_t *i);
/* Writes 1 to 4 bytes, returns how many. */
size_t utf8_put(char out[4], uint32_t code_point);
/* Offset of the first malformed byte, or n when all is well. Fast for ASCII. */
size_t utf8_invalid(const char *text, size_t n);
/* Copies with every malformed sequence replaced by U+FFFD. */
MUST_USE enum trawl_status utf8_repair(struct buf *out, const char *text, size_t n);

#endif
