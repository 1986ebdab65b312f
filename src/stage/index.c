/* index: a corpus into an index folder. */
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/opt.h"
#include "data/vectors.h"
#include "index/index.h"
#include "passages.h"
#include "stages.h"
#include "text/analyzer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

typedef struct trawl_index_options options_t;

static const struct trawl_option rows[] = {
    OPT_NEED(options_t, corpus, "corpus", "F",
             "documents: BEIR folder or .jsonl, Anserini JSONL, MS MARCO or plain TSV, TREC, a folder of .txt and .md "
             "files, also .gz and .zst; - is standard input"),
    OPT_NEED(options_t, output, "output", "IDX", "index folder; made, or replaced as a whole, or added to by --append"),
    OPT_FLAG(options_t, append, "append", "add to the index; documents whose id it has are replaced"),
    OPT_FLAG(options_t, bm25, "bm25", "make a BM25 field (also without this where no dense field is asked for)"),
    OPT_LIST(options_t, dense, "dense", "NAME", "make a dense field of this name; again for more fields"),
    OPT_LIST(options_t, vectors, "vectors", "V",
             "vectors of the documents for a dense field: .npy in the corpus's order, or .vecs and .jsonl with ids"),
    OPT_CHOICE(options_t, analyzer, "analyzer", "english",
               "english|ascii|standard|arabic|armenian|basque|catalan|danish|dutch|finnish|french|german|greek|hindi|"
               "hungarian|indonesian|irish|italian|lithuanian|nepali|norwegian|portuguese|romanian|russian|serbian|"
               "spanish|swedish|tamil|turkish|yiddish",
               "how text becomes the terms of BM25"),
    OPT_NUMBER(options_t, k1, "k1", "X", "0.9", "BM25's k1 for searches of this index"),
    OPT_NUMBER(options_t, b, "b", "X", "0.4", "BM25's b for searches of this index"),
    OPT_CHOICE(options_t, dense_format, "dense-format", "f32", "f32|bf16|int8",
               "how vectors are stored for the search; f32 rows are kept beside bf16 and int8 for rescoring"),
    OPT_COUNT(options_t, split, "split", "TOKENS", "0",
              "split documents into passages of so many words, each searched by itself; 0: whole documents"),
    OPT_COUNT(options_t, overlap, "overlap", "TOKENS", "0", "words that a passage shares with the one before it"),
    OPT_CHOICE(options_t, format, "format", "auto", "auto|beir|anserini|msmarco|tsv|trec|folder",
               "format of the corpus"),
    OPT_CHOICE(options_t, join, "join", NULL, "space|newline|text",
               "how title and text become one text; text: the title is left out (default: space)"),
    OPT_FLAG(options_t, strict, "strict", "refuse invalid UTF-8 instead of replacing it by U+FFFD"),
    OPT_FLAG(options_t, merge, "merge", "merge all segments into one in the end"),
    OPT_COUNT(options_t, memory, "memory", "BYTES", "512m", "memory for postings before a segment is written"),
};

const struct trawl_stage stage_index = {
    .name = "index",
    .summary = "make an index of a corpus, or add to one",
    .details =
        "Without --bm25, --dense and --vectors the index gets a BM25 field. Nothing is seen by searches before the "
        "whole corpus is in; a run that fails or is killed leaves the index as it was. Empty documents are kept and "
        "count in BM25's statistics.\n\n"
        "With --append the fields are those of the index; a field made from --vectors needs the vectors of the new "
        "documents.",
    .examples = "trawl index --corpus scifact --output scifact.idx\n"
                "# vectors made elsewhere, beside BM25\n"
                "trawl index --corpus corpus.jsonl --output idx --bm25 --dense mini --vectors corpus.npy\n"
                "# passages of 200 words, 50 of them shared\n"
                "trawl index --corpus manuals/ --output idx --split 200 --overlap 50\n"
                "# new and changed documents\n"
                "trawl index --corpus new.jsonl --output idx --append\n",
    .options_bytes = sizeof(options_t),
    .options = rows,
    .n_options = sizeof rows / sizeof *rows,
};

/* ---- vectors given for a field ---- */

struct given {
    struct vectors file;
    struct map by_id; /* where the file has ids */
    const char *path;
    size_t next; /* row, where it has none */
};

