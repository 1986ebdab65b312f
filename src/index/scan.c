/*
 * Top k of one segment without scoring every posting: block-max MaxScore, window by window of 4,096 rows.
 *
 * In a window each term has a bound, from the Pareto sets of the blocks that reach into it. Terms in ascending order of
 * bounds, as many as together cannot lift a row above the floor, are not essential: a row that only they hold cannot be
 * a hit. So the essential terms' postings are decoded and added up in an array of sums; rows whose sum and the bounds
 * left over could pass the floor are candidates; the other terms are looked up for these alone, greatest bound first,
 * and candidates that can no longer pass are dropped on the way. A window that no sum of bounds lifts above the floor
 * is not looked at.
 *
 * Everything compared is a whole number and bounds are rounded up, so the result is the exhaustive one.
 */
#include "lexical_int.h"
#include "base/mem.h"
#include <string.h>

/* A sum of contributions that is expected to touch fewer rows of a window than this is collected by a bitmap. */
enum { SPARSE = 512 };

/* Contribution of a Pareto set, rounded up beyond what float rounding can lose. */
static uint32_t bound_of(const struct lexical_searcher *s, const struct cursor *c, const struct pareto *set)
{
    float best = 0.0f;
    for (uint32_t i = 0; i < set->n; i++) {
        float tf = (float)(int32_t)set->count[i], k = s->a + s->c * (float)(int32_t)set->length[i];
        float x = c->weight * tf / (tf + k);
        best = x > best ? x : best;
    }
    return (uint32_t)(best * 1.000001f) + 2;
}

static enum trawl_status bad_bounds(const struct cursor *c)
{
    return fail(TRAWL_CORRUPT, "'%s': the bounds of a block make no sense (build the index again)",
                pack_path(c->list.field->pack));
}

static enum trawl_status load(struct cursor *c, uint32_t block)
{
    TRY(lex_block(&c->list, block, &c->postings));
    c->at = block;
    c->pos = 0;
    c->scored = false;
    return TRAWL_OK;
}

static void score_block(struct lexical_searcher *s, struct cursor *c)
{
    if (!c->scored)
        s->kernel->score(c->scores, c->postings.rows, c->postings.counts, c->postings.n, c->list.field->lengths,
                         c->weight, s->a, s->c);
    c->scored = true;
}

/* The whole term's bound. A term of one block is small enough to be scored at once. */
static enum trawl_status bound_term(struct lexical_searcher *s, struct cursor *c)
{
    struct pareto set;
    if (c->list.n_blocks == 1) {
        TRY(load(c, 0));
        score_block(s, c);
        c->bound = 0;
        for (uint32_t i = 0; i < c->postings.n; i++)
            c->bound = c->scores[i] > c->bound ? c->scores[i] : c->bound;
        return TRAWL_OK;
    }
    if (!lex_bound(&c->list, UINT32_MAX, &set))
        return bad_bounds(c);
    c->bound = bound_of(s, c, &set);
    return TRAWL_OK;
}

static uint32_t last_row(const struct cursor *c, uint32_t block)
{
    return c->list.blocks ? c->list.blocks[block].last_row : c->postings.rows[c->postings.n - 1];
}

/* Moves `ahead` to the first block that reaches `row` or beyond. */
static void advance(struct cursor *c, uint32_t row)
{
    uint32_t low = c->ahead, n = c->list.n_blocks, step = 1;
    if (low >= n || last_row(c, low) >= row)
        return;
    while (low + step < n && last_row(c, low + step) < row) {
        low += step;
        step *= 2;
    }
    uint32_t high = low + step < n ? low + step : n; /* block `low` ends before the row, block `high` does not */
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (last_row(c, middle) < row)
            low = middle;
        else
            high = middle;
    }
    c->ahead = high;
}

/* Bound of the term within rows [begin,end). */
static enum trawl_status bound_window(struct lexical_searcher *s, struct cursor *c, uint32_t begin, uint32_t end,
                                      uint32_t *bound)
{
    *bound = 0;
    advance(c, begin);
    if (!c->list.blocks) {
        while (c->pos < c->postings.n && c->postings.rows[c->pos] < begin)
            c->pos++;
        if (c->pos < c->postings.n && c->postings.rows[c->pos] < end)
            *bound = c->bound;
        return TRAWL_OK;
    }
    for (uint32_t b = c->ahead; b < c->list.n_blocks; b++) {
        struct pareto set;
        if (b > c->ahead && c->list.blocks[b - 1].last_row >= end - 1)
            break;
        if (c->bounded != b) {
            if (!lex_bound(&c->list, b, &set))
                return bad_bounds(c);
            c->bounded = b;
            c->block_bound = bound_of(s, c, &set);
        }
        *bound = c->block_bound > *bound ? c->block_bound : *bound;
    }
    return TRAWL_OK;
}

