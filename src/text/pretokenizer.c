/*
 * Pre-tokenizer steps: each turns the pieces in s->in into the pieces in s->out. A step that changes the text (a space
 * put in front, U+2581 for spaces, letters for bytes) writes a new text to s->rewritten and pieces into that.
 */
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "tokenizer_int.h"
#include "unicode.h"
#include <stdlib.h>
#include <string.h>

enum trawl_status pieces_grow(struct pieces *pieces)
{
    return mem_grow((void **)&pieces->items, &pieces->cap, pieces->n + 1, sizeof *pieces->items);
}

/* ---- cutting by matches ---- */

/* Collects matches and the gaps between them, and joins them as the behaviour says. */
struct cutter {
    struct tokenizer_scratch *s;
    enum behaviour behaviour;
    bool invert;
    uint32_t begin, end; /* pending piece */
    bool pending, pending_match, last_match;
};

static enum trawl_status cutter_flush(struct cutter *c)
{
    bool pending = c->pending;
    c->pending = false;
    return pending ? scratch_push(c->s, c->begin, c->end) : TRAWL_OK;
}

/* The reference joins to the next from the right: in a run of matches the last goes with what follows, and the others
 * are paired from the right with nothing, each alone. */
static bool joins(const struct cutter *c, bool match)
{
    switch (c->behaviour) {
    case SPLIT_CONTIGUOUS:
        return c->pending_match == match;
    case SPLIT_MERGED_PREVIOUS:
        return match && !c->last_match;
    case SPLIT_MERGED_NEXT:
        return !match && c->last_match;
    default:
        return false;
    }
}

static enum trawl_status cutter_add(struct cutter *c, uint32_t begin, uint32_t end, bool match)
{
    if (begin == end)
        return TRAWL_OK;
    match = match != c->invert;
    if (c->behaviour == SPLIT_REMOVED && match)
        return cutter_flush(c);
    if (c->pending && joins(c, match)) {
        c->end = end;
    } else {
        TRY(cutter_flush(c));
        c->begin = begin;
        c->end = end;
        c->pending = true;
    }
    c->pending_match = c->last_match = match;
    return TRAWL_OK;
}

/* ---- by class of code point ---- */

/* Every code point with one of the flags is a match of its own. */
static enum trawl_status cut_by_flags(struct tokenizer_scratch *s, unsigned flags, enum behaviour behaviour)
{
    const char *text = s->text;
    for (size_t k = 0; k < s->in.n; k++) {
        struct piece piece = s->in.items[k];
        struct cutter c = {.s = s, .behaviour = behaviour};
        uint32_t gap = piece.begin;
        unsigned length;
        for (uint32_t i = piece.begin; i < piece.end; i += length) {
            if (!unicode_is(utf8_at(text + i, &length), flags))
                continue;
            TRY(cutter_add(&c, gap, i, false));
            TRY(cutter_add(&c, i, i + length, true));
            gap = i + length;
        }
        TRY(cutter_add(&c, gap, piece.end, false));
        TRY(cutter_flush(&c));
    }
    return TRAWL_OK;
}

static enum trawl_status split_whitespace_split(const struct step *step, struct tokenizer_scratch *s)
{
    (void)step;
    return cut_by_flags(s, U_SPACE, SPLIT_REMOVED);
}

/* \w+|[^\w\s]+ */
static enum trawl_status split_whitespace(const struct step *step, struct tokenizer_scratch *s)
{
    (void)step;
    for (size_t k = 0; k < s->in.n; k++) {
        struct piece piece = s->in.items[k];
        uint32_t begin = piece.begin;
        unsigned last = U_SPACE, length;
        for (uint32_t i = piece.begin; i < piece.end; i += length) {
            unsigned flags = unicode_flags[utf8_at(s->text + i, &length)];
            unsigned class = flags & U_WORD ? U_WORD : flags & U_SPACE;
            if (class == last)
                continue;
            if (last != U_SPACE)
                TRY(scratch_push(s, begin, i));
            begin = i;
            last = class;
        }
        if (last != U_SPACE)
            TRY(scratch_push(s, begin, piece.end));
    }
    return TRAWL_OK;
}

static enum trawl_status split_bert(const struct step *step, struct tokenizer_scratch *s)
{
    (void)step;
    for (size_t k = 0; k < s->in.n; k++) {
        struct piece piece = s->in.items[k];
        uint32_t begin = piece.begin;
        unsigned length;
        for (uint32_t i = piece.begin; i < piece.end; i += length) {
            unsigned flags = unicode_flags[utf8_at(s->text + i, &length)];
            if (!(flags & (U_SPACE | U_PUNCT)))
                continue;
            TRY(scratch_push(s, begin, i));
            if (flags & U_PUNCT)
                TRY(scratch_push(s, i, i + length));
            begin = i + length;
        }
        TRY(scratch_push(s, begin, piece.end));
    }
    return TRAWL_OK;
}

