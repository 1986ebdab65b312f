/*
 * mine: hard negatives for every query of a split. Teachers are brought to one form (vectors, an index, a run), each
 * ranks the corpus for all queries into a journal, and from the journals the rows are picked, written and reported.
 * What takes long lies in a work folder under names made of what it depends on, so that an interrupted run goes on, and
 * a run with other settings uses what it can.
 */
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/opt.h"
#include "data/training.h"
#include "mine_stage.h"
#include "model/model.h"
#include "stages.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

typedef struct trawl_mine_options options_t;

static const struct trawl_option rows[] = {
    OPT_NEED(options_t, dataset, "dataset", "FOLDER", "BEIR folder: corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv"),
    OPT_STRING(options_t, split, "split", "NAME", "train", "which judgements: qrels/NAME.tsv"),
    OPT_LIST(options_t, teacher, "teacher", "M",
             "model that ranks the corpus, or bm25, or random; may be given more than once"),
    OPT_LIST(options_t, run, "run", "FILE",
             "teacher asked elsewhere: a TREC or JSON run, or a .npy matrix of scores (queries by documents)"),
    OPT_LIST(options_t, vectors, "vectors", "V", "teacher by its vectors of the documents, with --query-vectors"),
    OPT_LIST(options_t, query_vectors, "query-vectors", "V", "and of the queries: of all, or of those of the split"),
    OPT_CHOICE(options_t, rule, "rule", "perc", "naive|shifted|abs|margin|perc", "which candidates are left"),
    OPT_STRING(options_t, value, "value", "X", NULL,
               "of the rule: places (10), score (0.7), margin (0.05), share of the positive's score (0.95)"),
    OPT_COUNT(options_t, negatives, "negatives", "K", "4", "negatives of each query"),
    OPT_CHOICE(options_t, select, "select", "top", "top|sample|best-sample",
               "the best, a sample of the pool, or the best one and a sample"),
    OPT_COUNT(options_t, pool, "pool", "N", "10", "candidates that are sampled from"),
    OPT_NUMBER(options_t, temperature, "temperature", "T", "1", "of the softmax over scores that is sampled by"),
    OPT_CHOICE(options_t, anchor, "anchor", "min", "min|mean|max", "the score that stands for several positives"),
    OPT_CHOICE(options_t, ensemble, "ensemble", "cross", "cross|intra",
               "several teachers: one is drawn for each query, or each gives its best in turn"),
    OPT_FLAG(options_t, dedup, "dedup", "intra: a document that a teacher gave already is replaced by its next"),
    OPT_FLAG(options_t, curated, "curated", "documents judged 0 come first, whatever the rule"),
    OPT_CHOICE(options_t, short_rows, "short", "keep", "keep|drop", "rows with fewer negatives than wanted"),
    OPT_COUNT(options_t, seed, "seed", "N", "0", "of sampling and of drawing teachers"),
    OPT_NEED(options_t, output, "output", "F", "training examples, JSON lines"),
    OPT_STRING(options_t, report, "report", "PLACE", NULL, "HTML file, or folder, of a report on all five rules"),
    OPT_STRING(options_t, judge, "judge", "M", NULL, "independent model (or bm25) that estimates false negatives"),
    OPT_STRING(options_t, judge_run, "judge-run", "FILE", NULL, "the same by a run or a matrix of scores"),
    OPT_COUNT(options_t, depth, "depth", "N", "100", "places of the ranking that the report counts survivors in"),
    OPT_STRING(
        options_t, work, "work", "FOLDER", NULL,
        "where vectors and rankings are kept, for other settings too (default: OUTPUT.work, removed at the end)"),
    OPT_CHOICE(options_t, precision, "precision", "auto", "auto|f32|bf16|int8", "of models that are teachers"),
    OPT_COUNT(options_t, max_length, "max-length", "N", NULL, "tokens of a document that teachers read"),
    OPT_FLAG(options_t, strict, "strict", "refuse invalid UTF-8 instead of replacing it"),
};