static void sort_terms(struct scan_term *terms, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        struct scan_term t = terms[i];
        size_t j = i;
        for (; j > 0 && terms[j - 1].bound > t.bound; j--)
            terms[j] = terms[j - 1];
        terms[j] = t;
    }
    for (size_t i = 0; i < n; i++)
        terms[i].below = terms[i].bound + (i ? terms[i - 1].below : 0);
}

/* Bounds of all terms in the window, ascending. What the term-wide bounds rule out already is not looked at closer. */
static enum trawl_status bound_terms(struct lexical_searcher *s, uint32_t begin, uint32_t end)
{
    for (size_t i = 0; i < s->n_cursors; i++)
        s->scan[i] = (struct scan_term){.cursor = &s->cursors[i], .bound = s->cursors[i].bound};
    sort_terms(s->scan, s->n_cursors);
    size_t coarse = 0;
    while (coarse < s->n_cursors && s->scan[coarse].below <= s->floor)
        coarse++;
    for (size_t i = coarse; i < s->n_cursors; i++)
        TRY(bound_window(s, s->scan[i].cursor, begin, end, &s->scan[i].bound));
    sort_terms(s->scan, s->n_cursors);
    return TRAWL_OK;
}

/* First posting of the decoded block, from `pos` on, at or behind `row`. */
static uint32_t find_row(const struct cursor *c, uint32_t row)
{
    const uint32_t *rows = c->postings.rows;
    uint32_t low = c->pos, n = c->postings.n - low;
    while (n > 1) { /* without branches: the answer is in [low, low + n] */
        uint32_t half = n / 2;
        low += rows[low + half - 1] < row ? half : 0;
        n -= half;
    }
    return low + (low < c->postings.n && rows[low] < row);
}

/* Adds the term's postings in [begin,end) to the sums; `mark`: sets their bits too. */
static enum trawl_status add_term(struct lexical_searcher *s, struct cursor *c, uint32_t begin, uint32_t end, bool mark)
{
    advance(c, begin);
    for (uint32_t b = c->ahead; b < c->list.n_blocks; b++) {
        if (b > c->ahead && c->list.blocks[b - 1].last_row >= end - 1)
            break;
        if (c->at != b)
            TRY(load(c, b));
        score_block(s, c);
        const uint32_t *rows = c->postings.rows, *scores = c->scores;
        uint32_t i = c->pos = find_row(c, begin), n = find_row(c, end);
        if (mark)
            for (; i < n; i++) {
                uint32_t at = rows[i] - begin;
                s->sums[at] += scores[i];
                s->touched[at / 64] |= UINT64_C(1) << (at % 64);
            }
        else
            for (; i < n; i++)
                s->sums[rows[i] - begin] += scores[i];
        c->pos = i;
        if (i < c->postings.n)
            break;
    }
    return TRAWL_OK;
}

static size_t collect_marked(struct lexical_searcher *s, int32_t floor)
{
    size_t m = 0;
    for (size_t word = 0; word < WINDOW / 64; word++) {
        for (uint64_t bits = s->touched[word]; bits; bits &= bits - 1) {
            uint32_t at = (uint32_t)(word * 64 + (unsigned)__builtin_ctzll(bits));
            s->candidates[m] = at;
            s->candidate_sums[m] = s->sums[at];
            m += (int32_t)s->sums[at] > floor;
            s->sums[at] = 0;
        }
        s->touched[word] = 0;
    }
    return m;
}

/* Postings that the essential terms are expected to have in a window. */
static size_t expected(const struct lexical_searcher *s, size_t first, uint32_t n_rows)
{
    uint64_t n = 0;
    for (size_t i = first; i < s->n_cursors; i++)
        n += s->scan[i].cursor->list.df;
    return (size_t)(n * WINDOW / n_rows);
}

