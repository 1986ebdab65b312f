/*
 * The vocabulary: literals by id, ids by literal; and the letters that stand for bytes in byte-level vocabularies.
 */
#include "base/mem.h"
#include "base/utf8.h"
#include "tokenizer_int.h"
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* Bytes that print stand for themselves, the others for U+0100, U+0101, ... in their order (Radford et al. 2019). */
#define PRINTS(b) (((b) >= 33 && (b) <= 126) || ((b) >= 161 && (b) <= 172) || (b) >= 174)
#define LETTER(b) [b] = PRINTS(b) ? (b) : 256 + ((b) < 33 ? (b) : (b) < 161 ? (b)-127 + 33 : 67)
#define LETTERS4(b) LETTER(b), LETTER((b) + 1), LETTER((b) + 2), LETTER((b) + 3)
#define LETTERS16(b) LETTERS4(b), LETTERS4((b) + 4), LETTERS4((b) + 8), LETTERS4((b) + 12)
#define LETTERS64(b) LETTERS16(b), LETTERS16((b) + 16), LETTERS16((b) + 32), LETTERS16((b) + 48)
const uint16_t byte_letter[256] = {LETTERS64(0), LETTERS64(64), LETTERS64(128), LETTERS64(192)};

int byte_of_letter(uint32_t c)
{
    if (c < 256)
        return PRINTS(c) ? (int)c : -1;
    if (c < 256 + 33)
        return (int)c - 256;
    if (c < 256 + 67)
        return (int)c - 256 - 33 + 127;
    return c == 256 + 67 ? 173 : -1;
}

enum trawl_status byte_letters_append(struct buf *out, const char *bytes, size_t n)
{
    TRY(buf_reserve(out, 2 * n + 1));
    for (size_t i = 0; i < n; i++)
        out->n += utf8_put(out->data + out->n, byte_letter[(unsigned char)bytes[i]]);
    out->data[out->n] = 0;
    return TRAWL_OK;
}

enum trawl_status byte_letters_undo(struct buf *out, const char *literal, size_t n, bool *undone)
{
    size_t before = out->n;
    *undone = true;
    TRY(buf_reserve(out, n + 1));
    for (size_t i = 0; i < n;) {
        int byte = byte_of_letter(utf8_next(literal, n, &i));
        if (byte < 0) {
            *undone = false;
            out->n = before;
            break;
        }
        out->data[out->n++] = (char)byte;
    }
    out->data[out->n] = 0;
    return TRAWL_OK;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

int byte_fallback_value(const char *literal, size_t n)
{
    if (n != 6 || memcmp(literal, "<0x", 3) != 0 || literal[5] != '>')
        return -1;
    int high = hex_digit(literal[3]), low = hex_digit(literal[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

void fill_fallback(const struct vocab *v, uint32_t fallback[256], bool *complete)
{
    static const char digits[] = "0123456789ABCDEF";
    *complete = true;
    for (int b = 0; b < 256; b++) {
        char literal[6] = {'<', '0', 'x', digits[b >> 4], digits[b & 15], '>'};
        fallback[b] = model_find(v, literal, 6);
        *complete = *complete && fallback[b] != ID_NONE;
    }
}

static enum trawl_status grow_to(struct vocab *v, size_t n)
{
    TRY(mem_grow((void **)&v->tokens, &v->tokens_cap, n, sizeof *v->tokens));
    TRY(mem_grow((void **)&v->kinds, &v->kinds_cap, n, sizeof *v->kinds));
    memset(v->tokens + v->n, 0, (n - v->n) * sizeof *v->tokens);
    memset(v->kinds + v->n, TOKEN_HOLE, n - v->n);
    v->n = n;
    return TRAWL_OK;
}

enum trawl_status vocab_set(struct vocab *v, uint32_t id, const char *literal, size_t n, unsigned kind,
                            const char *where)
{
    if (id >= MAX_TOKENS || id >= v->n_used * 8 + (1u << 20)) /* far more ids than tokens: nothing to allocate for */
        return fail(TRAWL_LIMIT, "%s: token id %u is too large", where, id);
    if (n > MAX_TOKEN_BYTES || v->used + n > UINT32_MAX)
        return fail(TRAWL_LIMIT, "%s: token %u of %zu bytes is too long", where, id, n);
    if (id >= v->n)
        TRY(grow_to(v, (size_t)id + 1));
    if (v->kinds[id] != TOKEN_HOLE) {
        size_t old_n;
        const char *old = vocab_text(v, id, &old_n);
        return fail(TRAWL_FORMAT, "%s: id %u is given to two tokens, '%.*s' and '%.*s'", where, id,
                    (int)(old_n < 64 ? old_n : 64), old, (int)(n < 64 ? n : 64), literal);
    }
    TRY(mem_grow((void **)&v->bytes, &v->cap, v->used + n + 1, 1));
    if (n)
        memcpy(v->bytes + v->used, literal, n);
    v->tokens[id] = (struct slice){(uint32_t)v->used, (uint32_t)n};
    v->kinds[id] = (uint8_t)kind;
    v->used += n;
    v->n_used++;
    return TRAWL_OK;
}

static size_t slot_of(const struct vocab *v, const char *literal, size_t n)
{
    size_t slot = (size_t)XXH3_64bits(literal, n) & v->slot_mask;
    for (; v->slots[slot]; slot = (slot + 1) & v->slot_mask) {
        struct slice token = v->tokens[v->slots[slot] - 1];
        if (token.n == n && memcmp(v->bytes + token.at, literal, n) == 0)
            break;
    }
    return slot;
}

enum trawl_status vocab_index(struct vocab *v, bool unique, const char *where)
{
    size_t slots = 64;
    while (slots < v->n_used * 2 + 64)
        slots *= 2;
    free(v->slots);
    v->slots = mem_array(slots, sizeof *v->slots);
    if (!v->slots)
        return mem_status();
    v->slot_mask = slots - 1;
    for (uint32_t id = 0; id < v->n; id++) {
        if (v->kinds[id] == TOKEN_HOLE)
            continue;
        size_t n, slot;
        const char *literal = vocab_text(v, id, &n);
        slot = slot_of(v, literal, n);
        if (v->slots[slot] && unique)
            return fail(TRAWL_FORMAT, "%s: token '%.*s' stands twice, with ids %u and %u", where,
                        (int)(n < 64 ? n : 64), literal, v->slots[slot] - 1, id);
        v->slots[slot] = id + 1;
    }
    return TRAWL_OK;
}

enum trawl_status vocab_insert(struct vocab *v, uint32_t id, const char *where)
{
    if ((v->n_used + 1) * 3 / 2 > v->slot_mask)
        return vocab_index(v, false, where);
    size_t n;
    const char *literal = vocab_text(v, id, &n);
    v->slots[slot_of(v, literal, n)] = id + 1;
    return TRAWL_OK;
}

uint32_t vocab_find(const struct vocab *v, const char *literal, size_t n)
{
    if (!v->slots || n == 0)
        return ID_NONE;
    uint32_t found = v->slots[slot_of(v, literal, n)];
    return found ? found - 1 : ID_NONE;
}

void vocab_release(struct vocab *v)
{
    free(v->bytes);
    free(v->tokens);
    free(v->kinds);
    free(v->slots);
    *v = (struct vocab){0};
}