const struct trawl_stage stage_mine = {
    .name = "mine",
    .summary = "find hard negatives for training",
    .details =
        "A teacher ranks the corpus for every query; positives, copies of their text and empty documents are no "
        "candidates. Of the others a rule leaves those that are not too close to be answers themselves: naive all; "
        "shifted all but the first places; abs those that score at most X; margin those at most p - X; perc those at "
        "most p - (1 - X) |p|, where p is the positive's score (of several the least). Of these the best, or a sample, "
        "become negatives. A query with fewer says so in its row ('missing_negatives').\n"
        "\n"
        "An interrupted run is continued by the same command; the output is the same to the byte, with any number of "
        "threads. Memory does not grow with queries times documents: texts and vectors are mapped, rankings go to "
        "disk.",
    .examples =
        "trawl mine --dataset scifact --teacher minilm --rule perc --value 0.95 --output scifact.jsonl\n"
        "# what the rules would leave, and how much of it may be false\n"
        "trawl mine --dataset scifact --teacher minilm --judge bm25 --output scifact.jsonl --report report.html",
    .options_bytes = sizeof(options_t),
    .options = rows,
    .n_options = sizeof rows / sizeof *rows,
};

enum select { SELECT_TOP, SELECT_SAMPLE, SELECT_BEST_SAMPLE };
enum { POOL_MAX = 1024 };

struct job {
    const options_t *o;
    struct trawl_mine_report *report;
    struct mine_set set;
    char *work;
    uint64_t fingerprint;
    struct mine_teacher **teachers;
    struct mine_journal **journals;
    uint64_t *identities; /* (n_teachers) of what a teacher's scores depend on */
    size_t n_teachers;
    struct mine_teacher *judge;
    struct mine_plan plan;
    size_t chosen; /* rule of the plan */
    enum select select;
    bool intra;
    /* of the row under way */
    struct mine_found *found;
    struct mine_pick **orders; /* (n_teachers, keep) each teacher's negatives, best first */
    size_t *n_orders;
    struct mine_pick *picks;
    struct training_example example;
};

/* ---- options ---- */

static enum trawl_status parse_value(double *out, const char *text)
{
    char *end;
    *out = strtod(text, &end);
    if (end == text || *end || !isfinite(*out))
        return fail(TRAWL_USAGE, "--value '%s' is not a number", text);
    return TRAWL_OK;
}

static const struct {
    const char *name;
    enum mine_rule rule;
    double preset;
} rule_rows[MINE_RULES] = {{"naive", MINE_NAIVE, 0.0},
                           {"shifted", MINE_SHIFTED, 10.0},
                           {"abs", MINE_ABS, 0.7},
                           {"margin", MINE_MARGIN, 0.05},
                           {"perc", MINE_PERC, 0.95}};

static enum trawl_status make_rule(struct mine_rule_options *out, size_t row, const char *value)
{
    double x = rule_rows[row].preset;
    if (value)
        TRY(parse_value(&x, value));
    if (value && rule_rows[row].rule == MINE_NAIVE)
        return fail(TRAWL_USAGE, "rule 'naive' has no --value");
    if (rule_rows[row].rule == MINE_SHIFTED && (x < 0.0 || x > 1e6 || x != floor(x)))
        return fail(TRAWL_USAGE, "rule 'shifted' needs a number of places as its --value, not '%s'", value);
    if (rule_rows[row].rule == MINE_MARGIN && x < 0.0)
        return fail(TRAWL_USAGE, "rule 'margin' needs a --value of at least 0, not '%s'", value);
    *out = (struct mine_rule_options){.rule = rule_rows[row].rule, .value = x};
    out->shift = rule_rows[row].rule == MINE_SHIFTED ? (size_t)x : 0;
    return TRAWL_OK;
}

