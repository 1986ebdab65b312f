/*
 * Blocks of postings. A posting is a row and the count of a term in it. Full blocks hold 128 of them bit-packed; the
 * last, shorter block of a term is varints. Layout in docs/formats/index.md.
 *
 * A full block: one byte of bits per row gap, one byte of bits per count, the packed gaps, the packed counts. A gap is
 * row - previous row - 1 (previous starts at -1), a count is stored less one. Packing is in four lanes: value i goes to
 * lane i % 4, so that one 128-bit operation unpacks four values.
 */
#ifndef INDEX_POSTINGS_H
#define INDEX_POSTINGS_H
#include "base/buf.h"
#include <stdbool.h>

enum {
    POSTINGS_BLOCK = 128,
    POSTINGS_BYTES = 2 + 2 * 32 * 16,   /* of a full block at most */
    POSTINGS_COUNT_MAX = (1 << 24) - 1, /* larger counts are stored as this one */
};

struct postings_block {
    uint32_t rows[POSTINGS_BLOCK], counts[POSTINGS_BLOCK];
    uint32_t n;
};

/* Appends the block; `previous` is the row before it, UINT32_MAX at a term's begin. */
MUST_USE enum trawl_status postings_encode(struct buf *out, const struct postings_block *block, uint32_t previous);
/*
 * Rows of a block of n postings at `in` (`bytes` may be more than it needs). False for bytes that no encoder made; rows
 * ascend strictly and are below n_rows otherwise. *used (may be NULL): bytes of the block.
 */
MUST_USE bool postings_decode(struct postings_block *out, const unsigned char *in, size_t bytes, uint32_t n,
                              uint32_t previous, uint32_t n_rows, size_t *used);

/* Varints, seven bits a byte, low ones first. */
size_t varint_put(unsigned char *out, uint64_t x); /* at most 10 bytes */
/* False at a cut-short or overlong one. */
bool varint_get(uint64_t *x, const unsigned char **in, const unsigned char *end);

#endif
