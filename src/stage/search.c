/*
 * search: one query for a reader, a file of queries or vectors as a run. Runs are held until they are complete and
 * written at once; text and JSON lines with documents are written query by query into a file that appears when it is
 * complete.
 */
#include "search_stage.h"
#include "stages.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/opt.h"
#include "base/utf8.h"
#include "search/snippet.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define OPTIONS struct trawl_search_options
static const struct trawl_option options_table[] = {
    OPT_NEED(OPTIONS, index, "index", "IDX", "index folder"),
    {.kind = TRAWL_OPTION_LIST,
     .offset = offsetof(OPTIONS, words),
     .arg = "QUERY",
     .help = "one query; several words are joined by spaces"},
    OPT_STRING(OPTIONS, queries, "queries", "F", NULL, "file of queries: BEIR folder, JSON lines, TSV"),
    OPT_STRING(OPTIONS, query_vectors, "query-vectors", "V", NULL,
               "a vector for each query (.npy, .vecs, JSON lines), in the order of --queries where both are given"),
    OPT_COUNT(OPTIONS, k, "k", "N", "10", "hits of each query"),
    OPT_CHOICE(OPTIONS, mode, "mode", "auto", "auto|bm25|dense|hybrid",
               "how to search (auto: by all that the index holds)"),
    OPT_LIST(OPTIONS, field, "field", "NAME", "field to search, where the index has several of a kind"),
    OPT_CHOICE(OPTIONS, fusion, "fusion", "rrf", "rrf|weighted",
               "hybrid: reciprocal ranks, or weighted sum of scores brought to [0,1]"),
    OPT_COUNT(OPTIONS, depth, "depth", "N", NULL,
              "hybrid: documents taken from each side (default: k, at least 100); dense: rows scored again in f32"),
    OPT_NUMBER(OPTIONS, rrf_k, "rrf-k", "X", "60", "constant of reciprocal rank fusion"),
    OPT_NUMBER(OPTIONS, weight, "weight", "X", "0.5", "weight of the dense side in weighted fusion, 0 to 1"),
    OPT_NUMBER(OPTIONS, k1, "k1", "X", "-1", "BM25: saturation of counts; below 0: the field's"),
    OPT_NUMBER(OPTIONS, b, "b", "X", "-1", "BM25: influence of length, 0 to 1; below 0: the field's"),
    OPT_STRING(OPTIONS, model, "model", "M", NULL, "model of the queries (default: the one that made the field)"),
    OPT_CHOICE(OPTIONS, precision, "precision", "auto", "auto|f32|bf16|int8", "precision of encoding queries"),
    OPT_FLAG(OPTIONS, force, "force", "search although model or vectors differ from the field's contract"),
    OPT_FLAG(OPTIONS, strict, "strict", "refuse queries with invalid UTF-8 instead of replacing it"),
    OPT_STRING(OPTIONS, output, "output", "RUN", "-", "where hits are written; - for standard output"),
    OPT_CHOICE(OPTIONS, format, "format", "auto", "auto|text|trec|json|jsonl",
               "auto: text for one query, a TREC run for many, JSON where the output is named so"),
    OPT_STRING(OPTIONS, tag, "tag", "TAG", "trawl", "last column of a TREC run"),
};
const struct trawl_stage stage_search = {
    .name = "search",
    .summary = "find documents",
    .details =
        "Without --mode everything that the index holds is searched: a lexical field by BM25, a dense field by exact "
        "search of the query's vector, both by fusion. Queries are encoded as the field's contract says, by the model "
        "that made it; another model is refused.\n"
        "\n"
        "One query gives readable hits: title, id, score, and the passage with the query's words marked. With --format "
        "json it gives one object with the documents. A file of queries gives a TREC run, with scores that read back "
        "exactly; json is {query: {document: score}}, jsonl one object per query with its documents. Query vectors "
        "without ids are numbered from 0. Documents that were split into passages are found by their best passage.\n"
        "\n"
        "rrf: the sum over both sides of 1 / (X + rank). weighted: X * dense + (1 - X) * lexical, each side's scores "
        "brought to [0,1] by (s - min) / (max - min) over its list, 0 for a document that the side did not find.",
    .examples = "trawl search --index my.index do statins raise blood sugar\n"
                "# a run for eval\n"
                "trawl search --index my.index --queries scifact --k 100 --output hybrid.run",
    .options_bytes = sizeof(OPTIONS),
    .options = options_table,
    .n_options = sizeof options_table / sizeof *options_table,
};
#undef OPTIONS

/* ---- options ---- */

/* Which of the n names, the first where there is no text. */
static enum trawl_status take_choice(size_t *out, const char *text, const char *const *names, size_t n,
                                     const char *what)
{
    for (*out = 0; text && *out < n && strcmp(text, names[*out]) != 0; ++*out)
        ;
    return *out < n ? TRAWL_OK : fail(TRAWL_USAGE, "%s '%s' is unknown", what, text);
}