/* Sums of the essential terms [first, n); candidates are what could pass the floor with `rest` more. */
static enum trawl_status sum_essential(struct lexical_searcher *s, size_t first, uint32_t begin, uint32_t end,
                                       uint32_t n_rows, int64_t rest, size_t *n)
{
    bool mark = expected(s, first, n_rows) < SPARSE;
    int64_t floor = s->floor - rest;
    int32_t least = floor < 0 ? 0 : (int32_t)floor;
    for (size_t i = first; i < s->n_cursors; i++)
        TRY(add_term(s, s->scan[i].cursor, begin, end, mark));
    *n = mark ? collect_marked(s, least)
              : s->kernel->collect(s->candidates, s->candidate_sums, s->sums,
                                   ((size_t)(end - begin) + 15) & ~(size_t)15, least);
    return TRAWL_OK;
}

/* Looks one more term up for all candidates; those that cannot pass even with all that is left are dropped. */
static enum trawl_status add_to_candidates(struct lexical_searcher *s, const struct scan_term *t, uint32_t begin,
                                           size_t *n)
{
    struct cursor *c = t->cursor;
    size_t kept = 0;
    for (size_t i = 0; i < *n; i++) {
        uint32_t row = begin + s->candidates[i], sum = s->candidate_sums[i];
        if (sum + t->below <= s->floor)
            continue;
        advance(c, row);
        if (c->ahead < c->list.n_blocks) {
            if (c->at != c->ahead)
                TRY(load(c, c->ahead));
            c->pos = find_row(c, row);
            if (c->pos < c->postings.n && c->postings.rows[c->pos] == row)
                sum += c->scored
                           ? c->scores[c->pos]
                           : score_one(c->postings.counts[c->pos], c->list.field->lengths[row], c->weight, s->a, s->c);
        }
        s->candidates[kept] = s->candidates[i];
        s->candidate_sums[kept++] = sum;
    }
    *n = kept;
    return TRAWL_OK;
}

static enum trawl_status scan_window(struct lexical_searcher *s, size_t segment, uint32_t begin, uint32_t end)
{
    size_t first = 0, n;
    TRY(bound_terms(s, begin, end));
    while (first < s->n_cursors && s->scan[first].below <= s->floor)
        first++;
    if (first == s->n_cursors)
        return TRAWL_OK;
    int64_t rest = first ? s->scan[first - 1].below : 0;
    TRY(sum_essential(s, first, begin, end, s->ix->segments[segment].seen.n, rest, &n));
    while (first-- > 0 && n)
        if (s->scan[first].bound)
            TRY(add_to_candidates(s, &s->scan[first], begin, &n));
    for (size_t i = 0; i < n; i++)
        if ((int64_t)s->candidate_sums[i] > s->floor)
            lexical_offer(s, segment, begin + s->candidates[i], s->candidate_sums[i]);
    return TRAWL_OK;
}

enum trawl_status lexical_scan(struct lexical_searcher *s, size_t segment)
{
    uint32_t n = s->ix->segments[segment].seen.n;
    for (size_t i = 0; i < s->n_cursors; i++)
        TRY(bound_term(s, &s->cursors[i]));
    memset(s->sums, 0, sizeof s->sums);
    memset(s->touched, 0, sizeof s->touched);
    for (uint32_t begin = 0; begin < n; begin += WINDOW)
        TRY(scan_window(s, segment, begin, n - begin < WINDOW ? n : begin + WINDOW));
    return TRAWL_OK;
}

/* The exhaustive twin: every posting of every term, no bounds. */
enum trawl_status lexical_scan_all(struct lexical_searcher *s, size_t segment)
{
    uint32_t n = s->ix->segments[segment].seen.n;
    TRY(mem_grow((void **)&s->all_sums, &s->all_sums_cap, n, sizeof *s->all_sums));
    memset(s->all_sums, 0, n * sizeof *s->all_sums);
    for (size_t i = 0; i < s->n_cursors; i++) {
        const struct cursor *c = &s->cursors[i];
        struct postings_block block;
        for (uint32_t b = 0; b < c->list.n_blocks; b++) {
            TRY(lex_block(&c->list, b, &block));
            for (uint32_t j = 0; j < block.n; j++)
                s->all_sums[block.rows[j]] +=
                    score_one(block.counts[j], c->list.field->lengths[block.rows[j]], c->weight, s->a, s->c);
        }
    }
    for (uint32_t row = 0; row < n; row++)
        if (s->all_sums[row])
            lexical_offer(s, segment, row, s->all_sums[row]);
    return TRAWL_OK;
}