static enum trawl_status given_open(struct given *g, const char *path)
{
    g->path = path;
    TRY(vectors_open(&g->file, path));
    for (size_t i = 0; g->file.ids && i < g->file.N; i++) {
        uint32_t number;
        bool is_new;
        const char *id = g->file.ids + g->file.id_begin[i];
        TRY(map_put(&g->by_id, id, strlen(id), i, &number, &is_new));
        if (!is_new)
            return fail(TRAWL_FORMAT, "'%s': the id '%s' comes twice", path, id);
    }
    return TRAWL_OK;
}

static void given_close(struct given *g)
{
    vectors_close(&g->file);
    map_release(&g->by_id);
}

static enum trawl_status given_row(struct given *g, const struct document *doc, const float **row)
{
    size_t i = g->next;
    if (g->file.ids) {
        uint32_t number = map_find(&g->by_id, doc->id, doc->id_bytes);
        if (number == MAP_NONE)
            return fail(TRAWL_NOT_FOUND, "'%s' has no vector of document '%s'", g->path, doc->id);
        i = (size_t)g->by_id.values[number];
    } else if (i >= g->file.N) {
        return fail(TRAWL_MISMATCH, "'%s' has %zu vectors, fewer than the corpus has documents ('%s' has none)",
                    g->path, g->file.N, doc->id);
    }
    g->next++;
    *row = g->file.rows + i * g->file.D;
    return TRAWL_OK;
}

/* ---- the job ---- */

struct job {
    const options_t *o;
    struct trawl_index_report *report;
    struct corpus *corpus;
    struct index_writer *writer;
    struct index_field *fields;
    size_t n_fields;
    struct given *given; /* (n_given), of the last n_given fields */
    size_t n_given;
    struct index_settings settings;
    struct passages passages;
    struct buf joined;
    struct index_passage *rows;
    size_t rows_cap;
    const float **vectors; /* (n_fields) */
};

static enum trawl_status name_field(struct index_field *f, const options_t *o, size_t i, size_t n)
{
    const char *name = i < o->dense.n_items ? o->dense.items[i] : "dense";
    if (n > 1 && o->dense.n_items != n)
        return fail(TRAWL_USAGE, "%zu dense fields need as many names (--dense), not %zu", n, o->dense.n_items);
    if (strlen(name) >= sizeof f->name)
        return fail(TRAWL_USAGE, "the name of field '%s' is longer than %zu bytes", name, sizeof f->name - 1);
    memcpy(f->name, name, strlen(name) + 1);
    return TRAWL_OK;
}

static enum index_vector_format vector_format(const char *name)
{
    return strcmp(name, "int8") == 0 ? INDEX_VEC_INT8 : strcmp(name, "bf16") == 0 ? INDEX_VEC_BF16 : INDEX_VEC_F32;
}

static enum trawl_status open_given(struct job *j)
{
    j->given = mem_array(j->o->vectors.n_items, sizeof *j->given);
    if (!j->given)
        return mem_status();
    for (; j->n_given < j->o->vectors.n_items; j->n_given++)
        TRY(given_open(&j->given[j->n_given], j->o->vectors.items[j->n_given]));
    return TRAWL_OK;
}

static void describe_given(struct index_field *f, const struct given *g, const options_t *o)
{
    f->kind = INDEX_DENSE;
    f->D = g->file.D;
    f->format = vector_format(o->dense_format);
    f->from_vectors = true;
    f->has_contract = g->file.has_contract;
    f->document = g->file.document;
    f->query = g->file.query;
}

static enum trawl_status make_fields(struct job *j)
{
    const options_t *o = j->o;
    size_t n_dense = o->vectors.n_items;
    bool lexical = o->bm25 || n_dense == 0;
    if (o->dense.n_items > n_dense)
        return fail(TRAWL_USAGE, "the dense field '%s' needs --vectors", o->dense.items[n_dense]);
    j->fields = mem_array(n_dense + 1, sizeof *j->fields);
    if (!j->fields)
        return mem_status();
    if (lexical) {
        struct index_field *f = &j->fields[j->n_fields++];
        f->kind = INDEX_LEXICAL;
        f->k1 = o->k1;
        f->b = o->b;
        snprintf(f->name, sizeof f->name, "bm25");
        snprintf(f->analyzer, sizeof f->analyzer, "%s", o->analyzer);
    }
    for (size_t i = 0; i < n_dense; i++) {
        struct index_field *f = &j->fields[j->n_fields++];
        describe_given(f, &j->given[i], o);
        TRY(name_field(f, o, i, n_dense));
    }
    return TRAWL_OK;
}

