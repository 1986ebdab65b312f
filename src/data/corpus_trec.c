/*
 * TREC's markup: <DOC> <DOCNO> id </DOCNO> ... </DOC>, the rest differing from collection to collection. The title is
 * the first of TITLE, HEADLINE, HEAD, HL, TTL; the text is what stands in TEXT, BODY, LEADPARA and LP sections or, when
 * there are none, everything but DOCNO and title. Markup inside becomes white space, entities are decoded.
 */
#include "base/utf8.h"
#include "corpus_int.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* What the words at one place belong to. */
enum part { PART_OTHER, PART_ID, PART_TITLE, PART_TEXT };

static const struct {
    const char *tag;
    enum part part;
} parts[] = {{"DOCNO", PART_ID},      {"TITLE", PART_TITLE}, {"HEADLINE", PART_TITLE}, {"HEAD", PART_TITLE},
             {"HL", PART_TITLE},      {"TTL", PART_TITLE},   {"TEXT", PART_TEXT},      {"BODY", PART_TEXT},
             {"LEADPARA", PART_TEXT}, {"LP", PART_TEXT}};
#define N_PARTS (sizeof parts / sizeof *parts)

#define MAX_TAG 4096 /* bytes up to '>'; beyond, '<' is just a character, so that time stays linear */

struct tag {
    const char *name;
    size_t n;
    bool closes;
    const char *after; /* behind '>' */
};

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

/* A tag or comment at p (on '<'); false: just a character. */
static bool tag_at(struct tag *t, const char *p, const char *end)
{
    const char *name = p + 1;
    if (end - p >= 4 && memcmp(p, "<!--", 4) == 0) {
        const char *stop = p + 4;
        while (end - stop >= 3 && memcmp(stop, "-->", 3) != 0)
            stop++;
        *t = (struct tag){.name = p, .n = 0, .after = end - stop >= 3 ? stop + 3 : end};
        return true;
    }
    t->closes = name < end && *name == '/';
    name += t->closes;
    t->name = name;
    while (name < end && is_name(*name))
        name++;
    t->n = (size_t)(name - t->name);
    size_t room = end - name < MAX_TAG ? (size_t)(end - name) : MAX_TAG;
    const char *stop = t->n ? memchr(name, '>', room) : NULL;
    if (!stop || (*name != '>' && *name != ' ' && *name != '\t' && *name != '\n' && *name != '/'))
        return false;
    t->after = stop + 1;
    return true;
}

static bool tag_is(const struct tag *t, const char *name)
{
    return t->n == strlen(name) && strncasecmp(t->name, name, t->n) == 0;
}

/* Appends a piece of white space unless the text ends in one. */
static enum trawl_status put_space(struct buf *out)
{
    if (out->n == 0 || out->data[out->n - 1] == ' ' || out->data[out->n - 1] == '\n')
        return TRAWL_OK;
    return buf_append(out, " ", 1);
}

static bool numeric_entity(uint32_t *code, const char *name, size_t n)
{
    bool hex = n > 2 && (name[1] == 'x' || name[1] == 'X');
    char *stop;
    char digits[16];
    size_t skip = hex ? 2 : 1;
    if (n <= skip || n - skip >= sizeof digits || name[skip] == '-' || name[skip] == '+' || name[skip] == ' ')
        return false;
    memcpy(digits, name + skip, n - skip);
    digits[n - skip] = '\0';
    unsigned long value = strtoul(digits, &stop, hex ? 16 : 10);
    *code = (uint32_t)value;
    return *stop == '\0' && value > 0 && value < 0x110000 && (value < 0xd800 || value > 0xdfff);
}

/* "&name;" at p into out; false: not an entity that is known. */
static bool entity_at(char out[4], size_t *n_out, const char **after, const char *p, const char *end)
{
    static const struct {
        const char *name;
        uint32_t code;
    } known[] = {{"amp", '&'},  {"lt", '<'},    {"gt", '>'},    {"quot", '"'},     {"apos", '\''},   {"nbsp", ' '},
                 {"hyph", '-'}, {"blank", ' '}, {"sect", 0xa7}, {"mdash", 0x2014}, {"ndash", 0x2013}};
    size_t room = (size_t)(end - p), n;
    const char *stop = memchr(p, ';', room < 12 ? room : 12);
    uint32_t code = 0;
    if (!stop)
        return false;
    n = (size_t)(stop - p) - 1;
    if (n && p[1] == '#' && !numeric_entity(&code, p + 1, n))
        return false;
    for (size_t i = 0; !code && i < sizeof known / sizeof *known; i++)
        if (strlen(known[i].name) == n && memcmp(p + 1, known[i].name, n) == 0)
            code = known[i].code;
    if (!code)
        return false;
    *n_out = utf8_put(out, code);
    *after = stop + 1;
    return true;
}