static enum trawl_status choose(size_t *out, const char *text, const char *const *names, const char *option)
{
    for (*out = 0; names[*out]; ++*out)
        if (!strcmp(text, names[*out]))
            return TRAWL_OK;
    return fail(TRAWL_USAGE, "--%s '%s' is unknown", option, text);
}

static enum trawl_status make_plan(struct job *j)
{
    static const char *const names[] = {"naive", "shifted", "abs", "margin", "perc", NULL};
    static const char *const selects[] = {"top", "sample", "best-sample", NULL};
    static const char *const anchors[] = {"min", "mean", "max", NULL};
    static const char *const ensembles[] = {"cross", "intra", NULL};
    const options_t *o = j->o;
    size_t rule, select, anchor, ensemble;
    TRY(choose(&rule, o->rule, names, "rule"));
    TRY(choose(&select, o->select, selects, "select"));
    TRY(choose(&anchor, o->anchor, anchors, "anchor"));
    TRY(choose(&ensemble, o->ensemble, ensembles, "ensemble"));
    j->select = (enum select)select;
    j->intra = ensemble == 1;
    j->plan.anchor = (enum mine_anchor)anchor;
    j->plan.keep = o->negatives;
    if (!o->negatives || o->negatives > POOL_MAX)
        return fail(TRAWL_USAGE, "--negatives must be 1 to %d", POOL_MAX);
    if (j->select != SELECT_TOP) {
        if (o->pool < o->negatives || o->pool > POOL_MAX)
            return fail(TRAWL_USAGE, "--pool must be from --negatives (%zu) to %d", o->negatives, POOL_MAX);
        if (!(o->temperature > 0.0) || !isfinite(o->temperature))
            return fail(TRAWL_USAGE, "--temperature must be above 0");
        j->plan.keep = o->pool;
    }
    j->plan.n_rules = o->report ? MINE_RULES : 1;
    j->plan.depth = o->report ? o->depth : 0;
    j->chosen = o->report ? rule : 0;
    for (size_t r = 0; r < j->plan.n_rules; r++)
        TRY(make_rule(&j->plan.rules[r], o->report ? r : rule, !o->report || r == rule ? o->value : NULL));
    return TRAWL_OK;
}

static enum trawl_status check_options(const options_t *o)
{
    if (!o->dataset || !o->output)
        return fail(TRAWL_USAGE, "--dataset FOLDER and --output F are needed");
    if (!strcmp(o->output, "-"))
        return fail(TRAWL_USAGE, "--output must be a file");
    if (!(o->teacher.n_items + o->run.n_items + o->vectors.n_items))
        return fail(TRAWL_USAGE, "a teacher is needed: --teacher M, --run FILE, or --vectors with --query-vectors");
    if (o->vectors.n_items != o->query_vectors.n_items)
        return fail(TRAWL_USAGE, "%zu --vectors but %zu --query-vectors: each teacher has both", o->vectors.n_items,
                    o->query_vectors.n_items);
    if (o->judge && o->judge_run)
        return fail(TRAWL_USAGE, "--judge and --judge-run exclude each other");
    return TRAWL_OK;
}

/* ---- the work folder ---- */

static enum trawl_status work_path(struct job *j, struct buf *out, const char *what, uint64_t identity,
                                   const char *ending)
{
    buf_reset(out);
    return buf_printf(out, "%s/%s.%016" PRIx64 "%s", j->work, what, identity, ending);
}

static enum trawl_status save_queries(struct job *j, const char *path)
{
    struct file_writer w;
    struct buf line = {0};
    TRY(file_writer_open(&w, path));
    enum trawl_status status = TRAWL_OK;
    for (size_t q = 0; q < j->set.n && status == TRAWL_OK; q++) {
        const struct mine_query *query = &j->set.items[q];
        buf_reset(&line);
        TRY_OUT(buf_text(&line, "{\"_id\": "));
        TRY_OUT(json_quote(&line, query->id, strlen(query->id)));
        TRY_OUT(buf_text(&line, ", \"text\": "));
        TRY_OUT(json_quote(&line, query->text, query->text_bytes));
        TRY_OUT(buf_text(&line, "}\n"));
        status = file_write(&w, line.data, line.n);
    }
out:
    buf_release(&line);
    if (status == TRAWL_OK)
        return file_writer_commit(&w);
    file_writer_abort(&w);
    return status;
}

