#include "eval_print.h"
#include "base/json.h"
#include "base/mem.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- numbers as trec_eval prints them ---- */

typedef char cell[64];

static const char *put_value(cell out, const struct measure *m, double value)
{
    snprintf(out, sizeof(cell), measure_is_count(m) ? "%.0f" : "%.4f", value);
    return out;
}

static const char *put_p(cell out, double p)
{
    if (isnan(p))
        snprintf(out, sizeof(cell), "-");
    else if (p < 0.0001)
        snprintf(out, sizeof(cell), "<0.0001");
    else
        snprintf(out, sizeof(cell), "%.4f", p);
    return out;
}

/* ---- tables: cells first, widths from them ---- */

struct grid {
    struct buf cells; /* NUL-separated */
    size_t n_columns, n_cells;
    size_t n_left; /* columns that are words, set flush left; the others are numbers */
};

static enum trawl_status put_cell(struct grid *g, const char *text, size_t n)
{
    g->n_cells++;
    TRY(buf_append(&g->cells, text, n));
    return buf_append(&g->cells, "", 1);
}

static enum trawl_status put_word(struct grid *g, const char *text)
{
    return put_cell(g, text, strlen(text));
}

static enum trawl_status put_spaces(struct buf *out, size_t n)
{
    while (n--)
        TRY(buf_append(out, " ", 1));
    return TRAWL_OK;
}

