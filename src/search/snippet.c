/* Snippets: matches by the analyzer's offsets, a sliding window over them, and the text around it. */
#include "snippet.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "text/analyzer.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define AGAIN 0.1 /* weight of a further occurrence, as a part of the first */

struct match {
    size_t begin, end; /* bytes of the text */
    uint32_t term;
};

struct snippets {
    const struct index *ix;
    size_t field;
    double n_rows;
    struct analyzer *analyzer;
    struct map terms; /* of the query */
    double *weights;  /* (terms.n) */
    uint32_t *seen;   /* (terms.n) occurrences in the window */
    size_t weights_cap, seen_cap;
    struct match *matches;
    size_t n_matches, matches_cap;
};

struct snippet_style snippet_style(bool terminal)
{
    if (terminal)
        return (struct snippet_style){.before = "\033[1;4m", .after = "\033[0m", .width = 200};
    return (struct snippet_style){.before = "**", .after = "**", .width = 200};
}

enum trawl_status snippets_new(struct snippets **out, const struct index *ix, size_t field)
{
    *out = NULL;
    struct snippets *s = mem_array(1, sizeof *s);
    if (!s)
        return mem_status();
    s->ix = ix;
    s->field = field;
    s->n_rows = ix ? (double)index_n_rows(ix) : 0.0;
    enum trawl_status status =
        analyzer_new(&s->analyzer, field == SIZE_MAX ? "english" : index_field(ix, field)->analyzer);
    if (status != TRAWL_OK) {
        snippets_free(s);
        return status;
    }
    *out = s;
    return TRAWL_OK;
}

void snippets_free(struct snippets *s)
{
    if (!s)
        return;
    analyzer_free(s->analyzer);
    map_release(&s->terms);
    free(s->weights);
    free(s->seen);
    free(s->matches);
    free(s);
}

/* ---- the query ---- */

static enum trawl_status take_term(void *ctx, const char *term, size_t n, uint32_t position, size_t begin, size_t end)
{
    struct snippets *s = ctx;
    uint32_t id;
    bool is_new;
    uint64_t df = 0;
    (void)position, (void)begin, (void)end;
    TRY(map_put(&s->terms, term, n, 0, &id, &is_new));
    if (!is_new)
        return TRAWL_OK;
    TRY(mem_grow((void **)&s->weights, &s->weights_cap, s->terms.n, sizeof *s->weights));
    TRY(mem_grow((void **)&s->seen, &s->seen_cap, s->terms.n, sizeof *s->seen));
    s->seen[id] = 0;
    if (s->field != SIZE_MAX)
        TRY(index_document_frequency(s->ix, &df, s->field, term, n));
    s->weights[id] = s->field == SIZE_MAX ? 1.0 : log1p((s->n_rows - (double)df + 0.5) / ((double)df + 0.5));
    return TRAWL_OK;
}

enum trawl_status snippets_query(struct snippets *s, const char *query, size_t n)
{
    map_reset(&s->terms);
    return analyzer_run(s->analyzer, query, n, take_term, s);
}

/* ---- matches ---- */

static enum trawl_status take_match(void *ctx, const char *term, size_t n, uint32_t position, size_t begin, size_t end)
{
    struct snippets *s = ctx;
    uint32_t id = map_find(&s->terms, term, n);
    (void)position;
    if (id == MAP_NONE || begin >= end || (s->n_matches && begin < s->matches[s->n_matches - 1].end))
        return TRAWL_OK;
    TRY(mem_grow((void **)&s->matches, &s->matches_cap, s->n_matches + 1, sizeof *s->matches));
    s->matches[s->n_matches++] = (struct match){begin, end, id};
    return TRAWL_OK;
}

static double gain(struct snippets *s, uint32_t term)
{
    return s->weights[term] * (s->seen[term]++ ? AGAIN : 1.0);
}

static double loss(struct snippets *s, uint32_t term)
{
    return s->weights[term] * (--s->seen[term] ? AGAIN : 1.0);
}

static size_t characters(const char *text, size_t begin, size_t end)
{
    size_t n = 0;
    for (size_t i = begin; i < end; i++)
        n += ((unsigned char)text[i] & 0xc0) != 0x80;
    return n;
}