/* ---- teachers ---- */

static enum trawl_status encode(struct job *j, const char *model, const char *input, const char *output, bool queries)
{
    struct trawl_encode_options e;
    struct trawl_encode_report report;
    if (file_exists(output))
        return TRAWL_OK;
    trawl_options_init(&e, trawl_stage_find("encode"));
    e.model = model;
    e.input = input;
    e.output = output;
    e.side = queries ? "query" : "document";
    e.precision = j->o->precision;
    e.max_length = queries ? 0 : j->o->max_length;
    e.strict = j->o->strict;
    return trawl_encode(&e, &report);
}

static enum trawl_status model_identity(struct job *j, const char *name, uint64_t *out)
{
    struct model_files *files;
    char fingerprint[17];
    TRY(model_files_open(&files, name));
    enum trawl_status status = model_files_fingerprint(files, fingerprint);
    model_files_close(files);
    TRY(status);
    *out = XXH3_64bits_withSeed(fingerprint, 16, j->fingerprint);
    *out = XXH3_64bits_withSeed(&j->o->max_length, sizeof j->o->max_length, *out);
    *out = XXH3_64bits_withSeed(j->o->precision, strlen(j->o->precision), *out);
    return TRAWL_OK;
}

static enum trawl_status open_model(struct job *j, struct mine_teacher **t, const char *name, uint64_t *identity)
{
    struct buf documents = {0}, vectors = {0}, queries = {0};
    enum trawl_status status;
    TRY(model_identity(j, name, identity));
    TRY_OUT(work_path(j, &documents, "documents", *identity, ".vecs"));
    TRY_OUT(work_path(j, &vectors, "queries", *identity, ".vecs"));
    TRY_OUT(work_path(j, &queries, "queries", j->fingerprint, ".jsonl"));
    if (!file_exists(queries.data))
        TRY_OUT(save_queries(j, queries.data));
    TRY_OUT(encode(j, name, j->o->dataset, documents.data, false));
    TRY_OUT(encode(j, name, queries.data, vectors.data, true));
    status = mine_teacher_vectors(t, &j->set, name, documents.data, vectors.data);
out:
    buf_release(&documents);
    buf_release(&vectors);
    buf_release(&queries);
    return status;
}

static enum trawl_status build_bm25(struct job *j, const char *path)
{
    struct trawl_index_options i;
    struct trawl_index_report report;
    struct buf half = {0};
    enum trawl_status status = TRAWL_OK;
    if (file_exists(path))
        return TRAWL_OK;
    TRY_OUT(buf_printf(&half, "%s.half", path));
    if (file_exists(half.data))
        TRY_OUT(file_remove_tree(half.data));
    trawl_options_init(&i, trawl_stage_find("index"));
    i.corpus = j->o->dataset;
    i.output = half.data;
    i.bm25 = true;
    i.strict = j->o->strict;
    TRY_OUT(trawl_index(&i, &report));
    if (rename(half.data, path))
        status = fail_errno("cannot rename '%s'", half.data);
out:
    buf_release(&half);
    return status;
}

static enum trawl_status open_bm25(struct job *j, struct mine_teacher **t, uint64_t *identity)
{
    struct buf path = {0};
    *identity = XXH3_64bits_withSeed("bm25", 4, j->fingerprint);
    enum trawl_status status = work_path(j, &path, "bm25", *identity, "");
    if (status == TRAWL_OK)
        status = build_bm25(j, path.data);
    if (status == TRAWL_OK)
        status = mine_teacher_lexical(t, &j->set, "bm25", path.data);
    buf_release(&path);
    return status;
}