static enum trawl_status open_new(struct job *j)
{
    const options_t *o = j->o;
    TRY(make_fields(j));
    j->settings.split = o->split;
    j->settings.overlap = o->overlap;
    snprintf(j->settings.join, sizeof j->settings.join, "%s", o->join ? o->join : "space");
    struct index_writer_options options = {.memory_bytes = o->memory, .settings = j->settings};
    return index_writer_open(&j->writer, o->output, j->fields, j->n_fields, &options);
}

/* The vectors given must be those of the fields made from vectors, in order or by name. */
static enum trawl_status match_given(struct job *j, const struct index *ix)
{
    size_t n = 0;
    for (size_t i = 0; i < index_n_fields(ix); i++) {
        const struct index_field *f = index_field(ix, i);
        if (f->kind != INDEX_DENSE)
            continue;
        if (n >= j->n_given)
            return fail(TRAWL_USAGE,
                        "field '%s' of '%s' was made from vectors: give those of the new documents (--vectors)",
                        f->name, j->o->output);
        const struct given *g = &j->given[n];
        if (n < j->o->dense.n_items && strcmp(j->o->dense.items[n], f->name) != 0)
            return fail(TRAWL_USAGE, "field %zu of vectors in '%s' is '%s', not '%s'", n + 1, j->o->output, f->name,
                        j->o->dense.items[n]);
        if (g->file.D != f->D)
            return fail(TRAWL_MISMATCH, "'%s' has vectors of %zu numbers, field '%s' of '%s' %zu", g->path, g->file.D,
                        f->name, j->o->output, f->D);
        if (f->has_contract && g->file.has_contract)
            TRY(contract_check(&f->document, &g->file.document, g->path));
        n++;
    }
    if (n < j->n_given)
        return fail(TRAWL_USAGE, "'%s' has %zu fields made from vectors, %zu files of vectors are given", j->o->output,
                    n, j->n_given);
    return TRAWL_OK;
}

static enum trawl_status open_append(struct job *j)
{
    const options_t *o = j->o;
    struct index_writer_options options = {.append = true, .memory_bytes = o->memory};
    TRY(index_writer_open(&j->writer, o->output, NULL, 0, &options));
    const struct index *ix = index_writer_base(j->writer);
    j->settings = *index_settings(ix);
    j->n_fields = index_n_fields(ix);
    if (o->join && strcmp(o->join, j->settings.join) != 0)
        return fail(TRAWL_MISMATCH, "'%s' was made with --join %s, not %s", o->output, j->settings.join, o->join);
    if ((o->split && o->split != j->settings.split) || (o->overlap && o->overlap != j->settings.overlap))
        return fail(TRAWL_MISMATCH, "'%s' was made with --split %zu --overlap %zu", o->output, j->settings.split,
                    j->settings.overlap);
    return match_given(j, ix);
}

static enum trawl_status open_job(struct job *j)
{
    const options_t *o = j->o;
    if (o->overlap && o->overlap >= o->split && !o->append)
        return fail(TRAWL_USAGE, "--overlap %zu must be smaller than --split %zu", o->overlap, o->split);
    if (o->split && o->vectors.n_items)
        return fail(TRAWL_USAGE, "--vectors are those of whole documents and cannot be split (--split)");
    TRY(open_given(j));
    TRY(o->append ? open_append(j) : open_new(j));
    struct corpus_options options = {.format = o->format, .join = j->settings.join, .strict = o->strict};
    TRY(corpus_open(&j->corpus, o->corpus, &options));
    j->vectors = mem_array(j->n_fields, sizeof *j->vectors);
    return j->vectors ? TRAWL_OK : mem_status();
}

/* The rows of a document: their joined texts stand one behind the other in j->joined. */
static enum trawl_status make_rows(struct job *j, const struct document *doc, size_t *n)
{
    struct passage whole = {0, doc->text_bytes}, *passages = &whole;
    *n = 1;
    if (j->settings.split) {
        TRY(passages_cut(&j->passages, doc->text, doc->text_bytes, j->settings.split, j->settings.overlap));
        passages = j->passages.items;
        *n = j->passages.n;
    }
    TRY(mem_grow((void **)&j->rows, &j->rows_cap, *n, sizeof *j->rows));
    buf_reset(&j->joined);
    for (size_t i = 0; i < *n; i++) {
        struct document part = *doc;
        size_t begin = j->joined.n;
        part.text = doc->text + passages[i].begin;
        part.text_bytes = passages[i].end - passages[i].begin;
        TRY(document_join(&j->joined, &part, j->settings.join));
        j->rows[i] = (struct index_passage){.joined_bytes = j->joined.n - begin,
                                            .begin = (uint32_t)passages[i].begin,
                                            .end = (uint32_t)passages[i].end,
                                            .vectors = j->vectors};
    }
    for (size_t i = 0, at = 0; i < *n; at += j->rows[i++].joined_bytes)
        j->rows[i].joined = j->joined.data + at;
    return TRAWL_OK;
}

