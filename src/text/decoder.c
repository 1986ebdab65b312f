/* Decoder steps: words (token literals at first) to words, the text being all of them one after the other. */
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "tokenizer_int.h"
#include "unicode.h"
#include <stdlib.h>
#include <string.h>

enum trawl_status words_push(struct words *w, const char *text, size_t n)
{
    size_t begin = w->text.n;
    TRY(mem_grow((void **)&w->items, &w->cap, w->n + 1, sizeof *w->items));
    TRY(buf_append(&w->text, text, n));
    if (w->text.n > UINT32_MAX)
        return fail(TRAWL_LIMIT, "the decoded text is longer than 4 GiB");
    w->items[w->n++] = (struct piece){(uint32_t)begin, (uint32_t)w->text.n};
    return TRAWL_OK;
}

/* A decoder reads the old words while it pushes new ones: begin, push ..., and release what begin returned. */
static struct words begin_words(struct words *w)
{
    struct words old = *w;
    *w = (struct words){0};
    return old;
}

static void end_words(struct words *old)
{
    buf_release(&old->text);
    free(old->items);
}

static const char *word(const struct words *w, size_t i, size_t *n)
{
    *n = w->items[i].end - w->items[i].begin;
    return w->text.data + w->items[i].begin;
}

/* Runs fn over the words: it appends what becomes of one to *out. */
typedef MUST_USE enum trawl_status (*word_fn)(const struct step *step, struct buf *out, const char *text, size_t n,
                                              size_t i, size_t n_words);

static enum trawl_status map_words(const struct step *step, struct words *w, word_fn fn)
{
    enum trawl_status status = TRAWL_OK;
    struct words old = begin_words(w);
    struct buf out = {0};
    for (size_t i = 0; i < old.n; i++) {
        size_t n;
        const char *text = word(&old, i, &n);
        buf_reset(&out);
        TRY_OUT(fn(step, &out, text, n, i, old.n));
        TRY_OUT(words_push(w, out.data, out.n));
    }
out:
    buf_release(&out);
    end_words(&old);
    return status;
}

/* ---- bytes ---- */

static enum trawl_status repaired_word(struct words *w, const struct buf *bytes)
{
    struct buf text = {0};
    enum trawl_status status = utf8_repair(&text, bytes->n ? bytes->data : "", bytes->n);
    if (!status)
        status = words_push(w, text.data, text.n);
    buf_release(&text);
    return status;
}

static enum trawl_status decode_byte_level(const struct step *step, struct words *w)
{
    (void)step;
    enum trawl_status status = TRAWL_OK;
    struct words old = begin_words(w);
    struct buf bytes = {0};
    for (size_t i = 0; i < old.n; i++) {
        size_t n;
        bool undone;
        const char *text = word(&old, i, &n);
        TRY_OUT(byte_letters_undo(&bytes, text, n, &undone));
        if (!undone)
            TRY_OUT(buf_append(&bytes, text, n));
    }
    status = repaired_word(w, &bytes);
out:
    buf_release(&bytes);
    end_words(&old);
    return status;
}

/* A run of byte tokens is its text when that is valid UTF-8, else one U+FFFD per byte. */
static enum trawl_status push_bytes(struct words *w, struct buf *bytes)
{
    enum trawl_status status = TRAWL_OK;
    if (bytes->n && utf8_invalid(bytes->data, bytes->n) == bytes->n)
        status = words_push(w, bytes->data, bytes->n);
    else
        for (size_t i = 0; i < bytes->n && !status; i++)
            status = words_push(w, "\xef\xbf\xbd", 3);
    buf_reset(bytes);
    return status;
}

static enum trawl_status decode_byte_fallback(const struct step *step, struct words *w)
{
    (void)step;
    enum trawl_status status = TRAWL_OK;
    struct words old = begin_words(w);
    struct buf bytes = {0};
    for (size_t i = 0; i < old.n; i++) {
        size_t n;
        const char *text = word(&old, i, &n);
        int value = byte_fallback_value(text, n);
        if (value >= 0) {
            char byte = (char)value;
            TRY_OUT(buf_append(&bytes, &byte, 1));
            continue;
        }
        TRY_OUT(push_bytes(w, &bytes));
        TRY_OUT(words_push(w, text, n));
    }
    status = push_bytes(w, &bytes);
out:
    buf_release(&bytes);
    end_words(&old);
    return status;
}

static enum trawl_status decode_fuse(const struct step *step, struct words *w)
{
    (void)step;
    if (w->n == 0)
        return words_push(w, "", 0);
    w->items[0] = (struct piece){0, (uint32_t)w->text.n};
    w->n = 1;
    return TRAWL_OK;
}

/* ---- word by word ---- */

static enum trawl_status append_replaced(struct buf *out, const char *text, size_t n, const char *from, size_t from_n,
                                         const char *to, size_t to_n)
{
    for (size_t i = 0; i < n;) {
        const char *found = from_n ? memmem(text + i, n - i, from, from_n) : NULL;
        size_t stop = found ? (size_t)(found - text) : n;
        TRY(buf_append(out, text + i, stop - i));
        if (!found)
            break;
        TRY(buf_append(out, to, to_n));
        i = stop + from_n;
    }
    return TRAWL_OK;
}

static enum trawl_status parse_replace(struct step *step, const json_t *object, const char *where)
{
    for (const struct step_row *row = normalizer_rows; row->name; row++)
        if (strcmp(row->name, "Replace") == 0)
            return row->parse(step, object, where);
    return TRAWL_OK;
}

static enum trawl_status replace_word(const struct step *step, struct buf *out, const char *text, size_t n, size_t i,
                                      size_t n_words)
{
    (void)i;
    (void)n_words;
    for (const struct step_row *row = normalizer_rows; row->name; row++)
        if (strcmp(row->name, "Replace") == 0)
            return row->normalize(step, out, text, n);
    return TRAWL_OK;
}