/* Columns that a text takes: its bytes but for UTF-8's continuations. */
static size_t text_width(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static enum trawl_status draw_row(struct buf *out, const struct grid *g, const size_t *widths, const char **at)
{
    for (size_t c = 0; c < g->n_columns; c++, *at += strlen(*at) + 1) {
        size_t space = widths[c] - text_width(*at);
        if (c)
            TRY(buf_append(out, "  ", 2));
        if (c >= g->n_left)
            TRY(put_spaces(out, space));
        TRY(buf_text(out, *at));
        if (c < g->n_left && c + 1 < g->n_columns)
            TRY(put_spaces(out, space));
    }
    while (out->n && out->data[out->n - 1] == ' ')
        out->data[--out->n] = '\0';
    return buf_append(out, "\n", 1);
}

static enum trawl_status draw_grid(struct buf *out, struct grid *g)
{
    enum trawl_status status = TRAWL_OK;
    size_t *widths = mem_array(g->n_columns, sizeof *widths);
    const char *at = g->cells.data;
    if (!widths)
        return mem_status();
    for (size_t i = 0; i < g->n_cells; i++, at += strlen(at) + 1)
        if (text_width(at) > widths[i % g->n_columns])
            widths[i % g->n_columns] = text_width(at);
    at = g->cells.data;
    for (size_t row = 0; row < g->n_cells / g->n_columns && status == TRAWL_OK; row++)
        status = draw_row(out, g, widths, &at);
    free(widths);
    return status;
}

/* One run: measure, query, value. */
static enum trawl_status fill_single(struct grid *g, const struct scores *s)
{
    const struct eval_result *r = &s->runs[0].result;
    const struct measures *m = s->measures;
    cell value;
    g->n_columns = 3;
    g->n_left = 2;
    for (size_t q = 0; s->per_query && q < r->n_queries; q++)
        for (size_t i = 0; i < m->n; i++) {
            size_t n;
            const char *id = map_key(&s->qrels->queries, r->queries[q], &n);
            if (!measure_has_queries(&m->items[i]))
                continue;
            TRY(put_word(g, m->items[i].name));
            TRY(put_cell(g, id, n));
            TRY(put_word(g, put_value(value, &m->items[i], r->values[q * m->n + i])));
        }
    for (size_t i = 0; i < m->n; i++) {
        TRY(put_word(g, m->items[i].name));
        TRY(put_word(g, "all"));
        TRY(put_word(g, put_value(value, &m->items[i], r->all[i])));
    }
    return TRAWL_OK;
}

/* Several runs, query by query: measure, query, one value per run. */
static enum trawl_status fill_queries(struct grid *g, const struct scores *s)
{
    const struct measures *m = s->measures;
    cell text;
    g->n_columns = 2 + s->n_runs;
    g->n_left = 2;
    TRY(put_word(g, "measure"));
    TRY(put_word(g, "query"));
    for (size_t r = 0; r < s->n_runs; r++)
        TRY(put_word(g, s->runs[r].name));
    for (uint32_t q = 0; q < s->qrels->queries.n; q++)
        for (size_t i = 0; i < m->n; i++) {
            size_t n;
            const char *id = map_key(&s->qrels->queries, q, &n);
            if (!measure_has_queries(&m->items[i]))
                continue;
            TRY(put_word(g, m->items[i].name));
            TRY(put_cell(g, id, n));
            for (size_t r = 0; r < s->n_runs; r++) {
                uint32_t row = s->runs[r].row[q];
                const double *values = s->runs[r].result.values;
                TRY(put_word(g, row == MAP_NONE ? "-" : put_value(text, &m->items[i], values[row * m->n + i])));
            }
        }
    return TRAWL_OK;
}

/* Several runs: measure, run, value, difference from the first, p. */
static enum trawl_status fill_comparison(struct grid *g, const struct scores *s)
{
    const struct measures *m = s->measures;
    bool t = s->runs[s->n_runs - 1].t_tests != NULL, random = s->runs[s->n_runs - 1].randomisations != NULL;
    cell text;
    g->n_columns = 4 + t + random;
    g->n_left = 2;
    TRY(put_word(g, "measure"));
    TRY(put_word(g, "run"));
    TRY(put_word(g, "value"));
    TRY(put_word(g, "difference"));
    if (t)
        TRY(put_word(g, "p (t-test)"));
    if (random)
        TRY(put_word(g, "p (randomization)"));
    for (size_t i = 0; i < m->n; i++)
        for (size_t r = 0; r < s->n_runs; r++) {
            const struct scored_run *run = &s->runs[r];
            double difference = run->result.all[i] - s->runs[0].result.all[i];
            TRY(put_word(g, r ? "" : m->items[i].name));
            TRY(put_word(g, run->name));
            TRY(put_word(g, put_value(text, &m->items[i], run->result.all[i])));
            snprintf(text, sizeof text, measure_is_count(&m->items[i]) ? "%+.0f" : "%+.4f", difference);
            TRY(put_word(g, r ? text : ""));
            if (t)
                TRY(put_word(g, r ? put_p(text, run->t_tests[i].p) : ""));
            if (random)
                TRY(put_word(g, r ? put_p(text, run->randomisations[i].p) : ""));
        }
    return TRAWL_OK;
}

static enum trawl_status print_grid(struct buf *out, const struct scores *s,
                                    enum trawl_status (*fill)(struct grid *, const struct scores *))
{
    struct grid g = {0};
    enum trawl_status status = fill(&g, s);
    if (status == TRAWL_OK && g.n_cells)
        status = draw_grid(out, &g);
    buf_release(&g.cells);
    return status;
}

static enum trawl_status print_table(struct buf *out, const struct scores *s)
{
    if (s->n_runs == 1)
        return print_grid(out, s, fill_single);
    if (s->per_query) {
        TRY(print_grid(out, s, fill_queries));
        TRY(buf_append(out, "\n", 1));
    }
    return print_grid(out, s, fill_comparison);
}

/* ---- trec_eval's lines ---- */

static enum trawl_status print_trec(struct buf *out, const struct scores *s)
{
    const struct measures *m = s->measures;
    cell value;
    for (size_t run = 0; run < s->n_runs; run++) {
        const struct eval_result *r = &s->runs[run].result;
        for (size_t q = 0; s->per_query && q < r->n_queries; q++)
            for (size_t i = 0; i < m->n; i++) {
                size_t n;
                const char *id = map_key(&s->qrels->queries, r->queries[q], &n);
                if (measure_has_queries(&m->items[i]))
                    TRY(buf_printf(out, "%s\t%.*s\t%s\n", m->items[i].name, (int)n, id,
                                   put_value(value, &m->items[i], r->values[q * m->n + i])));
            }
        if (s->n_runs > 1)
            TRY(buf_printf(out, "runid\tall\t%s\n", s->runs[run].name));
        for (size_t i = 0; i < m->n; i++)
            TRY(buf_printf(out, "%s\tall\t%s\n", m->items[i].name, put_value(value, &m->items[i], r->all[i])));
    }
    return TRAWL_OK;
}

/* ---- JSON: full precision ---- */

static enum trawl_status put_number(struct buf *out, double value)
{
    return isfinite(value) ? buf_printf(out, "%.17g", value) : buf_text(out, "null");
}

static enum trawl_status put_key(struct buf *out, bool first, const char *text, size_t n)
{
    if (!first)
        TRY(buf_append(out, ", ", 2));
    TRY(json_quote(out, text, n));
    return buf_append(out, ": ", 2);
}

static enum trawl_status put_measures(struct buf *out, const struct measures *m, const double *values, bool query)
{
    bool first = true;
    TRY(buf_append(out, "{", 1));
    for (size_t i = 0; i < m->n; i++) {
        if (query && !measure_has_queries(&m->items[i]))
            continue;
        TRY(put_key(out, first, m->items[i].name, strlen(m->items[i].name)));
        TRY(put_number(out, values[i]));
        first = false;
    }
    return buf_append(out, "}", 1);
}

static enum trawl_status put_tests(struct buf *out, const struct measures *m, const char *name,
                                   const struct paired_test *tests)
{
    TRY(buf_printf(out, ",\n   \"%s\": {", name));
    for (size_t i = 0; i < m->n; i++) {
        TRY(put_key(out, i == 0, m->items[i].name, strlen(m->items[i].name)));
        TRY(buf_text(out, "{\"difference\": "));
        TRY(put_number(out, tests[i].difference));
        if (!isnan(tests[i].t)) {
            TRY(buf_printf(out, ", \"df\": %zu, \"t\": ", tests[i].df));
            TRY(put_number(out, tests[i].t));
        }
        TRY(buf_text(out, ", \"p\": "));
        TRY(put_number(out, tests[i].p));
        TRY(buf_append(out, "}", 1));
    }
    return buf_append(out, "}", 1);
}

static enum trawl_status put_run(struct buf *out, const struct scores *s, const struct scored_run *run)
{
    const struct eval_result *r = &run->result;
    TRY(buf_text(out, "  {\"run\": "));
    TRY(json_quote(out, run->name, strlen(run->name)));
    TRY(buf_printf(out, ", \"queries\": %zu, \"unjudged_queries\": %zu,\n   \"all\": ", r->n_queries, r->n_unjudged));
    TRY(put_measures(out, s->measures, r->all, false));
    if (run->t_tests)
        TRY(put_tests(out, s->measures, "t_test", run->t_tests));
    if (run->randomisations)
        TRY(put_tests(out, s->measures, "randomization", run->randomisations));
    if (s->per_query) {
        TRY(buf_text(out, ",\n   \"per_query\": {"));
        for (size_t q = 0; q < r->n_queries; q++) {
            size_t n;
            const char *id = map_key(&s->qrels->queries, r->queries[q], &n);
            TRY(buf_text(out, q ? ",\n    " : "\n    "));
            TRY(put_key(out, true, id, n));
            TRY(put_measures(out, s->measures, r->values + q * s->measures->n, true));
        }
        TRY(buf_append(out, "}", 1));
    }
    return buf_append(out, "}", 1);
}

static enum trawl_status print_json(struct buf *out, const struct scores *s)
{
    TRY(buf_printf(out, "{\"judged_queries\": %zu,\n \"runs\": [\n", s->qrels->queries.n));
    for (size_t i = 0; i < s->n_runs; i++) {
        TRY(put_run(out, s, &s->runs[i]));
        TRY(buf_text(out, i + 1 < s->n_runs ? ",\n" : "\n"));
    }
    return buf_text(out, " ]}\n");
}

/* ---- LaTeX: booktabs, best values bold, a dagger where p < 0.05 ---- */

static enum trawl_status put_latex(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (strchr("_%&#$", *text))
            TRY(buf_append(out, "\\", 1));
        if (strchr("{}~^\\", *text))
            TRY(buf_append(out, " ", 1));
        else
            TRY(buf_append(out, text, 1));
    }
    return TRAWL_OK;
}

