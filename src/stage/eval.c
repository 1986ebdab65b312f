/* eval: runs against judgements, from files to a file. */
#include "base/log.h"
#include "base/mem.h"
#include "base/opt.h"
#include "eval_print.h"
#include "stages.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct trawl_eval_options options_t;

static const struct trawl_option rows[] = {
    OPT_STRING(options_t, qrels, "qrels", "FILE", NULL,
               "judgements: TREC (query iteration document grade) or BEIR's TSV"),
    OPT_STRING(options_t, dataset, "dataset", "FOLDER", NULL,
               "BEIR folder whose judgements are used instead of --qrels"),
    OPT_STRING(options_t, split, "split", "NAME", "test", "which judgements of --dataset: qrels/NAME.tsv"),
    OPT_LIST(options_t, run, "run", "FILE",
             "run to score, TREC or JSON, also .gz; again for more runs, compared with the first"),
    OPT_STRING(options_t, index, "index", "IDX", NULL,
               "index to search with the judged queries of --dataset, and to score"),
    OPT_LIST(options_t, mode, "mode", "MODE",
             "how to search --index: auto, bm25, dense, hybrid; again for more to compare"),
    OPT_LIST(options_t, field, "field", "NAME", "field of --index to search, where it has several of a kind"),
    OPT_COUNT(options_t, k, "k", "N", "1000", "hits of each query of --index"),
    OPT_STRING(options_t, model, "model", "M", NULL, "model of the queries (default: the one that made the field)"),
    OPT_CHOICE(options_t, precision, "precision", "auto", "auto|f32|bf16|int8", "precision of encoding queries"),
    OPT_FLAG(options_t, force, "force", "search although the model differs from the field's contract"),
    OPT_STRING(options_t, save_run, "save-run", "FILE", NULL,
               "keep the run of --index, JSON where it is named so, else TREC (several modes: FILE.MODE)"),
    OPT_LIST(options_t, measures, "measures", "LIST",
             "measures, separated by commas: trec_eval's or ir_measures' names, 'official', 'all' (default: "
             "nDCG@10,R@100,MRR@10,MAP)"),
    {.name = NULL,
     .kind = TRAWL_OPTION_LIST,
     .offset = offsetof(options_t, more_measures),
     .arg = "MEASURE",
     .help = "more measures"},
    OPT_FLAG(options_t, per_query, "per-query", "values of every query before the averages"),
    OPT_FLAG(
        options_t, complete, "complete",
        "average over all judged queries, missing ones count 0 (trec_eval -c); without it over those in both files"),
    OPT_FLAG(options_t, drop_self, "drop-self", "leave out hits whose id is the query's own, as BEIR does"),
    OPT_FLAG(options_t, judged_only, "judged-only", "leave out hits that nobody judged (trec_eval -J)"),
    OPT_COUNT(options_t, cutoff, "cutoff", "N", NULL,
              "only the first N hits of a query count (trec_eval -M; default: all)"),
    OPT_COUNT(options_t, relevance, "relevance", "GRADE", "1", "least grade that is relevant (trec_eval -l)"),
    OPT_CHOICE(options_t, significance, "significance", "t-test", "t-test|randomization|both|none",
               "test of the differences between runs, paired by query, two-sided"),
    OPT_COUNT(options_t, draws, "draws", "N", "100000",
              "random patterns of signs; up to 20 differing queries all are tried"),
    OPT_COUNT(options_t, seed, "seed", "N", "1", "of the random patterns"),
    OPT_CHOICE(options_t, format, "format", "table", "table|trec|json|latex",
               "what is written; trec: measure TAB query TAB value, json: full precision"),
    OPT_STRING(options_t, output, "output", "FILE", "-", "where it is written; - is standard output"),
    OPT_FLAG(options_t, list_measures, "list-measures", "print the names of all measures and what they measure"),
};