static enum trawl_status take_field(struct search_options *out, const struct index *ix, const char *name)
{
    struct buf known = {0};
    for (size_t i = 0; i < index_n_fields(ix); i++) {
        const struct index_field *field = index_field(ix, i);
        const char **place = field->kind == INDEX_LEXICAL ? &out->lexical_field : &out->dense_field;
        if (!strcmp(field->name, name) && *place) {
            buf_release(&known);
            return fail(TRAWL_USAGE, "fields '%s' and '%s' are of one kind: only one of them is searched", *place,
                        name);
        }
        if (!strcmp(field->name, name)) {
            *place = field->name;
            buf_release(&known);
            return TRAWL_OK;
        }
        TRY(buf_printf(&known, "%s'%s'", known.n ? ", " : "", field->name));
    }
    enum trawl_status status =
        fail(TRAWL_USAGE, "'%s' has no field '%s' (it has %s)", index_path(ix), name, known.n ? known.data : "none");
    buf_release(&known);
    return status;
}

/* A field that the mode leaves aside was asked for by mistake. */
static enum trawl_status check_mode(const struct search_options *options)
{
    const char *idle = options->mode == SEARCH_BM25    ? options->dense_field
                       : options->mode == SEARCH_DENSE ? options->lexical_field
                                                       : NULL;
    return idle ? fail(TRAWL_USAGE, "--mode %s does not search the field '%s', which is of the other kind",
                       search_mode_name(options->mode), idle)
                : TRAWL_OK;
}

enum trawl_status search_options_take(struct search_options *out, const struct index *ix,
                                      const struct trawl_search_options *o)
{
    static const char *const modes[] = {"auto", "bm25", "dense", "hybrid"}, *const fusions[] = {"rrf", "weighted"};
    size_t mode, fusion;
    TRY(take_choice(&mode, o->mode, modes, 4, "mode"));
    TRY(take_choice(&fusion, o->fusion, fusions, 2, "fusion"));
    *out = (struct search_options){.mode = (enum search_mode)mode,
                                   .k = o->k,
                                   .depth = o->depth,
                                   .fusion = (enum search_fusion)fusion,
                                   .rrf_k = o->rrf_k,
                                   .weight = o->weight,
                                   .k1 = o->k1,
                                   .b = o->b,
                                   .model = o->model,
                                   .precision = o->precision,
                                   .force = o->force,
                                   .vectors = o->given_vectors};
    for (size_t i = 0; i < o->field.n_items; i++)
        TRY(take_field(out, ix, o->field.items[i]));
    return check_mode(out);
}

/* ---- input ---- */

enum form { FORM_TEXT, FORM_TREC, FORM_JSON, FORM_JSONL };

struct job {
    const struct trawl_search_options *o;
    struct trawl_search_report *report;
    struct index *ix;
    bool one;                    /* a single query of the command line: */
    struct buf line;             /* its text, */
    struct query single;         /* the query, */
    struct queries queries;      /* a list of it alone; else those of a file */
    const struct queries *asked; /* NULL: only vectors */
    struct vectors vectors;
    const struct vectors *vectored; /* NULL: no vectors */
    struct search_options options;
    struct search_counts counts;
    enum form form;
    /* output of documents */
    struct file_writer writer;
    struct snippets *snippets;
    struct snippet_style style;
    struct buf text, stored, marked;
};

static enum trawl_status take_single(struct job *j)
{
    static char id[] = "1";
    struct buf given = {0};
    enum trawl_status status = buf_reserve(&given, 0);
    for (size_t i = 0; i < j->o->words.n_items && status == TRAWL_OK; i++)
        status = buf_printf(&given, "%s%s", i ? " " : "", j->o->words.items[i]);
    if (status == TRAWL_OK)
        status = utf8_repair(&j->line, given.data, given.n);
    bool invalid = status == TRAWL_OK && utf8_invalid(given.data, given.n) != given.n;
    buf_release(&given);
    TRY(status);
    if (invalid && j->o->strict)
        return fail(TRAWL_FORMAT, "the query is not valid UTF-8");
    TRY(buf_reserve(&j->line, 0));
    j->report->invalid_utf8 = invalid;
    j->one = true;
    j->line.data[j->line.n] = '\0';
    j->single = (struct query){.id = id, .text = j->line.data, .text_bytes = j->line.n};
    j->queries = (struct queries){.items = &j->single, .n = 1};
    j->asked = &j->queries;
    return TRAWL_OK;
}

