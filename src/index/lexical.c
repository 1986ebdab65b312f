/*
 * BM25 as Lucene has it since version 8 (no factor k1 + 1), over the live rows of all segments:
 *
 *   score = sum over the query's tokens of idf(t) * tf / (tf + k1 * (1 - b + b * length / average length))
 *   idf(t) = ln(1 + (N - df + 0.5) / (df + 0.5))
 *
 * A term that comes n times in the query counts n times. Contributions are whole numbers of units of 2^-q, q chosen so
 * that the query's greatest possible sum stays below 2^30 (see score.h).
 */
#include "lexical_int.h"
#include "base/mem.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum trawl_status lexical_searcher_new(struct lexical_searcher **out, const struct index *ix, size_t field,
                                       size_t k_max)
{
    *out = NULL;
    if (field >= ix->manifest.n_fields || ix->manifest.fields[field].kind != INDEX_LEXICAL)
        return fail(TRAWL_USAGE, "field %zu of '%s' holds no terms", field, ix->path);
    struct lexical_searcher *s = mem_array(1, sizeof *s);
    if (!s)
        return mem_status();
    s->ix = ix;
    s->field = field;
    s->k_max = k_max;
    s->kernel = score_kernel();
    s->bases = mem_array(ix->n_segments + 1, sizeof *s->bases);
    enum trawl_status status = s->bases ? TRAWL_OK : mem_status();
    for (size_t i = 0; !status && i < ix->n_segments; i++)
        s->bases[i + 1] = s->bases[i] + ix->segments[i].seen.n;
    if (!status && s->bases[ix->n_segments] > UINT32_MAX)
        status = fail(TRAWL_LIMIT, "'%s' has more than %u rows", ix->path, UINT32_MAX);
    if (!status)
        status = topk_init(&s->top, k_max);
    if (!status)
        status = analyzer_new(&s->analyzer, ix->manifest.fields[field].analyzer);
    if (status)
        lexical_searcher_free(s);
    else
        *out = s;
    return status;
}

void lexical_searcher_free(struct lexical_searcher *s)
{
    if (!s)
        return;
    analyzer_free(s->analyzer);
    topk_release(&s->top);
    buf_release(&s->names);
    free(s->bases);
    free(s->terms);
    free(s->found);
    free(s->cursors);
    free(s->scan);
    free(s->all_sums);
    free(s);
}

/* ---- the query ---- */

static enum trawl_status take_term(void *ctx, const char *term, size_t n, uint32_t position, size_t begin, size_t end)
{
    struct lexical_searcher *s = ctx;
    (void)position, (void)begin, (void)end;
    uint32_t hash = (uint32_t)XXH3_64bits(term, n);
    for (size_t i = 0; i < s->n_terms; i++) {
        struct query_term *t = &s->terms[i];
        if (t->hash == hash && t->name_bytes == n && memcmp(s->names.data + t->name, term, n) == 0) {
            t->count++;
            return TRAWL_OK;
        }
    }
    TRY(mem_grow((void **)&s->terms, &s->terms_cap, s->n_terms + 1, sizeof *s->terms));
    s->terms[s->n_terms++] = (struct query_term){.name = s->names.n, .name_bytes = n, .hash = hash, .count = 1};
    return buf_append(&s->names, term, n);
}

/* Looks the terms up in every segment; terms that no live row has are dropped. Weights are not yet scaled. */
static enum trawl_status look_up(struct lexical_searcher *s, uint64_t n_rows)
{
    size_t n_segments = s->ix->n_segments, kept = 0;
    TRY(mem_grow((void **)&s->found, &s->found_cap, s->n_terms * n_segments, sizeof *s->found));
    for (size_t i = 0; i < s->n_terms; i++) {
        struct query_term t = s->terms[i];
        uint64_t df = 0;
        for (size_t j = 0; j < n_segments; j++) {
            const struct segment *segment = &s->ix->segments[j];
            const struct lex_field *f = &segment->lex[s->field];
            uint64_t number = lex_find(f, s->names.data + t.name, t.name_bytes);
            bool there = number < f->n_terms;
            s->found[kept * n_segments + j] = there ? number : UINT64_MAX;
            df += there ? f->terms[number].df - tomb_df(&segment->tomb, s->field, number) : 0;
        }
        if (df == 0 || df > n_rows)
            continue;
        t.weight = (float)(t.count * log(1.0 + ((double)(n_rows - df) + 0.5) / ((double)df + 0.5)));
        s->terms[kept++] = t;
    }
    s->n_terms = kept;
    return TRAWL_OK;
}

