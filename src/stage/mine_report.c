/*
 * The report of mining: for each teacher and each of the five rules how many candidates survive, how their scores lie
 * against those of the positives, and what an independent judge makes of them; then examples. One HTML file that needs
 * nothing else, and the same as text.
 */
#include "base/log.h"
#include "base/mem.h"
#include "data/training.h"
#include "mine_stage.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BINS = 40, EXAMPLES = 8, EXAMPLE_CHARS = 220, TOP_MAX = 1024 };

struct rule_figures {
    uint64_t survivors; /* among the first places of the ranking */
    uint64_t picked, full, judged, suspected;
    uint64_t bins[BINS];
};
struct teacher_figures {
    double low, high;    /* of all scores shown */
    uint64_t candidates; /* among the first places, without positives and copies */
    uint64_t anchored;   /* queries with a positive that has a score */
    uint64_t positives[BINS], n_positives;
    struct rule_figures rules[MINE_RULES];
};
struct mine_report {
    struct mine_report_options o;
    struct teacher_figures *teachers;
    size_t seen;
    struct buf html, text; /* examples */
};

static const char *const rule_names[MINE_RULES] = {"naive", "shifted", "abs", "margin", "perc"};

/* ---- judging ---- */

enum trawl_status mine_judge(struct mine_teacher *judge, const struct mine_set *set, enum mine_anchor anchor,
                             size_t query, const uint32_t *docs, size_t n_docs, uint64_t *judged, uint64_t *suspected)
{
    const struct mine_query *q = &set->items[query];
    size_t n = q->n_positives + n_docs;
    uint32_t *all = mem_array(n, sizeof *all);
    float *scores = mem_array(n, sizeof *scores);
    enum trawl_status status = all && scores ? TRAWL_OK : mem_status();
    if (status == TRAWL_OK) {
        memcpy(all, q->positives, q->n_positives * sizeof *all);
        memcpy(all + q->n_positives, docs, n_docs * sizeof *all);
        status = mine_teacher_score(judge, scores, query, all, n);
    }
    if (status == TRAWL_OK) {
        double limit = mine_anchor_of(scores, q->n_positives, anchor);
        for (size_t i = q->n_positives; i < n && !isnan(limit); i++) {
            *judged += !isnan(scores[i]);
            *suspected += (double)scores[i] >= limit;
        }
    }
    free(all);
    free(scores);
    return status;
}

/* ---- figures ---- */

static size_t bin_of(const struct teacher_figures *f, double score)
{
    double at = f->high > f->low ? (score - f->low) / (f->high - f->low) * BINS : 0.0;
    return at < 0.0 ? 0 : at >= BINS ? BINS - 1 : (size_t)at;
}

static void widen(struct teacher_figures *f, double score)
{
    if (isnan(score))
        return;
    f->low = fmin(f->low, score);
    f->high = fmax(f->high, score);
}

/* Range of the scores that are shown: positives and the negatives of each rule. */
static void take_range(struct mine_report *r, struct teacher_figures *f, const struct mine_found *found)
{
    for (size_t i = 0; i < found->n_positives; i++)
        widen(f, (double)found->positives[i]);
    for (size_t k = 0; k < MINE_RULES; k++)
        for (size_t i = 0; i < found->n_kept[k] && i < r->o.negatives; i++)
            widen(f, (double)found->kept[k][i].score);
}

static uint64_t survivors(const struct mine_found *found, const struct mine_rule_options *rule)
{
    uint64_t n = 0;
    double threshold = mine_threshold(rule, found->anchor);
    bool comparable = rule->rule == MINE_NAIVE || rule->rule == MINE_SHIFTED || !isnan(threshold);
    for (size_t i = rule->rule == MINE_SHIFTED ? rule->shift : 0; i < found->n_raw && comparable; i++)
        n += !found->raw[i].excluded && !((double)found->raw[i].score > threshold);
    return n;
}

static enum trawl_status take_rule(struct mine_report *r, struct teacher_figures *f, size_t rule, size_t query,
                                   const struct mine_found *found)
{
    struct rule_figures *figures = &f->rules[rule];
    uint32_t docs[TOP_MAX];
    size_t n = found->n_kept[rule] < r->o.negatives ? found->n_kept[rule] : r->o.negatives;
    figures->survivors += survivors(found, &r->o.plan->rules[rule]);
    figures->picked += n;
    figures->full += n == r->o.negatives;
    for (size_t i = 0; i < n; i++) {
        docs[i] = found->kept[rule][i].index;
        figures->bins[bin_of(f, (double)found->kept[rule][i].score)]++;
    }
    if (!r->o.judge)
        return TRAWL_OK;
    return mine_judge(r->o.judge, r->o.set, r->o.plan->anchor, query, docs, n, &figures->judged, &figures->suspected);
}