static enum trawl_status take_queries(struct job *j)
{
    const struct trawl_search_options *o = j->o;
    if (o->queries)
        TRY(file_keep_input(o->queries, o->output));
    if (o->words.n_items && o->queries)
        return fail(TRAWL_USAGE, "both a query and '--queries %s' were given: one of them is searched", o->queries);
    if (!o->words.n_items && !o->queries && !o->query_vectors)
        return fail(TRAWL_USAGE, "nothing to search for: give a query, --queries or --query-vectors");
    if (o->words.n_items)
        TRY(take_single(j));
    if (o->queries) {
        TRY(queries_read(&j->queries, o->queries, o->strict));
        j->report->invalid_utf8 = j->queries.invalid_utf8;
        j->report->first_invalid_line = j->queries.first_invalid_line;
        j->asked = &j->queries;
    }
    if (!o->query_vectors)
        return TRAWL_OK;
    TRY(vectors_open(&j->vectors, o->query_vectors));
    j->vectored = &j->vectors;
    return TRAWL_OK;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

static enum trawl_status choose_form(struct job *j)
{
    static const char *const names[] = {"text", "trec", "json", "jsonl"};
    size_t form;
    const char *format = j->o->format;
    if (!format || !strcmp(format, "auto")) {
        const char *output = j->o->output ? j->o->output : "-";
        j->form = ends_with(output, ".json") ? FORM_JSON : ends_with(output, ".jsonl") ? FORM_JSONL : FORM_TREC;
        if (j->form == FORM_TREC && j->one && !strcmp(output, "-"))
            j->form = FORM_TEXT;
        return TRAWL_OK;
    }
    TRY(take_choice(&form, format, names, 4, "format"));
    j->form = (enum form)form;
    return TRAWL_OK;
}

/* ---- output with documents ---- */

/* The passage that was found, within the text. */
static void passage_of(const struct stored_document *doc, size_t *begin, size_t *end)
{
    *end = doc->passage_end < doc->text_bytes ? doc->passage_end : doc->text_bytes;
    *begin = doc->passage_begin < *end ? doc->passage_begin : *end;
}

static enum trawl_status mark(struct job *j, const char *text, size_t n, size_t width)
{
    struct snippet_style style = j->style;
    style.width = width;
    buf_reset(&j->marked);
    TRY(buf_reserve(&j->marked, 0));
    return snippet_append(&j->marked, j->snippets, text, n, &style);
}

static enum trawl_status append_text_hit(struct job *j, const struct index_hit *hit, const struct stored_document *doc,
                                         size_t rank)
{
    size_t begin, end;
    passage_of(doc, &begin, &end);
    TRY(mark(j, doc->title, doc->title_bytes, 0));
    TRY(buf_printf(&j->text, "%3zu  %s\n", rank, j->marked.n ? j->marked.data : "(no title)"));
    TRY(buf_printf(&j->text, "     id %.*s   score %.6g\n", (int)doc->id_bytes, doc->id, (double)hit->score));
    TRY(mark(j, doc->text + begin, end - begin, j->style.width));
    return j->marked.n ? buf_printf(&j->text, "     %s\n\n", j->marked.data) : buf_text(&j->text, "\n");
}

static enum trawl_status append_member(struct buf *out, const char *name, const char *text, size_t n)
{
    TRY(buf_printf(out, "\"%s\": ", name));
    return json_quote(out, text, n);
}

static enum trawl_status append_json_hit(struct job *j, const struct index_hit *hit, const struct stored_document *doc,
                                         size_t rank)
{
    size_t begin, end;
    passage_of(doc, &begin, &end);
    TRY(mark(j, doc->text + begin, end - begin, j->style.width));
    TRY(buf_printf(&j->text, "%s{\"rank\": %zu, ", rank > 1 ? ", " : "", rank));
    TRY(append_member(&j->text, "id", doc->id, doc->id_bytes));
    TRY(buf_printf(&j->text, ", \"score\": %.9g, ", (double)hit->score));
    TRY(append_member(&j->text, "title", doc->title, doc->title_bytes));
    TRY(buf_text(&j->text, ", "));
    TRY(append_member(&j->text, "text", doc->text, doc->text_bytes));
    TRY(buf_printf(&j->text, ", \"passage\": [%zu, %zu], ", begin, end));
    TRY(append_member(&j->text, "snippet", j->marked.data, j->marked.n));
    return buf_text(&j->text, "}");
}

static enum trawl_status append_head(struct job *j, const struct search_result *result)
{
    if (j->form == FORM_TEXT) {
        if (!j->one) {
            TRY(buf_printf(&j->text, "query %s", result->query_id));
            TRY(buf_printf(&j->text, "%s%s\n\n", result->query_bytes ? ": " : "", result->query));
        }
        return result->n_hits ? TRAWL_OK : buf_text(&j->text, "no hits\n");
    }
    TRY(buf_text(&j->text, "{"));
    if (!j->one) {
        TRY(append_member(&j->text, "id", result->query_id, strlen(result->query_id)));
        TRY(buf_text(&j->text, ", "));
    }
    TRY(append_member(&j->text, "query", result->query, result->query_bytes));
    return buf_text(&j->text, ", \"hits\": [");
}

/* One result, appended to j->text and written. */
static enum trawl_status write_result(void *ctx, const struct search_result *result)
{
    struct job *j = ctx;
    struct stored_document doc;
    buf_reset(&j->text);
    TRY(snippets_query(j->snippets, result->query, result->query_bytes));
    TRY(append_head(j, result));
    for (size_t i = 0; i < result->n_hits; i++) {
        const struct index_hit *hit = &result->hits[i];
        buf_reset(&j->stored);
        TRY(index_document(j->ix, &j->stored, &doc, hit->segment, hit->row));
        TRY(j->form == FORM_TEXT ? append_text_hit(j, hit, &doc, i + 1) : append_json_hit(j, hit, &doc, i + 1));
    }
    if (j->form != FORM_TEXT)
        TRY(buf_text(&j->text, "]}\n"));
    return file_write(&j->writer, j->text.data, j->text.n);
}

/* The field whose words are marked: the one searched, else the first lexical one. */
static size_t field_of_words(const struct job *j)
{
    for (size_t i = 0; i < index_n_fields(j->ix); i++) {
        const struct index_field *field = index_field(j->ix, i);
        if (field->kind == INDEX_LEXICAL &&
            (!j->options.lexical_field || !strcmp(field->name, j->options.lexical_field)))
            return i;
    }
    return SIZE_MAX;
}

static enum trawl_status search_documents(struct job *j)
{
    j->style = snippet_style(j->o->terminal && j->form == FORM_TEXT);
    TRY(snippets_new(&j->snippets, j->ix, field_of_words(j)));
    TRY(file_writer_open(&j->writer, j->o->output ? j->o->output : "-"));
    enum trawl_status status = search_each(j->ix, j->asked, j->vectored, &j->options, write_result, j, &j->counts);
    if (status == TRAWL_OK)
        return file_writer_commit(&j->writer);
    file_writer_abort(&j->writer);
    return status;
}

static enum trawl_status search_to_run(struct job *j)
{
    struct run run = {0};
    TRY(search_run_vectors(&run, j->ix, j->asked, j->vectored, &j->options, &j->counts));
    enum trawl_status status = TRAWL_OK;
    run.tag = mem_text(j->o->tag ? j->o->tag : "trawl", strlen(j->o->tag ? j->o->tag : "trawl"));
    if (!run.tag)
        status = mem_status();
    if (status == TRAWL_OK)
        status = run_write(&run, j->o->output ? j->o->output : "-", j->form == FORM_JSON ? "json" : "trec");
    run_release(&run);
    return status;
}

/* ---- the stage ---- */

static enum trawl_status check_tag(const char *tag)
{
    if (tag && (!*tag || strpbrk(tag, " \t\r\n")))
        return fail(TRAWL_USAGE, "the tag '%s' is empty or has white space", tag);
    return TRAWL_OK;
}

static enum trawl_status search(struct job *j)
{
    TRY(check_tag(j->o->tag));
    TRY(take_queries(j));
    TRY(choose_form(j));
    TRY(index_open(&j->ix, j->o->index));
    TRY(search_options_take(&j->options, j->ix, j->o));
    bool documents = j->form == FORM_TEXT || j->form == FORM_JSONL || (j->form == FORM_JSON && j->one);
    return documents ? search_documents(j) : search_to_run(j);
}

enum trawl_status trawl_search(const struct trawl_search_options *options, struct trawl_search_report *report)
{
    struct trawl_search_options o;
    struct trawl_search_report unused;
    TRY(opt_adopt(&o, &stage_search, options));
    if (!o.index)
        return fail(TRAWL_USAGE, "no index was given: --index IDX");
    struct job j = {.o = &o, .report = report ? report : &unused};
    *j.report = (struct trawl_search_report){0};
    enum trawl_status status = search(&j);
    j.report->queries = j.counts.queries;
    j.report->empty = j.counts.empty;
    j.report->without_hits = j.counts.without_hits;
    j.report->hits = j.counts.hits;
    j.report->cut = j.counts.cut;
    j.report->seconds = j.counts.seconds;
    j.report->mode = search_mode_name(j.counts.mode);
    if (!j.one)
        queries_release(&j.queries);
    vectors_close(&j.vectors);
    snippets_free(j.snippets);
    index_close(j.ix);
    buf_release(&j.line);
    buf_release(&j.text);
    buf_release(&j.stored);
    buf_release(&j.marked);
    return status;
}