static void scale_weights(struct lexical_searcher *s, double k1, double b, uint64_t n_rows, uint64_t total_length)
{
    double total = 0.0, average = n_rows ? (double)total_length / (double)n_rows : 0.0;
    int exponent;
    s->a = (float)(k1 * (1.0 - b));
    s->c = average > 0.0 ? (float)(k1 * b / average) : 0.0f;
    for (size_t i = 0; i < s->n_terms; i++)
        total += s->terms[i].weight;
    frexp(total, &exponent);
    for (size_t i = 0; i < s->n_terms; i++)
        s->terms[i].weight = ldexpf(s->terms[i].weight, 30 - exponent);
    s->unit = ldexpf(1.0f, exponent - 30);
}

/* ---- segments ---- */

void lexical_offer(struct lexical_searcher *s, size_t segment, uint32_t row, uint32_t sum)
{
    const struct segment *g = &s->ix->segments[segment];
    if (bit_get(g->seen.deleted, row))
        return;
    topk_push(&s->top, (float)sum * s->unit, (uint32_t)(s->bases[segment] + row), g->seen.ordinals[row]);
    if (s->top.n == s->top.k) /* the worst score is a whole number of units; equal ones that come later lose */
        s->floor = (int32_t)(s->top.heap[0].score / s->unit);
}

static enum trawl_status open_cursors(struct lexical_searcher *s, size_t segment)
{
    TRY(mem_grow((void **)&s->cursors, &s->cursors_cap, s->n_terms, sizeof *s->cursors));
    TRY(mem_grow((void **)&s->scan, &s->scan_cap, s->n_terms, sizeof *s->scan));
    s->n_cursors = 0;
    for (size_t i = 0; i < s->n_terms; i++) {
        uint64_t number = s->found[i * s->ix->n_segments + segment];
        if (number == UINT64_MAX)
            continue;
        struct cursor *c = &s->cursors[s->n_cursors++];
        TRY(lex_list(&c->list, &s->ix->segments[segment].lex[s->field], number));
        c->weight = s->terms[i].weight;
        c->at = c->bounded = UINT32_MAX;
        c->pos = c->ahead = 0;
        c->scored = false;
    }
    return TRAWL_OK;
}

static void put_hits(struct lexical_searcher *s, struct index_hit *hits, size_t *n)
{
    *n = topk_sort(&s->top);
    for (size_t i = 0; i < *n; i++) {
        const struct topk_hit *h = &s->top.heap[i];
        size_t low = 0, high = s->ix->n_segments; /* the segment whose base is the last one at or below the row */
        while (high - low > 1) {
            size_t middle = low + (high - low) / 2;
            if (s->bases[middle] <= h->id)
                low = middle;
            else
                high = middle;
        }
        hits[i] = (struct index_hit){h->score, (uint32_t)low, (uint32_t)(h->id - s->bases[low]), h->ordinal};
    }
}

enum trawl_status lexical_search(struct lexical_searcher *s, struct index_hit *hits, size_t *n, const char *query,
                                 size_t query_bytes, size_t k, double k1, double b, bool exhaustive)
{
    *n = 0;
    if (!(k1 >= 0.0 && k1 <= 1e6 && b >= 0.0 && b <= 1.0))
        return fail(TRAWL_USAGE, "k1 must not be negative and b lie between 0 and 1");
    if (k > s->k_max)
        return fail(TRAWL_USAGE, "%zu hits wanted of a searcher made for %zu", k, s->k_max);
    uint64_t n_rows, total_length;
    index_lexical_statistics(s->ix, s->field, &n_rows, &total_length);
    s->n_terms = 0;
    buf_reset(&s->names);
    TRY(analyzer_run(s->analyzer, query, query_bytes, take_term, s));
    TRY(look_up(s, n_rows));
    if (k == 0 || s->n_terms == 0)
        return TRAWL_OK;
    scale_weights(s, k1, b, n_rows, total_length);
    topk_reset(&s->top, k);
    s->floor = 0;
    for (size_t i = 0; i < s->ix->n_segments; i++) {
        TRY(open_cursors(s, i));
        if (s->n_cursors)
            TRY(exhaustive ? lexical_scan_all(s, i) : lexical_scan(s, i));
    }
    put_hits(s, hits, n);
    return TRAWL_OK;
}