static enum trawl_status decode_replace(const struct step *step, struct words *w)
{
    return map_words(step, w, replace_word);
}

static enum trawl_status parse_wordpiece(struct step *step, const json_t *object, const char *where)
{
    const char *prefix = NULL;
    size_t n = 0;
    TRY(json_get_text(&prefix, &n, object, "prefix", where));
    TRY(prefix ? buf_append(&step->text, prefix, n) : buf_text(&step->text, "##"));
    return json_get_bool(&step->flag[0], object, "cleanup", true, where);
}

static enum trawl_status clean_up(struct buf *out, const char *text, size_t n)
{
    static const char *const rules[][2] = {{" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
                                           {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
                                           {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
    struct buf from = {0}, to = {0};
    enum trawl_status status = TRAWL_OK;
    TRY_OUT(buf_append(&from, text, n));
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        buf_reset(&to);
        TRY_OUT(append_replaced(&to, from.data, from.n, rules[i][0], strlen(rules[i][0]), rules[i][1],
                                strlen(rules[i][1])));
        struct buf swap = from;
        from = to;
        to = swap;
    }
    status = buf_append(out, from.data, from.n);
out:
    buf_release(&from);
    buf_release(&to);
    return status;
}

static enum trawl_status wordpiece_word(const struct step *step, struct buf *out, const char *text, size_t n, size_t i,
                                        size_t n_words)
{
    (void)n_words;
    struct buf word_text = {0};
    bool continues = n >= step->text.n && memcmp(text, step->text.data ? step->text.data : "", step->text.n) == 0;
    enum trawl_status status = TRAWL_OK;
    if (i && continues)
        status = buf_append(&word_text, text + step->text.n, n - step->text.n);
    else {
        if (i)
            TRY_OUT(buf_append(&word_text, " ", 1));
        TRY_OUT(buf_append(&word_text, text, n));
    }
    if (!status)
        status = step->flag[0] && word_text.n ? clean_up(out, word_text.data, word_text.n)
                                              : buf_append(out, word_text.data, word_text.n);
out:
    buf_release(&word_text);
    return status;
}

static enum trawl_status decode_wordpiece(const struct step *step, struct words *w)
{
    return map_words(step, w, wordpiece_word);
}

static enum trawl_status parse_metaspace(struct step *step, const json_t *object, const char *where)
{
    for (const struct step_row *row = pretokenizer_rows; row->name; row++)
        if (strcmp(row->name, "Metaspace") == 0)
            return row->parse(step, object, where);
    return TRAWL_OK;
}

static enum trawl_status metaspace_word(const struct step *step, struct buf *out, const char *text, size_t n, size_t i,
                                        size_t n_words)
{
    (void)n_words;
    bool drop = i == 0 && step->prepend != PREPEND_NEVER;
    return append_replaced(out, text, n, step->text.data, step->text.n, " ", drop ? 0 : 1);
}

static enum trawl_status decode_metaspace(const struct step *step, struct words *w)
{
    return map_words(step, w, metaspace_word);
}

static enum trawl_status parse_strip(struct step *step, const json_t *object, const char *where)
{
    const char *content = NULL;
    size_t n = 0;
    TRY(json_get_text(&content, &n, object, "content", where));
    if (!content || n == 0)
        return fail(TRAWL_FORMAT, "%s: 'content' is missing", where);
    TRY(buf_append(&step->text, content, n));
    TRY(json_get_count(&step->start, object, "start", 0, where));
    return json_get_count(&step->stop, object, "stop", 0, where);
}

static enum trawl_status strip_word(const struct step *step, struct buf *out, const char *text, size_t n, size_t i,
                                    size_t n_words)
{
    (void)i;
    (void)n_words;
    const char *content = step->text.data;
    size_t m = step->text.n, begin = 0;
    for (size_t k = 0; k < step->start && n - begin >= m && memcmp(text + begin, content, m) == 0; k++)
        begin += m;
    for (size_t k = 0; k < step->stop && n - begin >= m && memcmp(text + n - m, content, m) == 0; k++)
        n -= m;
    return buf_append(out, text + begin, n - begin);
}

static enum trawl_status decode_strip(const struct step *step, struct words *w)
{
    return map_words(step, w, strip_word);
}

static enum trawl_status parse_bpe(struct step *step, const json_t *object, const char *where)
{
    const char *suffix = NULL;
    size_t n = 0;
    TRY(json_get_text(&suffix, &n, object, "suffix", where));
    return suffix ? buf_append(&step->text, suffix, n) : buf_text(&step->text, "</w>");
}

static enum trawl_status bpe_word(const struct step *step, struct buf *out, const char *text, size_t n, size_t i,
                                  size_t n_words)
{
    return append_replaced(out, text, n, step->text.data, step->text.n, " ", i + 1 == n_words ? 0 : 1);
}

static enum trawl_status decode_bpe(const struct step *step, struct words *w)
{
    return map_words(step, w, bpe_word);
}

const struct step_row decoder_rows[] = {
    {.name = "ByteLevel", .decode = decode_byte_level},
    {.name = "ByteFallback", .decode = decode_byte_fallback},
    {.name = "Fuse", .decode = decode_fuse},
    {.name = "Replace", .parse = parse_replace, .decode = decode_replace},
    {.name = "WordPiece", .parse = parse_wordpiece, .decode = decode_wordpiece},
    {.name = "Metaspace", .parse = parse_metaspace, .decode = decode_metaspace},
    {.name = "Strip", .parse = parse_strip, .decode = decode_strip},
    {.name = "BPEDecoder", .parse = parse_bpe, .decode = decode_bpe},
    {0},
};
