/*
 * eval's own searches: the judged queries of a collection go through the search stage as files of a scratch folder, so
 * that what is scored is exactly what 'trawl search' gives.
 */
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "eval_print.h"
#include <stdlib.h>
#include <string.h>
#include <trawl.h>
#include <unistd.h>

static enum trawl_status write_queries(struct file_writer *w, struct buf *line, const struct qrels *qrels,
                                       const struct queries *queries)
{
    size_t n_found = 0;
    for (size_t i = 0; i < queries->n; i++) {
        const struct query *q = &queries->items[i];
        if (map_find(&qrels->queries, q->id, strlen(q->id)) == MAP_NONE)
            continue;
        n_found++;
        buf_reset(line);
        TRY(buf_text(line, "{\"_id\": "));
        TRY(json_quote(line, q->id, strlen(q->id)));
        TRY(buf_text(line, ", \"text\": "));
        TRY(json_quote(line, q->text, q->text_bytes));
        TRY(buf_text(line, "}\n"));
        TRY(file_write(w, line->data, line->n));
    }
    if (n_found == 0)
        return fail(TRAWL_MISMATCH, "no judged query is among the queries (are they of the same collection?)");
    if (n_found < qrels->queries.n)
        log_warn("%zu of %zu judged queries have no text in the dataset", qrels->queries.n - n_found, qrels->queries.n);
    return TRAWL_OK;
}

static enum trawl_status save_queries(const char *path, const struct qrels *qrels, const struct queries *queries)
{
    struct file_writer w;
    struct buf line = {0};
    TRY(file_writer_open(&w, path));
    enum trawl_status status = write_queries(&w, &line, qrels, queries);
    buf_release(&line);
    if (status == TRAWL_OK)
        return file_writer_commit(&w);
    file_writer_abort(&w);
    return status;
}

static enum trawl_status search(const char *queries, const char *output, const char *mode,
                                const struct trawl_eval_options *o)
{
    struct trawl_search_options s;
    struct trawl_search_report report;
    const struct trawl_stage *stage = trawl_stage_find("search");
    trawl_options_init(&s, stage);
    enum trawl_status status = trawl_options_set(&s, stage, "mode", mode); /* names the modes there are */
    if (status == TRAWL_OK) {
        s.index = o->index;
        s.queries = queries;
        s.output = output;
        s.format = "json";
        s.k = o->k;
        s.field = o->field;
        s.model = o->model;
        s.precision = o->precision;
        s.force = o->force;
        status = trawl_search(&s, &report);
        s.field = (struct trawl_list){0}; /* the caller's */
    }
    trawl_options_release(&s, stage);
    return status;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n > m && strcmp(text + n - m, end) == 0;
}

static enum trawl_status keep_run(const struct run *run, const char *mode, const struct trawl_eval_options *o)
{
    struct buf path = {0};
    enum trawl_status status = buf_text(&path, o->save_run);
    if (status == TRAWL_OK && o->mode.n_items > 1)
        status = buf_printf(&path, ".%s", mode);
    if (status == TRAWL_OK)
        status = run_write(run, path.data, ends_with(o->save_run, ".json") ? "json" : "trec");
    buf_release(&path);
    return status;
}

static enum trawl_status search_in(const char *folder, struct run *run, const struct qrels *qrels,
                                   const struct queries *queries, const char *mode, const struct trawl_eval_options *o)
{
    char *query_file = file_join(folder, "queries.jsonl"), *run_file = file_join(folder, "run.json");
    enum trawl_status status = query_file && run_file ? save_queries(query_file, qrels, queries) : mem_status();
    if (status == TRAWL_OK)
        status = search(query_file, run_file, mode, o);
    if (status == TRAWL_OK)
        status = run_read(run, run_file);
    free(query_file);
    free(run_file);
    return status;
}

enum trawl_status eval_search(struct run *run, const struct qrels *qrels, const struct queries *queries,
                              const char *mode, const struct trawl_eval_options *o)
{
    const char *place = getenv("TMPDIR");
    struct buf folder = {0};
    enum trawl_status status = buf_printf(&folder, "%s/trawl-eval-XXXXXX", place && *place ? place : "/tmp");
    if (status == TRAWL_OK && !mkdtemp(folder.data))
        status = fail_errno("cannot make a scratch folder '%s'", folder.data);
    else if (status == TRAWL_OK) {
        status = search_in(folder.data, run, qrels, queries, mode, o);
        enum trawl_status removed = file_remove_tree(folder.data);
        status = status == TRAWL_OK ? removed : status;
    }
    buf_release(&folder);
    return status == TRAWL_OK && o->save_run ? keep_run(run, mode, o) : status;
}
