/*
 * SentencePiece's precompiled character map (nmt_nfkc and the like): a double-array trie from UTF-8 prefixes to offsets
 * of NUL-terminated replacements. Layout: u32 bytes of the trie, the trie's u32 units, the replacements, all
 * little-endian. A unit holds its label in the low 8 bits (bit 31 set in leaves), bit 8 says that a leaf hangs below,
 * bits 10 to 30 are the offset to the children, times 256 where bit 9 is set (Darts-clone).
 *
 * The map is foreign: every index is checked where it is used.
 */
#include "base/mem.h"
#include "tokenizer_int.h"
#include "unicode.h"
#include <string.h>
#include <utf8proc.h>

struct charsmap {
    const unsigned char *units;
    size_t n_units;
    const char *texts;
    size_t texts_bytes;
};

static uint32_t unit_at(const struct charsmap *map, size_t i)
{
    const unsigned char *b = map->units + 4 * i;
    return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static struct charsmap view(const struct step *step)
{
    const unsigned char *b = (const unsigned char *)step->text.data;
    uint32_t bytes = b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
    return (struct charsmap){b + 4, bytes / 4, step->text.data + 4 + bytes, step->text.n - 4 - bytes};
}

enum trawl_status step_charsmap(struct step *step, const void *map, size_t n, const char *where)
{
    TRY(buf_append(&step->text, map, n));
    const unsigned char *b = map;
    uint64_t bytes = n < 8 ? 0 : b[0] | (uint64_t)b[1] << 8 | (uint64_t)b[2] << 16 | (uint64_t)b[3] << 24;
    if (n < 8 || bytes < 4 || bytes % 4 || bytes > n - 4)
        return fail(TRAWL_FORMAT, "%s: the precompiled character map of %zu bytes is cut short or no such map", where,
                    n);
    return TRAWL_OK;
}

static inline size_t offset_of(uint32_t unit)
{
    return (size_t)(unit >> 10) << ((unit & (1u << 9)) >> 6);
}

/* Replacement of the shortest prefix of text that has one (which the reference puts in place of all of it). */
static bool find(const struct charsmap *map, const char *text, size_t n, const char **to, size_t *to_n)
{
    size_t at = offset_of(unit_at(map, 0));
    for (size_t i = 0; i < n && text[i]; i++) {
        unsigned char byte = (unsigned char)text[i];
        at ^= byte;
        if (at >= map->n_units)
            return false;
        uint32_t unit = unit_at(map, at);
        if ((unit & (1u << 31 | 0xff)) != byte)
            return false;
        at ^= offset_of(unit);
        if (!(unit >> 8 & 1))
            continue;
        size_t value = at < map->n_units ? unit_at(map, at) & 0x7fffffff : SIZE_MAX;
        if (value >= map->texts_bytes)
            return false;
        *to = map->texts + value;
        *to_n = strnlen(*to, map->texts_bytes - value);
        return true;
    }
    return false;
}

static size_t grapheme_end(const char *text, size_t n, size_t begin)
{
    unsigned length;
    utf8proc_int32_t state = 0;
    utf8proc_int32_t last = (utf8proc_int32_t)utf8_at(text + begin, &length);
    size_t i = begin + length;
    for (; i < n; i += length) {
        utf8proc_int32_t next = (utf8proc_int32_t)utf8_at(text + i, &length);
        if (utf8proc_grapheme_break_stateful(last, next, &state))
            break;
        last = next;
    }
    return i;
}

static enum trawl_status map_code_points(const struct charsmap *map, struct buf *out, const char *text, size_t n)
{
    unsigned length;
    for (size_t i = 0; i < n; i += length) {
        const char *to;
        size_t to_n;
        utf8_at(text + i, &length);
        if (find(map, text + i, length, &to, &to_n))
            TRY(buf_append(out, to, to_n));
        else
            TRY(buf_append(out, text + i, length));
    }
    return TRAWL_OK;
}

enum trawl_status charsmap_normalize(const struct step *step, struct buf *out, const char *text, size_t n);
enum trawl_status charsmap_normalize(const struct step *step, struct buf *out, const char *text, size_t n)
{
    struct charsmap map = view(step);
    for (size_t begin = 0, end; begin < n; begin = end) {
        const char *to;
        size_t to_n;
        bool plain = (signed char)text[begin] >= 32 && begin + 1 < n && (signed char)text[begin + 1] >= 32;
        end = plain ? begin + 1 : grapheme_end(text, n, begin);
        if (end - begin < 6 && find(&map, text + begin, end - begin, &to, &to_n))
            TRY(buf_append(out, to, to_n));
        else
            TRY(map_code_points(&map, out, text + begin, end - begin));
    }
    return TRAWL_OK;
}