static enum trawl_status take_figures(struct mine_report *r, size_t t)
{
    struct teacher_figures *f = &r->teachers[t];
    struct mine_found found;
    struct progress progress;
    f->low = INFINITY;
    f->high = -INFINITY;
    mine_journal_rewind(r->o.journals[t]);
    for (size_t q = 0; q < r->o.set->n; q++) {
        TRY(mine_journal_next(r->o.journals[t], &found));
        take_range(r, f, &found);
    }
    mine_journal_rewind(r->o.journals[t]);
    progress_begin(&progress, "reporting", r->o.set->n, "queries");
    for (size_t q = 0; q < r->o.set->n; q++) {
        TRY(mine_journal_next(r->o.journals[t], &found));
        progress_set(&progress, q + 1);
        f->anchored += !isnan(found.anchor);
        for (size_t i = 0; i < found.n_positives; i++)
            if (!isnan(found.positives[i])) {
                f->positives[bin_of(f, (double)found.positives[i])]++;
                f->n_positives++;
            }
        for (size_t i = 0; i < found.n_raw; i++)
            f->candidates += !found.raw[i].excluded;
        for (size_t k = 0; k < MINE_RULES; k++)
            TRY(take_rule(r, f, k, q, &found));
    }
    progress_end(&progress);
    return TRAWL_OK;
}

/* ---- words ---- */

static enum trawl_status escape(struct buf *out, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *entity = text[i] == '<' ? "&lt;" : text[i] == '>' ? "&gt;" : text[i] == '&' ? "&amp;" : NULL;
        TRY(entity ? buf_text(out, entity) : buf_append(out, &text[i], 1));
    }
    return TRAWL_OK;
}

/* The beginning of a text, cut between characters, and whether something is missing. */
static size_t beginning(const char *text, size_t n)
{
    if (n <= EXAMPLE_CHARS)
        return n;
    n = EXAMPLE_CHARS;
    while (n && ((unsigned char)text[n] & 0xC0) == 0x80)
        n--;
    return n;
}

static enum trawl_status append_line(struct mine_report *r, const char *kind, uint32_t number, double score,
                                     const char *teacher)
{
    struct document doc;
    char figure[32] = "";
    doc_set_get(r->o.set->docs, number, &doc);
    size_t n = beginning(doc.text, doc.text_bytes);
    const char *rest = n < doc.text_bytes ? "..." : "";
    if (!isnan(score))
        snprintf(figure, sizeof figure, "%.4f", score);
    TRY(buf_printf(&r->html, "<tr class=\"%s\"><td>%s</td><td class=\"n\">%s</td><td>", kind, kind, figure));
    if (doc.title_bytes) {
        TRY(buf_text(&r->html, "<b>"));
        TRY(escape(&r->html, doc.title, doc.title_bytes));
        TRY(buf_text(&r->html, "</b> "));
    }
    TRY(escape(&r->html, doc.text, n));
    TRY(buf_printf(&r->html, "%s%s%s%s</td></tr>\n", rest, teacher ? " <i>" : "", teacher ? teacher : "",
                   teacher ? "</i>" : ""));
    return buf_printf(&r->text, "  %-8s %-8s %.*s%s%.*s%s\n", kind, figure, (int)doc.title_bytes, doc.title,
                      doc.title_bytes ? " | " : "", (int)n, doc.text, rest);
}

/* Candidates that the rule passed over: the best of the ranking that are not among the picks. */
static enum trawl_status append_passed_over(struct mine_report *r, const struct mined *row)
{
    size_t shown = 0;
    for (size_t i = 0; i < row->found->n_raw && shown < 3; i++) {
        const struct mine_candidate *c = &row->found->raw[i];
        bool picked = c->excluded;
        for (size_t p = 0; p < row->n && !picked; p++)
            picked = row->picks[p].doc == c->index;
        if (picked)
            continue;
        if (row->n && c->score <= row->picks[0].score)
            break;
        TRY(append_line(r, "skipped", c->index, (double)c->score, NULL));
        shown++;
    }
    return TRAWL_OK;
}