static enum trawl_status parse_digits(struct step *step, const json_t *object, const char *where)
{
    return json_get_bool(&step->flag[0], object, "individual_digits", false, where);
}

static enum trawl_status split_digits(const struct step *step, struct tokenizer_scratch *s)
{
    return cut_by_flags(s, U_NUMERIC, step->flag[0] ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS);
}

static enum trawl_status parse_behaviour(struct step *step, const json_t *object, const char *preset, const char *where)
{
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
    const char *name = NULL;
    size_t n;
    TRY(json_get_text(&name, &n, object, "behavior", where));
    name = name ? name : preset;
    for (int i = 0; i < 5; i++)
        if (strcmp(names[i], name) == 0)
            return step->behaviour = (enum behaviour)i, TRAWL_OK;
    return fail(TRAWL_UNSUPPORTED, "%s: behaviour '%s' is not supported", where, name);
}

static enum trawl_status parse_punctuation(struct step *step, const json_t *object, const char *where)
{
    return parse_behaviour(step, object, "Isolated", where);
}

static enum trawl_status split_punctuation(const struct step *step, struct tokenizer_scratch *s)
{
    return cut_by_flags(s, U_PUNCT, step->behaviour);
}

/* ---- Split ---- */

/* {"String": "..."} or {"Regex": "..."} into step->text and, unless it is known by heart, step->regex. */
static enum trawl_status parse_pattern(struct step *step, const json_t *object, const char *where)
{
    const json_t *pattern = json_object_get(object, "pattern");
    const json_t *text = json_object_get(pattern, "String"), *expression = json_object_get(pattern, "Regex");
    if (!json_is_string(text) && !json_is_string(expression))
        return fail(TRAWL_FORMAT, "%s: 'pattern' must be {\"String\": ...} or {\"Regex\": ...}", where);
    const json_t *given = json_is_string(text) ? text : expression;
    TRY(buf_append(&step->text, json_string_value(given), json_string_length(given)));
    if (given == text)
        return TRAWL_OK;
    step->scan = scan_find(step->text.data, step->text.n, &step->scan_parameter);
    return regex_new(&step->regex, step->text.data, step->text.n, false, where);
}

static enum trawl_status parse_split(struct step *step, const json_t *object, const char *where)
{
    TRY(parse_pattern(step, object, where));
    TRY(parse_behaviour(step, object, "", where));
    TRY(json_get_bool(&step->flag[0], object, "invert", false, where));
    bool covers = step->behaviour == SPLIT_ISOLATED || (step->behaviour == SPLIT_REMOVED && step->flag[0]);
    step->scan = covers ? step->scan : NULL;
    return TRAWL_OK;
}

/* Next match of a text or an expression in text[from, n). */
static enum trawl_status next_match(const struct step *step, const char *text, size_t n, size_t from, size_t *begin,
                                    size_t *end)
{
    if (step->regex)
        return regex_next(step->regex, text, n, from, begin, end);
    const char *found = step->text.n ? memmem(text + from, n - from, step->text.data, step->text.n) : NULL;
    *begin = found ? (size_t)(found - text) : SIZE_MAX;
    *end = found ? *begin + step->text.n : SIZE_MAX;
    return TRAWL_OK;
}

static enum trawl_status cut_by_matches(const struct step *step, struct cutter *c, const char *text, uint32_t base,
                                        size_t n)
{
    size_t at = 0, from = 0, begin, end;
    while (from <= n) {
        TRY(next_match(step, text, n, from, &begin, &end));
        if (begin == SIZE_MAX)
            break;
        TRY(cutter_add(c, base + (uint32_t)at, base + (uint32_t)begin, false));
        TRY(cutter_add(c, base + (uint32_t)begin, base + (uint32_t)end, true));
        at = end;
        unsigned length = 1;
        if (end == begin && end < n)
            utf8_at(text + end, &length);
        from = end == begin ? end + length : end;
    }
    TRY(cutter_add(c, base + (uint32_t)at, base + (uint32_t)n, false));
    return cutter_flush(c);
}

static enum trawl_status split_split(const struct step *step, struct tokenizer_scratch *s)
{
    for (size_t k = 0; k < s->in.n; k++) {
        struct piece piece = s->in.items[k];
        if (step->scan) {
            TRY(step->scan(s, s->text, piece.begin, piece.end, step->scan_parameter));
            continue;
        }
        struct cutter c = {.s = s, .behaviour = step->behaviour, .invert = step->flag[0]};
        TRY(cut_by_matches(step, &c, s->text + piece.begin, piece.begin, piece.end - piece.begin));
    }
    return TRAWL_OK;
}