/* Words from p up to the next tag; returns where they end. */
static enum trawl_status take_words(struct buf *out, const char **at, const char *end)
{
    const char *p = *at;
    struct tag t;
    char bytes[4];
    size_t n;
    do {
        const char *run = p, *after;
        while (p < end && *p != '<' && *p != '&')
            p++;
        TRY(buf_append(out, run, (size_t)(p - run)));
        if (p < end && *p == '&' && entity_at(bytes, &n, &after, p, end)) {
            TRY(buf_append(out, bytes, n));
            p = after;
        } else if (p < end && !(*p == '<' && tag_at(&t, p, end))) {
            TRY(buf_append(out, p++, 1));
        }
    } while (p < end && !(*p == '<' && tag_at(&t, p, end)));
    *at = p;
    return TRAWL_OK;
}

static bool has_text_section(const char *doc, size_t n)
{
    const char *end = doc + n;
    struct tag t;
    for (const char *p = doc; (p = memchr(p, '<', (size_t)(end - p))); p++)
        if (tag_at(&t, p, end) && !t.closes)
            for (size_t i = 0; i < N_PARTS; i++)
                if (parts[i].part == PART_TEXT && tag_is(&t, parts[i].tag))
                    return true;
    return false;
}

static void trim_buf(struct buf *b)
{
    size_t begin = 0;
    while (b->n && strchr(" \t\r\n", b->data[b->n - 1]) && b->data[b->n - 1])
        b->n--;
    while (begin < b->n && strchr(" \t\r\n", b->data[begin]) && b->data[begin])
        begin++;
    if (b->data) {
        memmove(b->data, b->data + begin, b->n - begin);
        b->n -= begin;
        b->data[b->n] = '\0';
    }
}

/* Follows one tag: which part are we in now? `section` is the row that opened the present part. */
static void follow(enum part *part, size_t *section, const struct tag *t, bool titled)
{
    if (*part != PART_OTHER) {
        if (t->closes && tag_is(t, parts[*section].tag))
            *part = PART_OTHER;
        return;
    }
    for (size_t i = 0; !t->closes && i < N_PARTS; i++)
        if (tag_is(t, parts[i].tag) && !(parts[i].part == PART_TITLE && titled)) {
            *part = parts[i].part;
            *section = i;
        }
}

enum trawl_status trec_document(struct buf *id, struct buf *title, struct buf *text, const char *doc, size_t n)
{
    const char *p = doc, *end = doc + n;
    bool sections = has_text_section(doc, n);
    enum part part = PART_OTHER;
    size_t section = 0;
    struct buf *const outs[] = {
        [PART_OTHER] = sections ? NULL : text, [PART_ID] = id, [PART_TITLE] = title, [PART_TEXT] = text};
    struct buf ignored = {0};
    enum trawl_status status = TRAWL_OK;
    while (p < end) {
        struct tag t;
        if (*p == '<' && tag_at(&t, p, end)) {
            if (part != PART_ID && outs[part])
                TRY_OUT(put_space(outs[part]));
            follow(&part, &section, &t, title->n > 0);
            p = t.after;
        } else {
            buf_reset(&ignored);
            TRY_OUT(take_words(outs[part] ? outs[part] : &ignored, &p, end));
        }
    }
    trim_buf(id);
    trim_buf(title);
    trim_buf(text);
out:
    buf_release(&ignored);
    return status;
}

/* Position of "<DOC>" or "</DOC>" in a line, NULL when it is not there. */
static const char *find_tag(const char *line, size_t n, const char *tag)
{
    size_t m = strlen(tag);
    for (const char *p = line, *end = line + n; (p = memchr(p, '<', (size_t)(end - p))); p++)
        if ((size_t)(end - p) >= m && strncasecmp(p, tag, m) == 0)
            return p;
    return NULL;
}

/* The bytes between <DOC> and </DOC> into c->scratch; *found false at the end of the file. */
static enum trawl_status gather(struct corpus *c, bool *found)
{
    const char *open = NULL;
    *found = false;
    buf_reset(&c->scratch);
    for (;;) {
        TRY(corpus_line(c));
        if (!c->line)
            break;
        const char *begin = c->line, *end = c->line + c->line_bytes;
        if (!open) {
            open = find_tag(begin, c->line_bytes, "<DOC>");
            if (!open)
                continue;
            c->record_line = line_number(c->lines);
            begin = open + 5;
        }
        const char *close = find_tag(begin, (size_t)(end - begin), "</DOC>");
        if (c->scratch.n > (size_t)256 << 20)
            return corpus_fail(c, "the document is longer than 256 MiB (is its </DOC> missing?)");
        TRY(buf_append(&c->scratch, begin, (size_t)((close ? close : end) - begin)));
        if (close) {
            *found = true;
            c->line = close + 6;
            c->line_bytes = (size_t)(end - c->line);
            c->held = c->line_bytes > 0;
            return TRAWL_OK;
        }
        TRY(buf_append(&c->scratch, "\n", 1));
    }
    return open ? corpus_fail(c, "the document has no </DOC> (is the file cut short?)") : TRAWL_OK;
}

static enum trawl_status read_trec(struct corpus *c, bool *found)
{
    TRY(gather(c, found));
    if (!*found)
        return TRAWL_OK;
    TRY(trec_document(&c->id, &c->title, &c->text, c->scratch.data ? c->scratch.data : "", c->scratch.n));
    return c->id.n ? TRAWL_OK : corpus_fail(c, "the document has no <DOCNO>");
}

const struct corpus_format corpus_trec = {"trec", read_trec};