enum trawl_status mine_report_row(struct mine_report *r, const struct mined *row)
{
    size_t n = r->o.set->n, step = n / EXAMPLES ? n / EXAMPLES : 1;
    const struct mine_query *query = &r->o.set->items[row->query];
    if (r->seen == EXAMPLES || row->query % step)
        return TRAWL_OK;
    r->seen++;
    TRY(buf_text(&r->html, "<h3>"));
    TRY(escape(&r->html, query->text, query->text_bytes));
    TRY(buf_text(&r->html, "</h3>\n<table class=\"examples\">\n"));
    TRY(buf_printf(&r->text, "\n%s\n", query->text));
    for (size_t i = 0; i < query->n_positives && i < 3; i++)
        TRY(append_line(r, "positive", query->positives[i], (double)row->found->positives[i], NULL));
    TRY(append_passed_over(r, row));
    for (size_t i = 0; i < row->n; i++)
        TRY(append_line(r, "negative", row->picks[i].doc, (double)row->picks[i].score,
                        r->o.n_teachers > 1 ? mine_teacher_name(r->o.teachers[row->picks[i].teacher]) : NULL));
    return buf_text(&r->html, "</table>\n");
}

static enum trawl_status rule_label(char out[64], const struct mine_rule_options *rule)
{
    const char *name = rule_names[rule->rule];
    if (rule->rule == MINE_NAIVE)
        snprintf(out, 64, "%s", name);
    else
        snprintf(out, 64, "%s %g", name, rule->rule == MINE_SHIFTED ? (double)rule->shift : rule->value);
    return TRAWL_OK;
}

/* ---- figures as HTML and text ---- */

static double per(uint64_t part, uint64_t whole)
{
    return whole ? (double)part / (double)whole : 0.0;
}

static enum trawl_status append_bars(struct buf *out, const uint64_t *bins, uint64_t total, double top,
                                     const char *class)
{
    for (size_t b = 0; b < BINS; b++) {
        double height = per(bins[b], total) / top * 90.0;
        if (bins[b])
            TRY(buf_printf(out, "<rect class=\"%s\" x=\"%zu\" y=\"%.2f\" width=\"7\" height=\"%.2f\"/>", class, b * 8,
                           100.0 - height, height));
    }
    return TRAWL_OK;
}

/* Shares of negatives (bars) and of positives (behind them) by score. */
static enum trawl_status append_histogram(struct buf *out, const struct teacher_figures *f, size_t rule,
                                          const char *label, bool chosen)
{
    const struct rule_figures *k = &f->rules[rule];
    double top = 1e-9;
    for (size_t b = 0; b < BINS; b++)
        top = fmax(top, fmax(per(k->bins[b], k->picked), per(f->positives[b], f->n_positives)));
    TRY(buf_printf(out,
                   "<figure%s><figcaption>%s%s</figcaption><svg viewBox=\"0 0 320 118\" role=\"img\" "
                   "aria-label=\"scores of %s\">",
                   chosen ? " class=\"chosen\"" : "", label, chosen ? " (chosen)" : "", label));
    TRY(append_bars(out, f->positives, f->n_positives, top, "pos"));
    TRY(append_bars(out, k->bins, k->picked, top, "neg"));
    return buf_printf(out,
                      "<line x1=\"0\" y1=\"100\" x2=\"320\" y2=\"100\"/><text x=\"0\" y=\"114\">%.3g</text>"
                      "<text x=\"160\" y=\"114\" text-anchor=\"middle\">score</text>"
                      "<text x=\"320\" y=\"114\" text-anchor=\"end\">%.3g</text></svg></figure>\n",
                      f->low, f->high);
}

