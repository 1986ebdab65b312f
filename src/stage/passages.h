/* Cutting a document into passages of so many words (UAX #29), each overlapping the one before. */
#ifndef STAGE_PASSAGES_H
#define STAGE_PASSAGES_H
#include "base/buf.h"
#include "text/words.h"

struct passages {
    struct words words;
    struct passage {
        size_t begin, end; /* bytes of the text, without the white space at the end */
    } * items;
    size_t n, cap;
    size_t *starts; /* where words begin */
    size_t starts_cap;
};
/* overlap < split. A text without words is one passage. Valid until the next call. */
MUST_USE enum trawl_status passages_cut(struct passages *p, const char *text, size_t n, size_t split, size_t overlap);
void passages_release(struct passages *p);

#endif
