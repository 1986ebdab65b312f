/*
 * Porter's stemmer as its author's own program and Lucene have it. It differs from the published algorithm, which is
 * libstemmer's "porter", in four places: words of two letters are left alone; "bli" becomes "ble" (not only "abli"
 * "able") and "logi" becomes "log" where the stem before them has a vowel followed by a consonant; and every doubled
 * consonant but l, s and z is made single before "ing" and "ed" (libstemmer knows nine of them).
 * The differences are made by changing what goes into libstemmer.
 */
#ifndef TEXT_PORTER_H
#define TEXT_PORTER_H
#include <stddef.h>

/* Changes a lower-case word in place before libstemmer sees it; returns its new length. */
size_t porter_before(char *word, size_t n);

#endif
