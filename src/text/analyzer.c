/*
 * Analyzers. A row says what happens to a word, in the order of Lucene's English analyzer: possessive 's off, lower
 * case, stop words out, stem. What becomes of a short ASCII word is remembered in a table of fixed size (each slot
 * holds one word and its term, a new word takes the slot over), because stemming costs ten times finding the word.
 */
#include "analyzer.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "porter.h"
#include "words.h"
#include <libstemmer.h>
#include <stdlib.h>
#include <string.h>
#include <unicode/uchar.h>

struct row {
    const char *name, *stemmer; /* Snowball's name, NULL: words are not stemmed */
    bool runs;                  /* runs of [a-z0-9] instead of words */
    bool possessive, stop;
    bool porter; /* the author's version of "porter" */
};
static const struct row rows[] = {
    {"english", "porter", false, true, true, true},
    {.name = "ascii", .runs = true},
    {.name = "standard"},
    {.name = "arabic", .stemmer = "arabic"},
    {.name = "armenian", .stemmer = "armenian"},
    {.name = "basque", .stemmer = "basque"},
    {.name = "catalan", .stemmer = "catalan"},
    {.name = "danish", .stemmer = "danish"},
    {.name = "dutch", .stemmer = "dutch"},
    {.name = "finnish", .stemmer = "finnish"},
    {.name = "french", .stemmer = "french"},
    {.name = "german", .stemmer = "german"},
    {.name = "greek", .stemmer = "greek"},
    {.name = "hindi", .stemmer = "hindi"},
    {.name = "hungarian", .stemmer = "hungarian"},
    {.name = "indonesian", .stemmer = "indonesian"},
    {.name = "irish", .stemmer = "irish"},
    {.name = "italian", .stemmer = "italian"},
    {.name = "lithuanian", .stemmer = "lithuanian"},
    {.name = "nepali", .stemmer = "nepali"},
    {.name = "norwegian", .stemmer = "norwegian"},
    {.name = "portuguese", .stemmer = "portuguese"},
    {.name = "romanian", .stemmer = "romanian"},
    {.name = "russian", .stemmer = "russian"},
    {.name = "serbian", .stemmer = "serbian"},
    {.name = "spanish", .stemmer = "spanish"},
    {.name = "swedish", .stemmer = "swedish"},
    {.name = "tamil", .stemmer = "tamil"},
    {.name = "turkish", .stemmer = "turkish"},
    {.name = "yiddish", .stemmer = "yiddish"},
};
enum { N_ROWS = sizeof rows / sizeof *rows };

const char *analyzer_names(void)
{
    return "english|ascii|standard|arabic|armenian|basque|catalan|danish|dutch|finnish|french|german|greek|hindi|"
           "hungarian|indonesian|irish|italian|lithuanian|nepali|norwegian|portuguese|romanian|russian|serbian|spanish|"
           "swedish|tamil|turkish|yiddish";
}

/* Lucene's English stop words. */
static const char *const stop_words[] = {
    "a",   "an",    "and",  "are",   "as",    "at",   "be",   "but", "by",  "for",  "if",
    "in",  "into",  "is",   "it",    "no",    "not",  "of",   "on",  "or",  "such", "that",
    "the", "their", "then", "there", "these", "they", "this", "to",  "was", "will", "with",
};

enum { SLOT_BITS = 15, SLOT_KEY = 24, SLOT_TERM = 23, LONGEST_KEY = 22 };
struct slot {
    uint64_t key[SLOT_KEY / 8]; /* the word as it stands in the text, lower case, filled up with zeros */
    unsigned char term_bytes;   /* 0: a stop word */
    char term[SLOT_TERM];
};

struct analyzer {
    const struct row *row;
    struct sb_stemmer *stemmer;
    struct words words;
    struct map stop;
    struct slot *slots;
    struct buf term;
};

static const struct row *find_row(const char *name)
{
    for (size_t i = 0; i < N_ROWS; i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}

static enum trawl_status prepare(struct analyzer *a)
{
    if (a->row->stemmer && !(a->stemmer = sb_stemmer_new(a->row->stemmer, "UTF_8")))
        return fail(TRAWL_UNSUPPORTED, "analyzer '%s': this machine's libstemmer has no stemmer '%s'", a->row->name,
                    a->row->stemmer);
    for (size_t i = 0; a->row->stop && i < sizeof stop_words / sizeof *stop_words; i++) {
        uint32_t id;
        TRY(map_put(&a->stop, stop_words[i], strlen(stop_words[i]), 0, &id, NULL));
    }
    a->slots = mem_array((size_t)1 << SLOT_BITS, sizeof *a->slots);
    return a->slots ? TRAWL_OK : mem_status();
}

enum trawl_status analyzer_new(struct analyzer **out, const char *name)
{
    *out = NULL;
    const struct row *row = find_row(name);
    if (!row)
        return fail(TRAWL_NOT_FOUND, "unknown analyzer '%s' (known: %s)", name, analyzer_names());
    struct analyzer *a = mem_array(1, sizeof *a);
    if (!a)
        return mem_status();
    a->row = row;
    enum trawl_status status = prepare(a);
    if (status != TRAWL_OK)
        analyzer_free(a);
    else
        *out = a;
    return status;
}

void analyzer_free(struct analyzer *a)
{
    if (!a)
        return;
    sb_stemmer_delete(a->stemmer);
    words_release(&a->words);
    map_release(&a->stop);
    buf_release(&a->term);
    free(a->slots);
    free(a);
}

const char *analyzer_name(const struct analyzer *a)
{
    return a->row->name;
}

/* Bytes of the word without a possessive 's (after an apostrophe, a right single quote or a full-width apostrophe). */
static size_t without_possessive(const char *word, size_t n)
{
    if (n < 2 || (word[n - 1] | 32) != 's')
        return n;
    if (word[n - 2] == '\'')
        return n - 2;
    if (n >= 4 && (memcmp(word + n - 4, "\xE2\x80\x99", 3) == 0 || memcmp(word + n - 4, "\xEF\xBC\x87", 3) == 0))
        return n - 4;
    return n;
}

static enum trawl_status lower(struct buf *out, const char *word, size_t n)
{
    buf_reset(out);
    TRY(buf_reserve(out, n * 3)); /* a malformed byte becomes the three of U+FFFD */
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)word[i];
        if (c < 128) {
            out->data[out->n++] = (char)(c >= 'A' && c <= 'Z' ? c | 32 : c);
            i++;
        } else {
            char bytes[4];
            size_t n_bytes = utf8_put(bytes, (uint32_t)u_tolower((UChar32)utf8_next(word, n, &i)));
            TRY(buf_append(out, bytes, n_bytes));
        }
    }
    return TRAWL_OK;
}