static bool is_best(const struct scores *s, size_t run, size_t measure)
{
    for (size_t r = 0; r < s->n_runs; r++)
        if (s->runs[r].result.all[measure] > s->runs[run].result.all[measure])
            return false;
    return s->n_runs > 1;
}

static bool is_significant(const struct scored_run *run, size_t measure)
{
    const struct paired_test *tests = run->randomisations ? run->randomisations : run->t_tests;
    return tests && tests[measure].p < 0.05;
}

static enum trawl_status print_latex(struct buf *out, const struct scores *s)
{
    const struct measures *m = s->measures;
    cell value;
    TRY(buf_text(out, "\\begin{tabular}{l"));
    for (size_t i = 0; i < m->n; i++)
        TRY(buf_append(out, "r", 1));
    TRY(buf_text(out, "}\n\\toprule\nrun"));
    for (size_t i = 0; i < m->n; i++) {
        TRY(buf_text(out, " & "));
        TRY(put_latex(out, m->items[i].name));
    }
    TRY(buf_text(out, " \\\\\n\\midrule\n"));
    for (size_t r = 0; r < s->n_runs; r++) {
        TRY(put_latex(out, s->runs[r].name));
        for (size_t i = 0; i < m->n; i++) {
            bool best = is_best(s, r, i);
            TRY(buf_printf(out, " & %s%s%s%s", best ? "\\textbf{" : "",
                           put_value(value, &m->items[i], s->runs[r].result.all[i]), best ? "}" : "",
                           is_significant(&s->runs[r], i) ? "$^\\dagger$" : ""));
        }
        TRY(buf_text(out, " \\\\\n"));
    }
    return buf_text(out, "\\bottomrule\n\\end{tabular}\n");
}

enum trawl_status eval_print(struct buf *out, const struct scores *scores, const char *format)
{
    static const struct {
        const char *name;
        enum trawl_status (*print)(struct buf *, const struct scores *);
    } formats[] = {{"table", print_table}, {"trec", print_trec}, {"json", print_json}, {"latex", print_latex}};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (strcmp(formats[i].name, format) == 0)
            return formats[i].print(out, scores);
    return fail(TRAWL_USAGE, "unknown output format '%s' (known: table, trec, json, latex)", format);
}