static enum trawl_status append_rule(struct mine_report *r, struct buf *html, struct buf *text, size_t t, size_t rule)
{
    const struct teacher_figures *f = &r->teachers[t];
    const struct rule_figures *k = &f->rules[rule];
    char label[64], judged[32] = "-";
    uint64_t n = r->o.set->n;
    TRY(rule_label(label, &r->o.plan->rules[rule]));
    if (k->judged)
        snprintf(judged, sizeof judged, "%.1f %%", 100.0 * per(k->suspected, k->judged));
    TRY(buf_printf(html,
                   "<tr%s><td>%s</td><td class=\"n\">%.1f</td><td class=\"n\">%.1f %%</td><td class=\"n\">%" PRIu64
                   "</td><td class=\"n\">%.1f %%</td><td class=\"n\">%s</td></tr>\n",
                   rule == r->o.chosen ? " class=\"chosen\"" : "", label, per(k->survivors, n),
                   100.0 * per(k->survivors, f->candidates), k->picked, 100.0 * per(k->full, n), judged));
    return buf_printf(text, "%c %-14s %10.1f %9.1f %% %10" PRIu64 " %9.1f %% %12s\n", rule == r->o.chosen ? '*' : ' ',
                      label, per(k->survivors, n), 100.0 * per(k->survivors, f->candidates), k->picked,
                      100.0 * per(k->full, n), judged);
}

static enum trawl_status append_teacher(struct mine_report *r, struct buf *html, struct buf *text, size_t t)
{
    const struct teacher_figures *f = &r->teachers[t];
    char label[64];
    TRY(buf_text(html, "<h2>Teacher: "));
    TRY(escape(html, mine_teacher_name(r->o.teachers[t]), strlen(mine_teacher_name(r->o.teachers[t]))));
    TRY(buf_printf(html,
                   "</h2>\n<p>%" PRIu64 " of %zu queries have a positive with a score. Survivors are counted among the "
                   "first %zu places of each ranking, without positives and copies of them.</p>\n<table><tr><th>rule"
                   "</th><th>survivors<br>per query</th><th>of the<br>candidates</th><th>negatives<br>(best %zu)</th>"
                   "<th>queries<br>with %zu</th><th>judged<br>false</th></tr>\n",
                   f->anchored, r->o.set->n, r->o.plan->depth, r->o.negatives, r->o.negatives));
    TRY(buf_printf(text, "\nteacher %s\n%-16s %10s %11s %10s %11s %12s\n", mine_teacher_name(r->o.teachers[t]), "rule",
                   "survivors", "share", "negatives", "complete", "judged false"));
    for (size_t k = 0; k < MINE_RULES; k++)
        TRY(append_rule(r, html, text, t, k));
    TRY(buf_text(html,
                 "</table>\n<p class=\"legend\"><span class=\"neg\"></span> negatives <span class=\"pos\"></span> "
                 "positives</p>\n<div class=\"figures\">\n"));
    for (size_t k = 0; k < MINE_RULES; k++) {
        TRY(rule_label(label, &r->o.plan->rules[k]));
        TRY(append_histogram(html, f, k, label, k == r->o.chosen));
    }
    return buf_text(html, "</div>\n");
}

static const char style[] =
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1c2330}"
    "h1{font-size:1.6rem}h2{margin-top:2.2rem;font-size:1.2rem}h3{font-size:1rem;margin:1.4rem 0 .3rem}"
    "table{border-collapse:collapse}th,td{padding:.25rem .8rem;border-bottom:1px solid #dde2ea;text-align:left;"
    "vertical-align:top}th{font-weight:600;color:#566}th+th{text-align:right}td.n{text-align:right;font-variant-"
    "numeric:tabular-nums}"
    "tr.chosen td{font-weight:600;background:#eef4ff}.figures{display:grid;grid-template-columns:repeat(auto-fill,"
    "minmax(20rem,1fr));gap:1rem}figure{margin:0;padding:.6rem;border:1px solid #dde2ea;border-radius:6px}"
    "figure.chosen{border-color:#2f6fd6}figcaption{font-weight:600;margin-bottom:.3rem}svg{width:100%;display:block}"
    "svg text{font-size:11px;fill:#667}svg line{stroke:#99a}rect.pos{fill:#e39a2d;opacity:.55}"
    "rect.neg{fill:#2f6fd6;opacity:.75}.legend span{display:inline-block;width:.9rem;height:.7rem;margin-left:1rem}"
    ".legend .pos{background:#e39a2d}.legend .neg{background:#2f6fd6}.examples{font-size:.88rem;width:100%}"
    ".examples td:first-child{width:5rem}tr.positive td:first-child{color:#a86405}"
    "tr.negative td:first-child{color:#2457ad}tr.skipped td{color:#889}";

