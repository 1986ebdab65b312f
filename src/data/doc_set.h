/*
 * A corpus by number and by id: the texts of any corpus format lie in a nameless file that is mapped, so memory holds
 * only ids and places (about 60 bytes and an id per document), and each text has a hash by which copies are found.
 */
#ifndef DATA_DOC_SET_H
#define DATA_DOC_SET_H
#include "data.h"

struct doc_set;
/* Reads the whole corpus once; numbers are those of its order. LIMIT from 2^32 documents. */
MUST_USE enum trawl_status doc_set_open(struct doc_set **docs, const char *path, const struct corpus_options *options);
void doc_set_close(struct doc_set *docs);
size_t doc_set_n(const struct doc_set *docs);
/* Number of the document with this id, or MAP_NONE. */
uint32_t doc_set_find(const struct doc_set *docs, const char *id, size_t n);
/* Valid until doc_set_close. May be called from any thread. */
void doc_set_get(const struct doc_set *docs, size_t i, struct document *doc);
struct doc_hash {
    uint64_t low, high;
};
/* Of title and text, whatever their white space: equal for copies. */
struct doc_hash doc_set_hash(const struct doc_set *docs, size_t i);
/* Of all ids, titles and texts in their order. */
uint64_t doc_set_fingerprint(const struct doc_set *docs);
const struct corpus_counts *doc_set_counts(const struct doc_set *docs);

#endif
