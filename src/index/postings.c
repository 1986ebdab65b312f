#include "postings.h"
#include <string.h>

typedef uint32_t lanes __attribute__((vector_size(16)));

size_t varint_put(unsigned char *out, uint64_t x)
{
    size_t n = 0;
    for (; x >= 128; x >>= 7)
        out[n++] = (unsigned char)(x | 128);
    out[n++] = (unsigned char)x;
    return n;
}

bool varint_get(uint64_t *x, const unsigned char **in, const unsigned char *end)
{
    uint64_t value = 0;
    for (unsigned shift = 0; *in < end && shift < 64; shift += 7) {
        unsigned char c = *(*in)++;
        value |= (uint64_t)(c & 127) << shift;
        if (c < 128) {
            *x = value;
            return true;
        }
    }
    return false;
}

static unsigned bits_of(uint32_t x)
{
    return x ? 32 - (unsigned)__builtin_clz(x) : 0;
}

/* out: bits * 16 bytes */
static void pack(unsigned char *out, const uint32_t values[POSTINGS_BLOCK], unsigned bits)
{
    uint32_t words[32 * 4] = {0};
    for (unsigned i = 0; i < POSTINGS_BLOCK && bits; i++) {
        unsigned at = i / 4 * bits, word = at / 32, shift = at % 32;
        words[word * 4 + i % 4] |= values[i] << shift;
        if (shift + bits > 32)
            words[(word + 1) * 4 + i % 4] |= values[i] >> (32 - shift);
    }
    memcpy(out, words, (size_t)bits * 16);
}

/* With `bits` a constant the 32 steps are unrolled and every shift is an immediate. */
static inline __attribute__((always_inline)) void unpack_bits(uint32_t *out, const unsigned char *in, unsigned bits)
{
    const lanes mask = (lanes){0} + (bits == 32 ? UINT32_MAX : (1u << bits) - 1);
    lanes word = {0};
    for (unsigned row = 0; row < 32; row++) {
        unsigned at = row * bits, shift = at % 32;
        if (shift == 0)
            memcpy(&word, in + at / 32 * 16, sizeof word);
        lanes value = word >> shift;
        if (shift + bits > 32) {
            memcpy(&word, in + (at / 32 + 1) * 16, sizeof word);
            value |= word << (32 - shift);
        }
        value &= mask;
        memcpy(out + row * 4, &value, sizeof value);
    }
}

/* Laid out by hand: the formatter never settles on one layout of this list. */
/* clang-format off */
#define EACH_WIDTH(X)                                                                                                  \
    X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15) X(16)                             \
    X(17) X(18) X(19) X(20) X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28) X(29) X(30) X(31) X(32)
/* clang-format on */

static void unpack(uint32_t out[POSTINGS_BLOCK], const unsigned char *in, unsigned bits)
{
    switch (bits) {
    case 0:
        memset(out, 0, POSTINGS_BLOCK * sizeof *out);
        break;
#define X(width)                                                                                                       \
    case width:                                                                                                        \
        unpack_bits(out, in, width);                                                                                   \
        break;
        EACH_WIDTH(X)
#undef X
    default:
        break;
    }
}

/* Gaps to rows: each is 1 more than the gap beyond the row before it. */
static void sum_gaps(uint32_t rows[POSTINGS_BLOCK], uint32_t previous)
{
    lanes carry = (lanes){0} + previous;
    const lanes steps = {1, 2, 3, 4};
    for (size_t i = 0; i < POSTINGS_BLOCK; i += 4) {
        lanes x;
        memcpy(&x, rows + i, sizeof x);
        x += __builtin_shufflevector((lanes){0}, x, 0, 4, 5, 6);
        x += __builtin_shufflevector((lanes){0}, x, 0, 0, 4, 5);
        x += carry + steps;
        memcpy(rows + i, &x, sizeof x);
        carry = (lanes){0} + x[3];
    }
}

static enum trawl_status encode_tail(struct buf *out, const struct postings_block *block, uint32_t previous)
{
    for (uint32_t i = 0; i < block->n; i++) {
        unsigned char bytes[20];
        uint64_t gap = (uint32_t)(block->rows[i] - previous - 1);
        size_t n = varint_put(bytes, gap << 1 | (block->counts[i] == 1));
        if (block->counts[i] != 1)
            n += varint_put(bytes + n, block->counts[i]);
        TRY(buf_append(out, bytes, n));
        previous = block->rows[i];
    }
    return TRAWL_OK;
}