const struct trawl_stage stage_eval = {
    .name = "eval",
    .summary = "score runs against relevance judgements",
    .details =
        "Values and the order of ties are trec_eval's: score as a 32-bit float descending, then document id "
        "descending; the rank column is ignored. Averages are over the queries that are in both files, unless "
        "--complete. Measures have trec_eval's names (map, ndcg_cut_10, recall_100, P_5; a family alone, such as "
        "ndcg_cut, stands for its usual cutoffs) or those of ir_measures (AP, nDCG@10, R@100, RR@10).\n\n"
        "With one run, a line is: measure, query or 'all', value. With several, each is compared with the first.",
    .examples = "trawl eval --qrels qrels/test.tsv --run bm25.run\n"
                "trawl eval --qrels qrels.txt --run bm25.run --measures ndcg_cut_10,recall_100,map --per-query\n"
                "# is the second run better?\n"
                "trawl eval --dataset scifact --run bm25.run --run hybrid.run --significance both\n"
                "# search and score in one go\n"
                "trawl eval --dataset scifact --index scifact.index --mode bm25 --mode hybrid\n",
    .options_bytes = sizeof(options_t),
    .options = rows,
    .n_options = sizeof rows / sizeof *rows,
};

/* ---- what is asked for ---- */

static enum trawl_status parse_measures(struct measures *m, const options_t *o)
{
    for (size_t i = 0; i < o->measures.n_items; i++)
        TRY(measures_parse(m, o->measures.items[i]));
    for (size_t i = 0; i < o->more_measures.n_items; i++)
        TRY(measures_parse(m, o->more_measures.items[i]));
    return m->n ? TRAWL_OK : measures_parse(m, "nDCG@10,R@100,MRR@10,MAP");
}

static enum trawl_status read_dataset_qrels(struct qrels *qrels, const options_t *o)
{
    struct buf path = {0};
    enum trawl_status status = buf_printf(&path, "%s/qrels/%s.tsv", o->dataset, o->split);
    if (status == TRAWL_OK)
        status = qrels_read(qrels, path.data);
    buf_release(&path);
    return status;
}

static enum trawl_status read_qrels(struct qrels *qrels, const options_t *o)
{
    if (o->qrels && o->dataset)
        return fail(TRAWL_USAGE, "--qrels and --dataset exclude each other");
    if (!o->qrels && !o->dataset)
        return fail(TRAWL_USAGE, "judgements are needed: --qrels FILE or --dataset FOLDER");
    return o->qrels ? qrels_read(qrels, o->qrels) : read_dataset_qrels(qrels, o);
}

static enum trawl_status check_options(const options_t *o)
{
    if (o->run.n_items == 0 && !o->index)
        return fail(TRAWL_USAGE, "a run is needed: --run FILE, or --index IDX with --dataset FOLDER");
    if (o->index && !o->dataset)
        return fail(TRAWL_USAGE, "--index needs --dataset FOLDER, whose queries are searched");
    if (!o->index && (o->mode.n_items || o->save_run))
        return fail(TRAWL_USAGE, "--mode and --save-run go with --index");
    if (o->relevance == 0 || o->relevance > 1000000)
        return fail(TRAWL_USAGE, "--relevance must be a grade from 1 to 1000000");
    return TRAWL_OK;
}

/* ---- scoring ---- */

/* File name without folder, unless two runs would have the same. */
static const char *short_name(const struct trawl_list *list, size_t i)
{
    const char *slash = strrchr(list->items[i], '/'), *name = slash && slash[1] ? slash + 1 : list->items[i];
    for (size_t j = 0; j < list->n_items; j++) {
        const char *other = strrchr(list->items[j], '/');
        other = other && other[1] ? other + 1 : list->items[j];
        if (i != j && strcmp(name, other) == 0)
            return list->items[i];
    }
    return name;
}

static enum trawl_status index_rows(struct scored_run *run, size_t n_judged)
{
    run->row = mem_array(n_judged, sizeof *run->row);
    if (!run->row)
        return mem_status();
    for (size_t q = 0; q < n_judged; q++)
        run->row[q] = MAP_NONE;
    for (size_t i = 0; i < run->result.n_queries; i++)
        run->row[run->result.queries[i]] = (uint32_t)i;
    return TRAWL_OK;
}

