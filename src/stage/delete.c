/* delete: documents out of an index, by id. */
#include "base/file.h"
#include "base/map.h"
#include "base/opt.h"
#include "index/index.h"
#include "stages.h"
#include <string.h>

typedef struct trawl_delete_options options_t;

static const struct trawl_option rows[] = {
    OPT_NEED(options_t, index, "index", "IDX", "index folder"),
    {.name = NULL,
     .kind = TRAWL_OPTION_LIST,
     .offset = offsetof(options_t, ids),
     .arg = "IDS",
     .help = "ids of the documents"},
    OPT_STRING(options_t, input, "input", "F", NULL, "file of more ids, one a line; - is standard input"),
    OPT_FLAG(options_t, missing_ok, "missing-ok", "ids that the index does not have are counted, not refused"),
    OPT_FLAG(options_t, merge, "merge", "merge all segments into one afterwards, so that the space is freed"),
};

const struct trawl_stage stage_delete = {
    .name = "delete",
    .summary = "remove documents from an index",
    .details = "Searches that began before see the index as it was; later ones do not find the documents, and BM25's "
               "statistics are those of the documents that are left. Either all ids are removed or, on an error, none.",
    .examples = "trawl delete --index idx MED-10 MED-14\n"
                "# ids from another program\n"
                "cut -f1 gone.tsv | trawl delete --index idx --input -\n",
    .options_bytes = sizeof(options_t),
    .options = rows,
    .n_options = sizeof rows / sizeof *rows,
};

struct job {
    const options_t *options;
    struct trawl_delete_report *report;
    struct index_writer *writer;
    struct map asked; /* ids so far: one that is named twice counts once */
};

static enum trawl_status remove_one(struct job *job, const char *id, size_t n)
{
    bool found, is_new;
    uint32_t ordinal;
    TRY(map_put(&job->asked, id, n, 0, &ordinal, &is_new));
    if (!is_new)
        return TRAWL_OK;
    TRY(index_remove(job->writer, id, n, &found));
    if (!found && !job->options->missing_ok)
        return fail(TRAWL_NOT_FOUND, "'%s' has no document '%.*s' (nothing was removed; --missing-ok passes over it)",
                    job->options->index, (int)n, id);
    job->report->n_deleted += found;
    job->report->n_missing += !found;
    return TRAWL_OK;
}

static enum trawl_status remove_listed(struct job *job)
{
    struct line_reader *lines;
    const char *line;
    size_t n;
    TRY(line_reader_open(&lines, job->options->input));
    enum trawl_status status = line_next(lines, &line, &n);
    for (; !status && line; status = status ? status : line_next(lines, &line, &n))
        if (n)
            status = remove_one(job, line, n);
    line_reader_close(lines);
    return status;
}

static enum trawl_status count_documents(const options_t *o, struct trawl_delete_report *report)
{
    struct index *ix;
    TRY(index_open(&ix, o->index));
    report->n_total = index_n_documents(ix);
    index_close(ix);
    return TRAWL_OK;
}

enum trawl_status trawl_delete(const struct trawl_delete_options *given, struct trawl_delete_report *report)
{
    options_t o;
    struct job job = {.options = &o, .report = report};
    struct index_writer_options options = {.append = true};
    *report = (struct trawl_delete_report){0};
    TRY(opt_adopt(&o, &stage_delete, given));
    if (!o.index || (!o.ids.n_items && !o.input))
        return fail(TRAWL_USAGE, "delete needs an index and ids (--index IDX IDS..., or --input FILE)");
    TRY(index_writer_open(&job.writer, o.index, NULL, 0, &options));
    enum trawl_status status = TRAWL_OK;
    for (size_t i = 0; !status && i < o.ids.n_items; i++)
        status = remove_one(&job, o.ids.items[i], strlen(o.ids.items[i]));
    if (!status && o.input)
        status = remove_listed(&job);
    if (!status)
        status = index_commit(&job.writer);
    index_abort(&job.writer);
    map_release(&job.asked);
    if (!status && o.merge)
        status = index_merge(o.index);
    return status ? status : count_documents(&o, report);
}