/* The term of a word; *n_term 0 for a stop word. The bytes stand in a->term or in the stemmer. */
static enum trawl_status to_term(struct analyzer *a, const char *word, size_t n, const char **term, size_t *n_term)
{
    TRY(lower(&a->term, word, a->row->possessive ? without_possessive(word, n) : n));
    *term = a->term.data;
    *n_term = a->term.n;
    if (a->row->stop && map_find(&a->stop, *term, *n_term) != MAP_NONE) {
        *n_term = 0;
        return TRAWL_OK;
    }
    if (!a->stemmer || (a->row->porter && *n_term <= 2))
        return TRAWL_OK;
    if (a->row->porter)
        *n_term = porter_before(a->term.data, *n_term);
    const sb_symbol *stem = sb_stemmer_stem(a->stemmer, (const sb_symbol *)*term, (int)*n_term);
    if (!stem)
        return fail(TRAWL_NOMEM, "no memory to stem a word of %zu bytes", *n_term);
    *term = (const char *)stem;
    *n_term = (size_t)sb_stemmer_length(a->stemmer);
    return TRAWL_OK;
}

/* Lower-case copy of an ASCII word, eight bytes at a time. */
static void make_key(uint64_t key[SLOT_KEY / 8], const char *word, size_t n)
{
    key[0] = key[1] = key[2] = 0;
    memcpy(key, word, n);
    for (size_t i = 0; i < SLOT_KEY / 8; i++) {
        uint64_t high = key[i] & 0x8080808080808080u;
        uint64_t letters = ((key[i] | 0x8080808080808080u) - 0x4141414141414141u) & ~high; /* bit 7: byte >= 'A' */
        uint64_t beyond = ((key[i] | 0x8080808080808080u) - 0x5B5B5B5B5B5B5B5Bu);          /* bit 7: byte > 'Z' */
        key[i] |= (letters & ~beyond & 0x8080808080808080u) >> 2;
    }
}

static enum trawl_status cached_term(struct analyzer *a, const char *word, size_t n, const char **term, size_t *n_term)
{
    uint64_t key[SLOT_KEY / 8];
    make_key(key, word, n);
    uint64_t mixed = (key[0] ^ (key[1] * 0x9E3779B97F4A7C15u) ^ (key[2] * 0xC2B2AE3D27D4EB4Fu)) * 0xD6E8FEB86659FD93u;
    struct slot *slot = &a->slots[(mixed ^ (mixed >> 29)) * 0x9E3779B97F4A7C15u >> (64 - SLOT_BITS)];
    if (memcmp(slot->key, key, sizeof key) != 0) {
        TRY(to_term(a, word, n, term, n_term));
        if (*n_term > SLOT_TERM)
            return TRAWL_OK;
        memcpy(slot->key, key, sizeof key);
        memcpy(slot->term, *term, *n_term);
        slot->term_bytes = (unsigned char)*n_term;
    }
    *term = slot->term;
    *n_term = slot->term_bytes;
    return TRAWL_OK;
}

static enum trawl_status run_words(struct analyzer *a, const char *text, size_t n, analyzer_term_fn fn, void *ctx)
{
    uint32_t position = 0;
    for (size_t begin = 0, end = 0;; begin = end) {
        bool found, ascii;
        TRY(words_next(&a->words, text, n, &begin, &end, &found, &ascii));
        if (!found)
            return TRAWL_OK;
        const char *term;
        size_t n_term;
        if (ascii && end - begin <= LONGEST_KEY)
            TRY(cached_term(a, text + begin, end - begin, &term, &n_term));
        else
            TRY(to_term(a, text + begin, end - begin, &term, &n_term));
        if (n_term)
            TRY(fn(ctx, term, n_term, position, begin, end));
        position++;
    }
}

static bool in_run(unsigned char c)
{
    return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
}

static enum trawl_status run_runs(struct analyzer *a, const char *text, size_t n, analyzer_term_fn fn, void *ctx)
{
    uint32_t position = 0;
    for (size_t begin = 0, end; begin < n; begin = end) {
        end = begin + 1;
        if (!in_run((unsigned char)text[begin]))
            continue;
        while (end < n && in_run((unsigned char)text[end]))
            end++;
        TRY(lower(&a->term, text + begin, end - begin));
        TRY(fn(ctx, a->term.data, a->term.n, position++, begin, end));
    }
    return TRAWL_OK;
}

enum trawl_status analyzer_run(struct analyzer *a, const char *text, size_t n, analyzer_term_fn fn, void *ctx)
{
    return a->row->runs ? run_runs(a, text, n, fn, ctx) : run_words(a, text, n, fn, ctx);
}