static enum trawl_status file_identity(struct job *j, const char *path, uint64_t *identity)
{
    struct file_map map;
    TRY(file_map_open(&map, path));
    *identity = XXH3_64bits_withSeed(map.data ? map.data : (const unsigned char *)"", map.bytes,
                                     *identity ? *identity : j->fingerprint);
    file_map_close(&map);
    return TRAWL_OK;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

static enum trawl_status open_named(struct job *j, struct mine_teacher **t, const char *name, uint64_t *identity)
{
    uint64_t seed = j->o->seed;
    *identity = XXH3_64bits_withSeed(&seed, sizeof seed, j->fingerprint);
    if (!strcmp(name, "random"))
        return mine_teacher_random(t, &j->set, name, seed);
    return strcmp(name, "bm25") ? open_model(j, t, name, identity) : open_bm25(j, t, identity);
}

static enum trawl_status open_run(struct job *j, struct mine_teacher **t, const char *path, uint64_t *identity)
{
    TRY(file_identity(j, path, identity));
    return mine_teacher_run(t, &j->set, base_name(path), path);
}

static enum trawl_status open_teachers(struct job *j)
{
    const options_t *o = j->o;
    size_t n = o->teacher.n_items + o->run.n_items + o->vectors.n_items;
    uint64_t unused = 0;
    j->teachers = mem_array(n, sizeof(void *));
    j->journals = mem_array(n, sizeof(void *));
    j->identities = mem_array(n, sizeof *j->identities);
    if (!j->teachers || !j->journals || !j->identities)
        return mem_status();
    j->n_teachers = n;
    size_t t = 0;
    for (size_t i = 0; i < o->teacher.n_items; i++, t++)
        TRY(open_named(j, &j->teachers[t], o->teacher.items[i], &j->identities[t]));
    for (size_t i = 0; i < o->run.n_items; i++, t++)
        TRY(open_run(j, &j->teachers[t], o->run.items[i], &j->identities[t]));
    for (size_t i = 0; i < o->vectors.n_items; i++, t++) {
        TRY(file_identity(j, o->vectors.items[i], &j->identities[t]));
        TRY(file_identity(j, o->query_vectors.items[i], &j->identities[t]));
        TRY(mine_teacher_vectors(&j->teachers[t], &j->set, base_name(o->vectors.items[i]), o->vectors.items[i],
                                 o->query_vectors.items[i]));
    }
    if (o->judge)
        TRY(open_named(j, &j->judge, o->judge, &unused));
    if (o->judge_run)
        TRY(open_run(j, &j->judge, o->judge_run, &unused));
    return TRAWL_OK;
}

static enum trawl_status rank_all(struct job *j)
{
    struct buf path = {0};
    enum trawl_status status = TRAWL_OK;
    for (size_t t = 0; t < j->n_teachers && status == TRAWL_OK; t++) {
        size_t resumed = 0;
        struct buf key = {0};
        const struct mine_plan *p = &j->plan;
        status = buf_printf(&key, "%zu %zu %d", p->keep, p->depth, (int)p->anchor);
        for (size_t r = 0; r < p->n_rules && status == TRAWL_OK; r++)
            status = buf_printf(&key, " %d %a %zu", (int)p->rules[r].rule, p->rules[r].value, p->rules[r].shift);
        if (status == TRAWL_OK)
            status = work_path(j, &path, "candidates", XXH3_64bits_withSeed(key.data, key.n, j->identities[t]), "");
        if (status == TRAWL_OK)
            status = mine_journal_make(&j->journals[t], path.data, j->teachers[t], p, &resumed);
        j->report->resumed += resumed;
        buf_release(&key);
    }
    buf_release(&path);
    return status;
}

/* ---- picking ---- */

/* A teacher's negatives for the query, in the order in which they are to be taken. */
static void order_picks(struct job *j, size_t query, size_t t)
{
    static const struct mine_rule_options all = {.rule = MINE_NAIVE};
    const options_t *o = j->o;
    const struct mine_candidate *kept = j->found[t].kept[j->chosen];
    size_t n = j->found[t].n_kept[j->chosen];
    uint32_t docs[POOL_MAX];
    struct rng rng = rng_stream(o->seed, (uint32_t)query, (uint32_t)t + 1);
    if (j->select == SELECT_TOP)
        n = mine_pick(docs, kept, n, o->negatives, &all, 0.0);
    else
        n = mine_sample(docs, kept, n, o->negatives, j->select == SELECT_BEST_SAMPLE, o->pool, o->temperature, &all,
                        0.0, &rng);
    for (size_t i = 0; i < n; i++) {
        const struct mine_candidate *c = kept;
        while (c->index != docs[i])
            c++;
        j->orders[t][i] = (struct mine_pick){docs[i], c->score, t};
    }
    j->n_orders[t] = n;
}

static bool is_picked(const struct mine_pick *picks, size_t n, uint32_t doc)
{
    for (size_t i = 0; i < n; i++)
        if (picks[i].doc == doc)
            return true;
    return false;
}

/* Takes a teacher's next, passing over what is there already where that is wanted; false: it has no more. */
static bool take_next(struct job *j, size_t t, size_t *next, size_t *n, bool unique)
{
    while (next[t] < j->n_orders[t]) {
        struct mine_pick pick = j->orders[t][next[t]++];
        if (unique && is_picked(j->picks, *n, pick.doc))
            continue;
        j->picks[(*n)++] = pick;
        return true;
    }
    return false;
}

static enum trawl_status take_curated(struct job *j, const struct mine_query *query, size_t index, size_t t, size_t *n)
{
    for (size_t i = 0; j->o->curated && i < query->n_curated && *n < j->o->negatives; i++) {
        struct mine_pick pick = {query->curated[i], NAN, t};
        TRY(mine_teacher_score(j->teachers[t], &pick.score, index, &pick.doc, 1));
        j->picks[(*n)++] = pick;
    }
    return TRAWL_OK;
}

/* The negatives of a query into j->picks. */
static enum trawl_status pick_negatives(struct job *j, struct mined *row)
{
    const struct mine_query *query = &j->set.items[row->query];
    size_t wanted = j->o->negatives, n = 0, *next = mem_array(j->n_teachers, sizeof *next);
    struct rng rng = rng_stream(j->o->seed, (uint32_t)row->query, 0);
    if (!next)
        return mem_status();
    row->teacher = j->intra || j->n_teachers == 1 ? 0 : (size_t)rng_below(&rng, j->n_teachers);
    enum trawl_status status = take_curated(j, query, row->query, row->teacher, &n);
    size_t n_curated = n;
    bool unique = !j->intra || j->o->dedup || n_curated;
    for (size_t t = 0; t < j->n_teachers; t++)
        if (j->intra || t == row->teacher)
            order_picks(j, row->query, t);
        else
            j->n_orders[t] = 0;
    for (bool any = true; any && n < wanted;) {
        any = false;
        for (size_t t = 0; t < j->n_teachers && n < wanted; t++)
            any |= take_next(j, t, next, &n, unique);
    }
    free(next);
    row->found = &j->found[row->teacher];
    row->picks = j->picks;
    row->n = n;
    row->wanted = wanted;
    return status;
}

/* ---- rows ---- */

static enum trawl_status add_passage(const struct job *j, struct training_list *list, uint32_t number, float score,
                                     const char *teacher)
{
    struct document doc;
    doc_set_get(j->set.docs, number, &doc);
    TRY(mem_grow((void **)&list->items, &list->cap, list->n + 1, sizeof *list->items));
    list->items[list->n++] = (struct training_passage){.docid = doc.id,
                                                       .title = doc.title,
                                                       .text = doc.text,
                                                       .docid_bytes = doc.id_bytes,
                                                       .title_bytes = doc.title_bytes,
                                                       .text_bytes = doc.text_bytes,
                                                       .has_score = !isnan(score),
                                                       .score = (double)score,
                                                       .teacher = teacher};
    return TRAWL_OK;
}

static enum trawl_status write_row(struct job *j, struct training_writer *w, const struct mined *row)
{
    struct training_example *e = &j->example;
    const struct mine_query *query = &j->set.items[row->query];
    bool several = j->n_teachers > 1;
    e->query_id = query->id;
    e->query_id_bytes = strlen(query->id);
    e->query = query->text;
    e->query_bytes = query->text_bytes;
    e->source = base_name(j->o->dataset);
    e->source_bytes = strcspn(e->source, "/");
    e->instruction = "";
    e->target = SIZE_MAX;
    e->positives.n = e->negatives.n = 0;
    e->missing_negatives = row->wanted - row->n;
    for (size_t i = 0; i < query->n_positives; i++)
        TRY(add_passage(j, &e->positives, query->positives[i], row->found->positives[i],
                        several ? mine_teacher_name(j->teachers[row->teacher]) : NULL));
    for (size_t i = 0; i < row->n; i++)
        TRY(add_passage(j, &e->negatives, row->picks[i].doc, row->picks[i].score,
                        several ? mine_teacher_name(j->teachers[row->picks[i].teacher]) : NULL));
    return training_write(w, e);
}

static enum trawl_status judge_row(struct job *j, const struct mined *row)
{
    uint32_t docs[POOL_MAX];
    for (size_t i = 0; i < row->n; i++)
        docs[i] = row->picks[i].doc;
    return mine_judge(j->judge, &j->set, j->plan.anchor, row->query, docs, row->n, &j->report->judged,
                      &j->report->suspected);
}

static enum trawl_status take_row(struct job *j, size_t query, struct training_writer *w, struct mine_report *report)
{
    struct mined row = {.query = query};
    for (size_t t = 0; t < j->n_teachers; t++)
        TRY(mine_journal_next(j->journals[t], &j->found[t]));
    TRY(pick_negatives(j, &row));
    j->report->queries++;
    j->report->missing += row.wanted - row.n;
    if (report)
        TRY(mine_report_row(report, &row));
    if (row.n < row.wanted && !strcmp(j->o->short_rows, "drop")) {
        j->report->dropped++;
        return TRAWL_OK;
    }
    j->report->rows++;
    j->report->negatives += row.n;
    if (j->judge)
        TRY(judge_row(j, &row));
    return write_row(j, w, &row);
}

static enum trawl_status write_rows(struct job *j, struct mine_report *report)
{
    struct training_writer *w;
    struct progress progress;
    uint64_t n_done;
    enum trawl_status status = TRAWL_OK;
    TRY(training_writer_open(&w, j->o->output, NULL, &n_done));
    progress_begin(&progress, "writing", j->set.n, "rows");
    for (size_t q = 0; q < j->set.n && status == TRAWL_OK; q++) {
        status = take_row(j, q, w, report);
        progress_set(&progress, q + 1);
    }
    progress_end(&progress);
    if (status == TRAWL_OK)
        return training_commit(&w);
    training_abort(&w);
    return status;
}

/* ---- the stage ---- */

static enum trawl_status take_scratch(struct job *j)
{
    j->found = mem_array(j->n_teachers, sizeof *j->found);
    j->orders = mem_array(j->n_teachers, sizeof *j->orders);
    j->n_orders = mem_array(j->n_teachers, sizeof *j->n_orders);
    j->picks = mem_array(j->o->negatives, sizeof *j->picks);
    if (!j->found || !j->orders || !j->n_orders || !j->picks)
        return mem_status();
    for (size_t t = 0; t < j->n_teachers; t++) {
        j->orders[t] = mem_array(j->plan.keep, sizeof **j->orders);
        if (!j->orders[t])
            return mem_status();
    }
    return TRAWL_OK;
}

static enum trawl_status describe(const struct job *j, struct buf *out)
{
    const options_t *o = j->o;
    const struct mine_rule_options *rule = &j->plan.rules[j->chosen];
    TRY(buf_printf(out, "rule %s", o->rule));
    if (rule->rule != MINE_NAIVE)
        TRY(buf_printf(out, " %g", rule->rule == MINE_SHIFTED ? (double)rule->shift : rule->value));
    TRY(buf_printf(out, ", %zu negatives, %s", o->negatives, o->select));
    if (j->select != SELECT_TOP)
        TRY(buf_printf(out, " from %zu at temperature %g", o->pool, o->temperature));
    TRY(buf_printf(out, ", anchor %s, seed %zu", o->anchor, o->seed));
    if (j->n_teachers > 1)
        TRY(buf_printf(out, ", ensemble %s%s", o->ensemble, j->intra && o->dedup ? " without duplicates" : ""));
    return TRAWL_OK;
}

static enum trawl_status write_all(struct job *j)
{
    struct buf settings = {0};
    struct mine_report *report = NULL;
    enum trawl_status status;
    const struct mine_report_options options = {.set = &j->set,
                                                .teachers = j->teachers,
                                                .journals = j->journals,
                                                .n_teachers = j->n_teachers,
                                                .plan = &j->plan,
                                                .chosen = j->chosen,
                                                .judge = j->judge,
                                                .negatives = j->o->negatives,
                                                .dataset = j->o->dataset,
                                                .split = j->o->split,
                                                .settings = NULL};
    if (!j->o->report)
        return write_rows(j, NULL);
    TRY_OUT(describe(j, &settings));
    struct mine_report_options full = options;
    full.settings = settings.data;
    TRY_OUT(mine_report_new(&report, &full));
    TRY_OUT(write_rows(j, report));
    TRY_OUT(mine_report_write(report, j->o->report, j->report));
out:
    mine_report_free(report);
    buf_release(&settings);
    return status;
}

static enum trawl_status make_work(struct job *j)
{
    struct buf path = {0};
    if (j->o->work)
        TRY(buf_text(&path, j->o->work));
    else
        TRY(buf_printf(&path, "%s.work", j->o->output));
    j->work = path.data;
    return file_make_folder(j->work);
}

static enum trawl_status mine(struct job *j)
{
    TRY(check_options(j->o));
    TRY(make_plan(j));
    TRY(mine_set_open(&j->set, j->o->dataset, j->o->split, j->o->strict));
    j->fingerprint = mine_set_fingerprint(&j->set);
    j->report->without_positives = j->set.without_positives;
    j->report->copies = j->set.copies;
    TRY(make_work(j));
    TRY(open_teachers(j));
    TRY(rank_all(j));
    TRY(take_scratch(j));
    return write_all(j);
}

static void job_release(struct job *j)
{
    for (size_t t = 0; t < j->n_teachers; t++) {
        mine_journal_close(j->journals[t]);
        mine_teacher_close(j->teachers[t]);
        if (j->orders)
            free(j->orders[t]);
    }
    mine_teacher_close(j->judge);
    mine_set_close(&j->set);
    free(j->teachers);
    free(j->journals);
    free(j->identities);
    free(j->found);
    free(j->orders);
    free(j->n_orders);
    free(j->picks);
    free(j->example.positives.items);
    free(j->example.negatives.items);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

enum trawl_status trawl_mine(const options_t *options, struct trawl_mine_report *report)
{
    options_t o;
    struct trawl_mine_report unused;
    TRY(opt_adopt(&o, &stage_mine, options));
    struct job j = {.o = &o, .report = report ? report : &unused};
    *j.report = (struct trawl_mine_report){0};
    double started = now();
    enum trawl_status status = mine(&j);
    job_release(&j);
    if (status == TRAWL_OK && !o.work)
        status = file_remove_tree(j.work);
    else if (j.work)
        rmdir(j.work); /* unless something in it is worth keeping */
    free(j.work);
    j.report->seconds = now() - started;
    return status;
}