static enum trawl_status index_document_rows(struct job *j, const struct document *doc)
{
    size_t n;
    if (doc->text_bytes > UINT32_MAX)
        return fail(TRAWL_LIMIT, "document '%s' is larger than 4 GB", doc->id);
    for (size_t i = 0; i < j->n_given; i++)
        TRY(given_row(&j->given[i], doc, &j->vectors[j->n_fields - j->n_given + i]));
    TRY(make_rows(j, doc, &n));
    return index_add_passages(j->writer, doc, j->rows, n);
}

static enum trawl_status read_corpus(struct job *j)
{
    struct progress progress;
    uint64_t done, total;
    enum trawl_status status = TRAWL_OK;
    corpus_position(j->corpus, &done, &total);
    progress_begin(&progress, "indexing", total, "B");
    while (!status) {
        struct document doc;
        status = corpus_next(j->corpus, &doc);
        if (status || !doc.id)
            break;
        status = index_document_rows(j, &doc);
        corpus_position(j->corpus, &done, &total);
        progress_set(&progress, done);
    }
    progress_end(&progress);
    return status;
}

static enum trawl_status check_all_used(const struct job *j)
{
    uint64_t n = corpus_counts(j->corpus)->documents;
    if (n == 0)
        return fail(TRAWL_FORMAT, "'%s' holds no documents", j->o->corpus);
    for (size_t i = 0; i < j->n_given; i++)
        if (!j->given[i].file.ids && j->given[i].file.N != n)
            return fail(TRAWL_MISMATCH, "'%s' has %zu vectors, the corpus %llu documents", j->given[i].path,
                        j->given[i].file.N, (unsigned long long)n);
    return TRAWL_OK;
}

static void report_counts(struct job *j)
{
    const struct corpus_counts *c = corpus_counts(j->corpus);
    const struct index_counts *w = index_writer_counts(j->writer);
    struct trawl_index_report *r = j->report;
    r->n_documents = w->added;
    r->n_replaced = w->replaced;
    r->n_rows = w->rows;
    r->n_empty = c->empty;
    r->n_invalid_utf8 = c->invalid_utf8;
    r->first_invalid_line = c->first_invalid_line;
    memcpy(r->first_invalid_id, c->first_invalid_id, sizeof r->first_invalid_id);
}

/* What the folder is now. */
static enum trawl_status report_index(struct trawl_index_report *r, const char *folder)
{
    struct index *ix;
    struct buf names = {0};
    size_t n;
    TRY(index_open(&ix, folder));
    r->n_total = index_n_documents(ix);
    r->n_segments = index_n_segments(ix);
    index_close(ix);
    TRY(file_list(&names, &n, folder));
    const char *name = names.data;
    for (size_t i = 0; i < n; i++, name += strlen(name) + 1) {
        struct stat st;
        char *path = file_join(folder, name);
        r->index_bytes += path && stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
        free(path);
    }
    buf_release(&names);
    return TRAWL_OK;
}

static void close_job(struct job *j)
{
    index_abort(&j->writer);
    corpus_close(j->corpus);
    for (size_t i = 0; j->given && i < j->o->vectors.n_items; i++)
        given_close(&j->given[i]);
    passages_release(&j->passages);
    buf_release(&j->joined);
    free(j->given);
    free(j->fields);
    free(j->rows);
    free(j->vectors);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

enum trawl_status trawl_index(const struct trawl_index_options *given, struct trawl_index_report *report)
{
    options_t o;
    double begin = now();
    *report = (struct trawl_index_report){0};
    TRY(opt_adopt(&o, &stage_index, given));
    if (!o.corpus || !o.output)
        return fail(TRAWL_USAGE, "index needs a corpus and an output folder (--corpus, --output)");
    struct job j = {.o = &o, .report = report};
    enum trawl_status status = open_job(&j);
    if (!status)
        status = read_corpus(&j);
    if (!status)
        status = check_all_used(&j);
    if (!status)
        status = index_flush(j.writer);
    if (!status) {
        report_counts(&j);
        status = index_commit(&j.writer);
    }
    close_job(&j);
    if (!status && o.merge)
        status = index_merge(o.output);
    if (!status)
        status = report_index(report, o.output);
    report->seconds = now() - begin;
    return status;
}