/* The matches [*first, *last) of the heaviest window; there is at least one match. */
static void best_window(struct snippets *s, const char *text, size_t width, size_t *first, size_t *last)
{
    double weight = 0.0, best = -1.0;
    size_t low = 0, span = 0; /* characters from the begin of match low to the end of the last one */
    for (size_t high = 0; high < s->n_matches; high++) {
        size_t from = high ? s->matches[high - 1].end : s->matches[0].begin;
        span += characters(text, from, s->matches[high].end);
        weight += gain(s, s->matches[high].term);
        for (; low < high && span > width; low++) {
            span -= characters(text, s->matches[low].begin, s->matches[low + 1].begin);
            weight -= loss(s, s->matches[low].term);
        }
        if (weight > best * (1.0 + 1e-9)) { /* rounding of the running sum makes no difference */
            best = weight;
            *first = low;
            *last = high + 1;
        }
    }
    memset(s->seen, 0, s->terms.n * sizeof *s->seen);
}

/* ---- the text around it ---- */

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

static size_t back_one(const char *text, size_t i)
{
    do
        i--;
    while (i > 0 && ((unsigned char)text[i] & 0xc0) == 0x80);
    return i;
}

static size_t forward_one(const char *text, size_t n, size_t i)
{
    do
        i++;
    while (i < n && ((unsigned char)text[i] & 0xc0) == 0x80);
    return i;
}

enum { WORD_MAX = 24 }; /* characters given up to end at a space; scripts without spaces are cut anywhere */

/* Widens [*begin, *end) to `width` characters: as much before as after where the text allows, whole words only. */
static void widen(const char *text, size_t n, size_t width, size_t *begin, size_t *end)
{
    size_t used = characters(text, *begin, *end), left = width > used ? width - used : 0, before = left / 2;
    size_t a = *begin, b = *end, keep_a = a, keep_b = b;
    for (; before && a > 0; before--)
        a = back_one(text, a);
    for (left = left - left / 2 + before; left && b < n; left--)
        b = forward_one(text, n, b);
    for (; left && a > 0; left--)
        a = back_one(text, a);
    size_t cut = a;
    for (size_t i = 0; a > 0 && cut < keep_a && i < WORD_MAX && !is_space(text[cut - 1]); i++)
        cut = forward_one(text, n, cut);
    if (a > 0 && cut <= keep_a && is_space(text[cut - 1]))
        a = cut;
    cut = b;
    for (size_t i = 0; b < n && cut > keep_b && i < WORD_MAX && !is_space(text[cut]); i++)
        cut = back_one(text, cut);
    if (b < n && cut >= keep_b && is_space(text[cut]))
        b = cut;
    *begin = a;
    *end = b;
}

/* White space becomes one space; control characters, which a terminal might obey, are left out. */
static enum trawl_status append_plain(struct buf *out, const char *text, size_t n)
{
    for (size_t i = 0; i < n;) {
        if (is_space(text[i])) {
            if (!out->n || out->data[out->n - 1] != ' ')
                TRY(buf_append(out, " ", 1));
            i++;
            continue;
        }
        size_t from = i;
        uint32_t c = utf8_next(text, n, &i);
        if (c == 0xfffd)
            TRY(buf_text(out, "\xef\xbf\xbd"));
        else if (c >= 0x20 && (c < 0x7f || c > 0x9f))
            TRY(buf_append(out, text + from, i - from));
    }
    return TRAWL_OK;
}

static enum trawl_status append_marked(struct buf *out, const struct snippets *s, const char *text, size_t begin,
                                       size_t end, const struct snippet_style *style)
{
    size_t at = begin;
    for (size_t i = 0; i < s->n_matches; i++) {
        const struct match *m = &s->matches[i];
        if (m->begin < at || m->end > end)
            continue;
        TRY(append_plain(out, text + at, m->begin - at));
        TRY(buf_text(out, style->before));
        TRY(append_plain(out, text + m->begin, m->end - m->begin));
        TRY(buf_text(out, style->after));
        at = m->end;
    }
    return append_plain(out, text + at, end - at);
}

enum trawl_status snippet_append(struct buf *out, struct snippets *s, const char *text, size_t n,
                                 const struct snippet_style *style)
{
    size_t first = 0, last = 0, begin = 0, end = 0;
    for (; n && is_space(text[n - 1]); n--)
        ;
    for (; n && is_space(text[0]); n--)
        text++;
    s->n_matches = 0;
    if (s->terms.n)
        TRY(analyzer_run(s->analyzer, text, n, take_match, s));
    if (style->width == 0 || characters(text, 0, n) <= style->width)
        return append_marked(out, s, text, 0, n, style);
    if (s->n_matches) {
        best_window(s, text, style->width, &first, &last);
        begin = s->matches[first].begin;
        end = s->matches[last - 1].end;
    }
    widen(text, n, style->width, &begin, &end);
    if (begin > 0)
        TRY(buf_text(out, "... "));
    TRY(append_marked(out, s, text, begin, end, style));
    return end < n ? buf_text(out, " ...") : TRAWL_OK;
}