static enum trawl_status parse_delimiter(struct step *step, const json_t *object, const char *where)
{
    const char *text = NULL;
    size_t n;
    TRY(json_get_text(&text, &n, object, "delimiter", where));
    if (!text || n == 0)
        return fail(TRAWL_FORMAT, "%s: 'delimiter' is missing", where);
    step->behaviour = SPLIT_REMOVED;
    return buf_append(&step->text, text, n);
}

/* ---- steps that change the text ---- */

static enum trawl_status too_long(void)
{
    return fail(TRAWL_LIMIT, "a text of more than 1 GiB cannot be tokenised at once (split it)");
}

/* Makes s->rewritten (without its new pieces' offsets beyond 32 bits) the text that s->out points into. */
static enum trawl_status rewritten(struct tokenizer_scratch *s)
{
    s->rewrote = true;
    return s->rewritten.n > INT32_MAX ? too_long() : TRAWL_OK;
}

static enum trawl_status parse_byte_level(struct step *step, const json_t *object, const char *where)
{
    TRY(json_get_bool(&step->flag[BYTE_LEVEL_PREFIX], object, "add_prefix_space", true, where));
    return json_get_bool(&step->flag[BYTE_LEVEL_REGEX], object, "use_regex", true, where);
}

static enum trawl_status prefix_spaces(struct tokenizer_scratch *s, struct pieces *pieces)
{
    buf_reset(&s->rewritten);
    for (size_t k = 0; k < pieces->n; k++) {
        struct piece *piece = &pieces->items[k];
        size_t begin = s->rewritten.n;
        if (s->text[piece->begin] != ' ')
            TRY(buf_append(&s->rewritten, " ", 1));
        TRY(buf_append(&s->rewritten, s->text + piece->begin, piece->end - piece->begin));
        *piece = (struct piece){(uint32_t)begin, (uint32_t)s->rewritten.n};
    }
    return rewritten(s);
}

/* Replaces the text of the pieces in s->out by the letters of their bytes. */
static enum trawl_status write_letters(struct tokenizer_scratch *s, const char *text)
{
    struct buf made = {0};
    enum trawl_status status = TRAWL_OK;
    for (size_t k = 0; k < s->out.n; k++) {
        struct piece *piece = &s->out.items[k];
        size_t begin = made.n;
        TRY_OUT(byte_letters_append(&made, text + piece->begin, piece->end - piece->begin));
        *piece = (struct piece){(uint32_t)begin, (uint32_t)made.n};
    }
    struct buf old = s->rewritten;
    s->rewritten = made;
    made = old;
    status = rewritten(s);
out:
    buf_release(&made);
    return status;
}

static enum trawl_status split_byte_level(const struct step *step, struct tokenizer_scratch *s)
{
    const char *text = s->text;
    if (step->flag[BYTE_LEVEL_PREFIX]) {
        TRY(prefix_spaces(s, &s->in));
        text = s->rewritten.data;
    }
    for (size_t k = 0; k < s->in.n; k++) {
        struct piece piece = s->in.items[k];
        if (step->flag[BYTE_LEVEL_REGEX])
            TRY(scan_gpt2()(s, text, piece.begin, piece.end, 0));
        else
            TRY(scratch_push(s, piece.begin, piece.end));
    }
    return step->flag[BYTE_LEVEL_WRITE] ? write_letters(s, text) : TRAWL_OK;
}

static enum trawl_status parse_metaspace(struct step *step, const json_t *object, const char *where)
{
    static const char *const schemes[] = {"always", "first", "never"};
    const char *text = NULL, *scheme = NULL;
    size_t n;
    bool prefix;
    TRY(json_get_text(&text, &n, object, "replacement", where));
    if (!text || n == 0)
        return fail(TRAWL_FORMAT, "%s: 'replacement' is missing", where);
    TRY(buf_append(&step->text, text, n));
    TRY(json_get_bool(&prefix, object, "add_prefix_space", true, where));
    step->prepend = prefix ? PREPEND_ALWAYS : PREPEND_NEVER;
    TRY(json_get_text(&scheme, &n, object, "prepend_scheme", where));
    for (int i = 0; scheme; i++) {
        if (i == 3)
            return fail(TRAWL_UNSUPPORTED, "%s: prepend_scheme '%s' is not supported", where, scheme);
        if (strcmp(schemes[i], scheme) == 0) {
            step->prepend = (enum prepend)i;
            break;
        }
    }
    return json_get_bool(&step->flag[0], object, "split", true, where);
}