static enum trawl_status append_totals(struct mine_report *r, struct buf *html, struct buf *text,
                                       const struct trawl_mine_report *totals)
{
    TRY(buf_printf(html,
                   "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" "
                   "content=\"width=device-width\"><title>Hard negatives</title><style>%s</style>\n"
                   "<h1>Hard negatives of ",
                   style));
    TRY(escape(html, r->o.dataset, strlen(r->o.dataset)));
    TRY(buf_printf(html, " (%s)</h1>\n<p>%s</p>\n<p>", r->o.split, r->o.settings));
    TRY(buf_printf(text, "hard negatives of %s (%s)\n%s\n\n", r->o.dataset, r->o.split, r->o.settings));
    char line[512], judged[256] = "";
    if (totals->judged)
        snprintf(judged, sizeof judged,
                 "; the judge (%s) scores %" PRIu64 " of %" PRIu64
                 " negatives at or above the positive: %.1f %% may be false negatives",
                 mine_teacher_name(r->o.judge), totals->suspected, totals->judged,
                 100.0 * per(totals->suspected, totals->judged));
    snprintf(line, sizeof line,
             "%" PRIu64 " queries, %" PRIu64 " rows, %" PRIu64 " negatives, %" PRIu64 " fewer than wanted, %" PRIu64
             " rows dropped, %" PRIu64 " copies of positives passed over",
             totals->queries, totals->rows, totals->negatives, totals->missing, totals->dropped, totals->copies);
    TRY(escape(html, line, strlen(line)));
    TRY(escape(html, judged, strlen(judged)));
    TRY(buf_text(html, ".</p>\n"));
    return buf_printf(text, "%s%s\n", line, judged);
}

/* ---- life ---- */

enum trawl_status mine_report_new(struct mine_report **out, const struct mine_report_options *options)
{
    struct mine_report *r = mem_array(1, sizeof *r);
    *out = r;
    if (!r)
        return mem_status();
    r->o = *options;
    r->teachers = mem_array(options->n_teachers, sizeof *r->teachers);
    TRY(buf_reserve(&r->html, 0));
    TRY(buf_reserve(&r->text, 0));
    return r->teachers ? TRAWL_OK : mem_status();
}

void mine_report_free(struct mine_report *r)
{
    if (!r)
        return;
    buf_release(&r->html);
    buf_release(&r->text);
    free(r->teachers);
    free(r);
}

static enum trawl_status save(const char *path, const struct buf *text)
{
    struct file_writer w;
    TRY(file_writer_open(&w, path));
    enum trawl_status status = file_write(&w, text->data, text->n);
    if (status == TRAWL_OK)
        return file_writer_commit(&w);
    file_writer_abort(&w);
    return status;
}

/* report.html in a folder, or the file itself; the text beside it. */
static enum trawl_status save_both(const char *place, const struct buf *html, const struct buf *text)
{
    struct buf path = {0};
    size_t n = strlen(place), stem;
    bool file = n > 5 && !strcmp(place + n - 5, ".html");
    enum trawl_status status = TRAWL_OK;
    if (!file)
        TRY_OUT(file_make_folder(place));
    TRY_OUT(buf_printf(&path, "%s%s", place, file ? "" : "/report.html"));
    TRY_OUT(save(path.data, html));
    stem = path.n - 5;
    path.n = stem;
    TRY_OUT(buf_text(&path, ".txt"));
    status = save(path.data, text);
out:
    buf_release(&path);
    return status;
}

enum trawl_status mine_report_write(struct mine_report *r, const char *place, const struct trawl_mine_report *totals)
{
    struct buf html = {0}, text = {0};
    enum trawl_status status;
    for (size_t t = 0; t < r->o.n_teachers; t++)
        TRY(take_figures(r, t));
    TRY_OUT(append_totals(r, &html, &text, totals));
    for (size_t t = 0; t < r->o.n_teachers; t++)
        TRY_OUT(append_teacher(r, &html, &text, t));
    TRY_OUT(buf_text(&html, "<h2>Examples</h2>\n<p>The best candidates that the rule passed over are shown as "
                            "skipped.</p>\n"));
    TRY_OUT(buf_append(&html, r->html.data, r->html.n));
    TRY_OUT(buf_text(&html, "</html>\n"));
    TRY_OUT(buf_text(&text, "\nexamples\n"));
    TRY_OUT(buf_append(&text, r->text.data, r->text.n));
    status = save_both(place, &html, &text);
out:
    buf_release(&html);
    buf_release(&text);
    return status;
}
