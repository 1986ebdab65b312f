/*
 * A malformed sequence is replaced by maximal subparts (Unicode 15, section 3.9, "U+FFFD substitution of maximal
 * subparts"): the longest prefix that could begin a well-formed sequence becomes one U+FFFD.
 */
#include "utf8.h"
#include <string.h>

enum { REPLACEMENT = 0xFFFD };

/* Length of the sequence that `lead` begins, and the range its second byte must be in; 0 for no lead byte. */
static size_t lead_length(unsigned char lead, unsigned char *low, unsigned char *high)
{
    *low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    *high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (lead >= 0xC2 && lead <= 0xDF)
        return 2;
    if (lead >= 0xE0 && lead <= 0xEF)
        return 3;
    return lead >= 0xF0 && lead <= 0xF4 ? 4 : 0;
}

/* Decodes at *i and advances; false when malformed (*i is then past the maximal subpart). */
static bool decode(const char *text, size_t n, size_t *i, uint32_t *code_point)
{
    unsigned char lead = (unsigned char)text[(*i)++], low, high;
    if (lead < 0x80) {
        *code_point = lead;
        return true;
    }
    size_t length = lead_length(lead, &low, &high);
    *code_point = length == 2 ? lead & 0x1Fu : length == 3 ? lead & 0x0Fu : lead & 0x07u;
    for (size_t k = 1; k < length; k++, low = 0x80, high = 0xBF) {
        unsigned char next = *i < n ? (unsigned char)text[*i] : 0;
        if (next < low || next > high)
            return false;
        *code_point = *code_point << 6 | (next & 0x3Fu);
        (*i)++;
    }
    return length != 0;
}

uint32_t utf8_next(const char *text, size_t n, size_t *i)
{
    uint32_t code_point;
    return decode(text, n, i, &code_point) ? code_point : REPLACEMENT;
}

size_t utf8_put(char out[4], uint32_t code_point)
{
    if (code_point > 0x10FFFF || (code_point >= 0xD800 && code_point <= 0xDFFF))
        code_point = REPLACEMENT;
    if (code_point < 0x80) {
        out[0] = (char)code_point;
        return 1;
    }
    if (code_point < 0x800) {
        out[0] = (char)(0xC0 | code_point >> 6);
        out[1] = (char)(0x80 | (code_point & 0x3F));
        return 2;
    }
    if (code_point < 0x10000) {
        out[0] = (char)(0xE0 | code_point >> 12);
        out[1] = (char)(0x80 | (code_point >> 6 & 0x3F));
        out[2] = (char)(0x80 | (code_point & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | code_point >> 18);
    out[1] = (char)(0x80 | (code_point >> 12 & 0x3F));
    out[2] = (char)(0x80 | (code_point >> 6 & 0x3F));
    out[3] = (char)(0x80 | (code_point & 0x3F));
    return 4;
}

/* First i >= begin whose byte is not ASCII, or n. */
static size_t skip_ascii(const char *text, size_t n, size_t begin)
{
    size_t i = begin;
    for (uint64_t word; i + sizeof word <= n; i += sizeof word) {
        memcpy(&word, text + i, sizeof word);
        if (word & 0x8080808080808080u)
            break;
    }
    while (i < n && !((unsigned char)text[i] & 0x80))
        i++;
    return i;
}

size_t utf8_invalid(const char *text, size_t n)
{
    uint32_t ignored;
    for (size_t i = skip_ascii(text, n, 0); i < n; i = skip_ascii(text, n, i)) {
        size_t begin = i;
        if (!decode(text, n, &i, &ignored))
            return begin;
    }
    return n;
}

enum trawl_status utf8_repair(struct buf *out, const char *text, size_t n)
{
    for (size_t begin = 0; begin < n;) {
        size_t good = utf8_invalid(text + begin, n - begin);
        TRY(buf_append(out, text + begin, good));
        begin += good;
        if (begin < n) {
            (void)utf8_next(text, n, &begin);
            TRY(buf_append(out, "\xEF\xBF\xBD", 3));
        }
    }
    return TRAWL_OK;
}