/* One piece with its spaces replaced and perhaps one in front, cut before every replacement. */
static enum trawl_status metaspace_piece(const struct step *step, struct tokenizer_scratch *s, struct piece piece,
                                         bool first)
{
    struct buf *out = &s->rewritten;
    const char *text = s->text + piece.begin, *mark = step->text.data;
    size_t n = piece.end - piece.begin, begin = out->n, mark_n = step->text.n;
    bool prefix = step->prepend == PREPEND_ALWAYS || (step->prepend == PREPEND_FIRST && first);
    bool marked = text[0] == ' ' || (n >= mark_n && memcmp(text, mark, mark_n) == 0);
    if (prefix && !marked)
        TRY(buf_append(out, mark, mark_n));
    for (size_t i = 0; i < n;) {
        const char *space = memchr(text + i, ' ', n - i);
        size_t stop = space ? (size_t)(space - text) : n;
        TRY(buf_append(out, text + i, stop - i));
        if (space)
            TRY(buf_append(out, mark, mark_n));
        i = stop + (space != NULL);
    }
    if (out->n > INT32_MAX)
        return too_long();
    if (!step->flag[0])
        return scratch_push(s, (uint32_t)begin, (uint32_t)out->n);
    for (size_t i = begin; i < out->n;) {
        const char *found = i + 1 < out->n ? memmem(out->data + i + 1, out->n - i - 1, mark, mark_n) : NULL;
        size_t stop = found ? (size_t)(found - out->data) : out->n;
        TRY(scratch_push(s, (uint32_t)i, (uint32_t)stop));
        i = stop;
    }
    return TRAWL_OK;
}

static enum trawl_status split_metaspace(const struct step *step, struct tokenizer_scratch *s)
{
    buf_reset(&s->rewritten);
    for (size_t k = 0; k < s->in.n; k++)
        TRY(metaspace_piece(step, s, s->in.items[k], s->at_start && s->in.items[k].begin == 0));
    return rewritten(s);
}

const struct step_row pretokenizer_rows[] = {
    {.name = "ByteLevel", .parse = parse_byte_level, .split = split_byte_level},
    {.name = "Split", .parse = parse_split, .split = split_split},
    {.name = "Digits", .parse = parse_digits, .split = split_digits},
    {.name = "Metaspace", .parse = parse_metaspace, .split = split_metaspace},
    {.name = "Whitespace", .split = split_whitespace},
    {.name = "WhitespaceSplit", .split = split_whitespace_split},
    {.name = "BertPreTokenizer", .split = split_bert},
    {.name = "Punctuation", .parse = parse_punctuation, .split = split_punctuation},
    {.name = "CharDelimiterSplit", .parse = parse_delimiter, .split = split_split},
    {0},
};

/* ---- all steps ---- */

/* Letters back to bytes, for byte-level models whose letters later steps have seen. */
static enum trawl_status undo_letters(struct tokenizer_scratch *s)
{
    buf_reset(&s->rewritten);
    for (size_t k = 0; k < s->in.n; k++) {
        struct piece *piece = &s->in.items[k];
        size_t begin = s->rewritten.n;
        bool undone;
        TRY(byte_letters_undo(&s->rewritten, s->text + piece->begin, piece->end - piece->begin, &undone));
        *piece = (struct piece){(uint32_t)begin, (uint32_t)s->rewritten.n};
    }
    return TRAWL_OK;
}

static enum trawl_status take_rewritten(struct tokenizer_scratch *s, int *turn)
{
    struct buf old = s->work[*turn];
    TRY(buf_reserve(&s->rewritten, TEXT_PAD));
    s->work[*turn] = s->rewritten;
    s->rewritten = old;
    s->text = s->work[*turn].data;
    *turn = !*turn;
    return TRAWL_OK;
}

enum trawl_status split_text(const struct tokenizer *t, struct tokenizer_scratch *s, uint32_t n)
{
    int turn = 0;
    s->in.n = s->out.n = 0;
    TRY(scratch_push(s, 0, n));
    for (size_t i = 0; i < t->n_pretokenizers && s->out.n; i++) {
        struct pieces pieces = s->in;
        s->in = s->out;
        s->out = pieces;
        s->out.n = 0;
        s->rewrote = false;
        TRY(t->pretokenizers[i].row->split(&t->pretokenizers[i], s));
        if (s->rewrote)
            TRY(take_rewritten(s, &turn));
    }
    struct pieces pieces = s->in;
    s->in = s->out;
    s->out = pieces;
    if (!t->unmap)
        return TRAWL_OK;
    TRY(undo_letters(s));
    return take_rewritten(s, &turn);
}