enum trawl_status postings_encode(struct buf *out, const struct postings_block *block, uint32_t previous)
{
    if (block->n < POSTINGS_BLOCK)
        return encode_tail(out, block, previous);
    uint32_t gaps[POSTINGS_BLOCK], counts[POSTINGS_BLOCK], all_gaps = 0, all_counts = 0;
    for (size_t i = 0; i < POSTINGS_BLOCK; i++) {
        gaps[i] = block->rows[i] - previous - 1;
        counts[i] = block->counts[i] - 1;
        all_gaps |= gaps[i];
        all_counts |= counts[i];
        previous = block->rows[i];
    }
    unsigned gap_bits = bits_of(all_gaps), count_bits = bits_of(all_counts);
    unsigned char bytes[POSTINGS_BYTES] = {(unsigned char)gap_bits, (unsigned char)count_bits};
    pack(bytes + 2, gaps, gap_bits);
    pack(bytes + 2 + gap_bits * 16, counts, count_bits);
    return buf_append(out, bytes, 2 + (size_t)(gap_bits + count_bits) * 16);
}

static bool decode_tail(struct postings_block *out, const unsigned char *in, size_t bytes, uint32_t previous,
                        uint32_t n_rows, size_t *used)
{
    const unsigned char *begin = in, *end = in + bytes;
    uint64_t next = previous == UINT32_MAX ? 0 : (uint64_t)previous + 1;
    for (uint32_t i = 0; i < out->n; i++) {
        uint64_t gap, count = 1;
        if (!varint_get(&gap, &in, end) || (!(gap & 1) && !varint_get(&count, &in, end)))
            return false;
        uint64_t row = next + (gap >> 1);
        if ((gap >> 1) >= n_rows || row >= n_rows || count == 0 || count > POSTINGS_COUNT_MAX)
            return false;
        out->rows[i] = (uint32_t)row;
        out->counts[i] = (uint32_t)count;
        next = row + 1;
    }
    if (used)
        *used = (size_t)(in - begin);
    return true;
}

/* Sums of gaps this wide could wrap: checked one by one. */
static bool sum_wide_gaps(uint32_t rows[POSTINGS_BLOCK], uint32_t previous, uint32_t n_rows)
{
    uint64_t next = previous == UINT32_MAX ? 0 : (uint64_t)previous + 1;
    for (size_t i = 0; i < POSTINGS_BLOCK; i++) {
        uint64_t row = next + rows[i];
        if (row >= n_rows)
            return false;
        rows[i] = (uint32_t)row;
        next = row + 1;
    }
    return true;
}

bool postings_decode(struct postings_block *out, const unsigned char *in, size_t bytes, uint32_t n, uint32_t previous,
                     uint32_t n_rows, size_t *used)
{
    out->n = n;
    if (n < POSTINGS_BLOCK)
        return decode_tail(out, in, bytes, previous, n_rows, used);
    if (n > POSTINGS_BLOCK || bytes < 2)
        return false;
    unsigned gap_bits = in[0], count_bits = in[1];
    if (gap_bits > 32 || count_bits > 24 || bytes - 2 < (size_t)(gap_bits + count_bits) * 16)
        return false;
    unpack(out->rows, in + 2, gap_bits);
    unpack(out->counts, in + 2 + gap_bits * 16, count_bits);
    for (size_t i = 0; i < POSTINGS_BLOCK; i++)
        out->counts[i]++;
    if (used)
        *used = 2 + (size_t)(gap_bits + count_bits) * 16;
    /* 128 gaps below 2^23 add up to less than 2^31 with the row before them: no wrap, the last one decides. */
    if (gap_bits > 23 || (previous != UINT32_MAX && previous > INT32_MAX / 2))
        return sum_wide_gaps(out->rows, previous, n_rows);
    sum_gaps(out->rows, previous);
    return out->rows[POSTINGS_BLOCK - 1] < n_rows;
}