static enum trawl_status score_run(struct scored_run *run, const struct scores *s, const options_t *o)
{
    struct eval_options how = {.relevance = (int32_t)o->relevance,
                               .cutoff = o->cutoff,
                               .drop_self = o->drop_self,
                               .judged_only = o->judged_only,
                               .complete = o->complete};
    TRY(eval_run(&run->result, s->qrels, &run->run, s->measures, &how));
    if (run->result.n_queries == 0)
        return fail(TRAWL_MISMATCH, "no query of '%s' is in the judgements (are the files of the same collection?)",
                    run->name);
    if (run->result.n_queries < run->result.n_judged && !o->complete)
        log_warn("'%s' lacks %zu of %zu judged queries, which are left out of the averages (--complete counts them 0)",
                 run->name, run->result.n_judged - run->result.n_queries, run->result.n_judged);
    return index_rows(run, s->qrels->queries.n);
}

/* ---- comparing ---- */

/* Values of a measure for the queries of both runs (with --complete of all judged ones), paired. Returns how many. */
static size_t pair_values(double *a, double *b, const struct scores *s, const struct scored_run *run, size_t measure,
                          bool complete)
{
    const struct scored_run *first = &s->runs[0];
    size_t n = 0, n_measures = s->measures->n;
    for (size_t q = 0; q < s->qrels->queries.n; q++) {
        uint32_t x = first->row[q], y = run->row[q];
        if (!complete && (x == MAP_NONE || y == MAP_NONE))
            continue;
        a[n] = x == MAP_NONE ? 0.0 : first->result.values[x * n_measures + measure];
        b[n++] = y == MAP_NONE ? 0.0 : run->result.values[y * n_measures + measure];
    }
    return n;
}

static enum trawl_status compare_run(struct scored_run *run, const struct scores *s, const options_t *o, double *a,
                                     double *b)
{
    bool both = strcmp(o->significance, "both") == 0, t = both || strcmp(o->significance, "t-test") == 0;
    bool random = both || strcmp(o->significance, "randomization") == 0;
    if (t && !(run->t_tests = mem_array(s->measures->n, sizeof *run->t_tests)))
        return mem_status();
    if (random && !(run->randomisations = mem_array(s->measures->n, sizeof *run->randomisations)))
        return mem_status();
    for (size_t i = 0; i < s->measures->n; i++) {
        size_t n = pair_values(a, b, s, run, i, o->complete);
        if (t)
            run->t_tests[i] = paired_t_test(a, b, n);
        if (random)
            TRY(paired_randomisation_test(&run->randomisations[i], a, b, n, o->draws, o->seed));
    }
    return TRAWL_OK;
}

static enum trawl_status compare_runs(struct scores *s, const options_t *o)
{
    double *a = mem_array(s->qrels->queries.n, sizeof *a), *b = mem_array(s->qrels->queries.n, sizeof *b);
    enum trawl_status status = a && b ? TRAWL_OK : mem_status();
    for (size_t i = 1; i < s->n_runs && status == TRAWL_OK; i++)
        status = compare_run(&s->runs[i], s, o, a, b);
    free(a);
    free(b);
    return status;
}

/* ---- the whole job ---- */

static enum trawl_status write_text(const struct buf *text, const char *path)
{
    struct file_writer w;
    TRY(file_writer_open(&w, path));
    enum trawl_status status = text->n ? file_write(&w, text->data, text->n) : TRAWL_OK;
    if (status == TRAWL_OK)
        return file_writer_commit(&w);
    file_writer_abort(&w);
    return status;
}

static enum trawl_status list_measures(const char *path)
{
    struct buf text = {0};
    const char *name, *help;
    enum trawl_status status = TRAWL_OK;
    for (size_t i = 0; status == TRAWL_OK && (name = measure_family_name(i, &help)); i++)
        status = buf_printf(&text, "%-22s  %s\n", name, help);
    if (status == TRAWL_OK)
        status = write_text(&text, path);
    buf_release(&text);
    return status;
}

/* Number of searches: one for each mode, one where none is named. */
static size_t n_searches(const options_t *o)
{
    return !o->index ? 0 : o->mode.n_items ? o->mode.n_items : 1;
}

/* Only its scores are needed once a run is scored. */
static enum trawl_status score_and_forget(struct scored_run *run, const struct scores *s, const options_t *o)
{
    TRY(score_run(run, s, o));
    run_release(&run->run);
    return TRAWL_OK;
}

static enum trawl_status score_files(struct scores *s, const options_t *o)
{
    for (size_t i = 0; i < o->run.n_items; i++) {
        s->runs[i].name = short_name(&o->run, i);
        TRY(run_read(&s->runs[i].run, o->run.items[i]));
        TRY(score_and_forget(&s->runs[i], s, o));
    }
    return TRAWL_OK;
}

static enum trawl_status score_searches(struct scores *s, const options_t *o)
{
    struct queries queries;
    enum trawl_status status = TRAWL_OK;
    if (!o->index)
        return TRAWL_OK;
    TRY(queries_read(&queries, o->dataset, false));
    for (size_t i = 0; i < n_searches(o) && status == TRAWL_OK; i++) {
        struct scored_run *run = &s->runs[o->run.n_items + i];
        const char *mode = o->mode.n_items ? o->mode.items[i] : "auto";
        run->name = o->mode.n_items ? mode : o->index;
        status = eval_search(&run->run, s->qrels, &queries, mode, o);
        if (status == TRAWL_OK)
            status = score_and_forget(run, s, o);
    }
    queries_release(&queries);
    return status;
}

static enum trawl_status score_all(struct scores *s, const options_t *o)
{
    TRY(score_files(s, o));
    TRY(score_searches(s, o));
    return strcmp(o->significance, "none") == 0 ? TRAWL_OK : compare_runs(s, o);
}

static void release_scores(struct scores *s)
{
    for (size_t i = 0; s->runs && i < s->n_runs; i++) {
        run_release(&s->runs[i].run);
        eval_result_release(&s->runs[i].result);
        free(s->runs[i].row);
        free(s->runs[i].t_tests);
        free(s->runs[i].randomisations);
    }
    free(s->runs);
}

static void fill_report(struct trawl_eval_report *report, const struct scores *s)
{
    *report = (struct trawl_eval_report){.n_runs = s->n_runs,
                                         .n_measures = s->measures->n,
                                         .n_judged = s->qrels->queries.n,
                                         .n_queries = s->runs[0].result.n_queries};
}

enum trawl_status trawl_eval(const options_t *given, struct trawl_eval_report *report)
{
    options_t o;
    struct qrels qrels = {0};
    struct measures measures = {0};
    struct buf text = {0};
    struct scores s = {.qrels = &qrels, .measures = &measures};
    enum trawl_status status;
    *report = (struct trawl_eval_report){0};
    TRY(opt_adopt(&o, &stage_eval, given));
    if (o.list_measures)
        return list_measures(o.output);
    TRY_OUT(check_options(&o));
    TRY_OUT(parse_measures(&measures, &o));
    TRY_OUT(read_qrels(&qrels, &o));
    s.n_runs = o.run.n_items + n_searches(&o);
    s.per_query = o.per_query;
    s.runs = mem_array(s.n_runs, sizeof *s.runs);
    if (!s.runs) {
        status = mem_status();
        goto out;
    }
    TRY_OUT(score_all(&s, &o));
    TRY_OUT(eval_print(&text, &s, o.format));
    TRY_OUT(write_text(&text, o.output));
    fill_report(report, &s);
out:
    release_scores(&s);
    qrels_release(&qrels);
    measures_release(&measures);
    buf_release(&text);
    return status;
}
