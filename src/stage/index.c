/* index: a corpus into an index folder. */
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/opt.h"
#include "data/vectors.h"
#include "index/index.h"
#include "embed.h"
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
    OPT_LIST(options_t, model, "model", "M",
             "model that makes the vectors of a dense field: folder, GGUF file or name; with --append the index's own "
             "unless given"),
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
    OPT_CHOICE(options_t, precision, "precision", "auto", "auto|f32|bf16|int8", "precision of the model's arithmetic"),
    OPT_CHOICE(options_t, pooling, "pooling", NULL, "last|mean|weighted-mean|first",
               "how token states become a vector"),
    OPT_CHOICE(options_t, attention, "attention", NULL, "causal|bidirectional", "attention of the model"),
    OPT_CHOICE(options_t, normalize, "normalize", NULL, "l2|none", "normalisation of vectors"),
    OPT_STRING(options_t, prompt, "prompt", "TEXT", NULL, "text put in front of documents"),
    OPT_STRING(options_t, query_prompt, "query-prompt", "TEXT", NULL, "text that searches put in front of queries"),
    OPT_COUNT(options_t, max_length, "max-length", "N", NULL, "tokens of a text; what is beyond is cut off"),
    OPT_COUNT(options_t, dims, "dims", "N", NULL, "keep the first N numbers of vectors (Matryoshka)"),
    OPT_FLAG(options_t, append_eos, "append-eos", "put the model's end-of-text token behind every text"),
    OPT_CHOICE(options_t, too_long, "too-long", "cut", "cut|refuse", "what becomes of a text beyond the maximum"),
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
        "Without --bm25, --dense, --model and --vectors the index gets a BM25 field. Several dense fields are named in "
        "order by --dense; those made by --model come first, then those of --vectors. Nothing is seen by searches "
        "before the "
        "whole corpus is in; a run that fails or is killed leaves the index as it was. Empty documents are kept and "
        "count in BM25's statistics.\n\n"
        "With --append the fields are those of the index; a field made from --vectors needs the vectors of the new "
        "documents. An interrupted run with --model leaves what was encoded in the folder (resume.NAME); the same "
        "command "
        "goes on from there and makes the same index.",
    .examples = "trawl index --corpus scifact --output scifact.idx\n"
                "# BM25 and a dense field, for hybrid search\n"
                "trawl index --corpus scifact --output idx --bm25 --dense minilm --model minilm\n"
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

/* Documents that wait for their vectors. Texts stand one behind the other in `text`. */
struct batch {
    struct buf text; /* ids, titles, texts, joined texts; each with a NUL behind it */
    struct batch_document {
        size_t id, title, text, id_bytes, title_bytes, text_bytes; /* places in `text` */
        size_t first_row, n_rows;
    } * documents;
    struct index_passage *rows;
    size_t *joined;            /* (n_rows) where a row's joined text begins */
    struct text_view *views;   /* (n_rows) */
    const float **row_vectors; /* (n_rows, n_fields) */
    size_t n, cap, n_rows, rows_cap, joined_cap, views_cap, vectors_cap;
};
enum { BATCH_ROWS = 64, BATCH_BYTES = 4 << 20 };

struct job {
    const options_t *o;
    struct trawl_index_report *report;
    struct corpus *corpus;
    struct index_writer *writer;
    struct index_field *fields;
    size_t n_fields;
    struct index_settings settings;
    /* dense fields: which are made by models, which from given vectors */
    struct embed *embeds; /* (n_embeds) */
    struct given *given;  /* (n_given) */
    size_t n_embeds, n_given;
    size_t *embed_field, *given_field; /* numbers of their fields */
    struct passages passages;
    struct batch batch;
};

/* ---- fields of a new index ---- */

static enum index_vector_format vector_format(const char *name)
{
    return strcmp(name, "int8") == 0 ? INDEX_VEC_INT8 : strcmp(name, "bf16") == 0 ? INDEX_VEC_BF16 : INDEX_VEC_F32;
}

static enum trawl_status name_field(struct index_field *f, const options_t *o, size_t i, size_t n)
{
    const char *name = i < o->dense.n_items ? o->dense.items[i] : "dense";
    if (n > 1 && o->dense.n_items != n)
        return fail(TRAWL_USAGE, "%zu dense fields need as many names (--dense), not %zu", n, o->dense.n_items);
    if (strlen(name) >= sizeof f->name)
        return fail(TRAWL_USAGE, "the name of field '%s' is longer than %zu bytes", name, sizeof f->name - 1);
    memcpy(f->name, name, strlen(name) + 1);
    f->format = vector_format(o->dense_format);
    return TRAWL_OK;
}

static enum trawl_status open_given(struct job *j)
{
    size_t n = j->o->vectors.n_items;
    j->given = mem_array(n, sizeof *j->given);
    j->given_field = mem_array(n, sizeof *j->given_field);
    if (!j->given || !j->given_field)
        return mem_status();
    while (j->n_given < n) {
        const char *path = j->o->vectors.items[j->n_given];
        TRY(given_open(&j->given[j->n_given++], path));
    }
    return TRAWL_OK;
}

static void describe_given(struct index_field *f, const struct given *g)
{
    f->kind = INDEX_DENSE;
    f->D = g->file.D;
    f->from_vectors = true;
    f->has_contract = g->file.has_contract;
    f->document = g->file.document;
    f->query = g->file.query;
}

static struct encoder_options encoder_options(const options_t *o)
{
    return (struct encoder_options){.precision = o->precision,
                                    .refuse_long = o->too_long && strcmp(o->too_long, "refuse") == 0};
}

static enum trawl_status open_embed(struct job *j, size_t i, struct index_field *f)
{
    const options_t *o = j->o;
    struct embed_options options = {.encoder = encoder_options(o),
                                    .choices = {.pooling = o->pooling,
                                                .attention = o->attention,
                                                .normalize = o->normalize,
                                                .join = o->join,
                                                .prompt = o->prompt,
                                                .prompt_pooled = -1,
                                                .special_pooled = -1,
                                                .append_eos = o->append_eos ? 1 : -1,
                                                .max_length = o->max_length,
                                                .dims = o->dims},
                                    .query_prompt = o->query_prompt};
    j->n_embeds = i + 1;
    return embed_open(&j->embeds[i], o->model.items[i], &options, f);
}

static enum trawl_status make_fields(struct job *j)
{
    const options_t *o = j->o;
    size_t n_models = o->model.n_items, n_dense = n_models + o->vectors.n_items;
    if (o->dense.n_items > n_dense)
        return fail(TRAWL_USAGE, "the dense field '%s' needs --model or --vectors", o->dense.items[n_dense]);
    j->fields = mem_array(n_dense + 1, sizeof *j->fields);
    j->embeds = mem_array(n_models, sizeof *j->embeds);
    j->embed_field = mem_array(n_models, sizeof *j->embed_field);
    if (!j->fields || !j->embeds || !j->embed_field)
        return mem_status();
    if (o->bm25 || n_dense == 0) {
        struct index_field *f = &j->fields[j->n_fields++];
        *f = (struct index_field){.name = "bm25", .kind = INDEX_LEXICAL, .k1 = o->k1, .b = o->b};
        snprintf(f->analyzer, sizeof f->analyzer, "%s", o->analyzer);
    }
    for (size_t i = 0; i < n_dense; i++) {
        struct index_field *f = &j->fields[j->n_fields];
        TRY(name_field(f, o, i, n_dense));
        if (i < n_models) {
            j->embed_field[i] = j->n_fields++;
            TRY(open_embed(j, i, f));
        } else {
            j->given_field[i - n_models] = j->n_fields++;
            describe_given(f, &j->given[i - n_models]);
        }
    }
    return TRAWL_OK;
}

/* How title and text are joined: what is asked for, else what the models' contracts say, else a space. */
static enum trawl_status choose_join(struct job *j)
{
    const char *join = j->o->join;
    for (size_t i = 0; i < j->n_fields; i++) {
        const struct index_field *f = &j->fields[i];
        if (f->kind != INDEX_DENSE || !f->has_contract || !f->document.join[0])
            continue;
        if (join && strcmp(join, f->document.join) != 0)
            return fail(TRAWL_MISMATCH, "field '%s' wants title and text joined by '%s', not by '%s'", f->name,
                        f->document.join, join);
        join = f->document.join;
    }
    snprintf(j->settings.join, sizeof j->settings.join, "%s", join ? join : "space");
    return TRAWL_OK;
}

static enum trawl_status open_new(struct job *j)
{
    const options_t *o = j->o;
    TRY(make_fields(j));
    TRY(choose_join(j));
    j->settings.split = o->split;
    j->settings.overlap = o->overlap;
    struct index_writer_options options = {.memory_bytes = o->memory, .settings = j->settings};
    return index_writer_open(&j->writer, o->output, j->fields, j->n_fields, &options);
}

/* ---- fields of an index that is appended to ---- */

static enum trawl_status match_given(struct job *j, size_t field, size_t i)
{
    const struct index_field *f = &j->fields[field];
    if (i >= j->n_given)
        return fail(TRAWL_USAGE,
                    "field '%s' of '%s' was made from vectors: give those of the new documents (--vectors)", f->name,
                    j->o->output);
    const struct given *g = &j->given[i];
    j->given_field[i] = field;
    if (g->file.D != f->D)
        return fail(TRAWL_MISMATCH, "'%s' has vectors of %zu numbers, field '%s' of '%s' %zu", g->path, g->file.D,
                    f->name, j->o->output, f->D);
    return f->has_contract && g->file.has_contract ? contract_check(&f->document, &g->file.document, g->path)
                                                   : TRAWL_OK;
}

static enum trawl_status match_model(struct job *j, size_t field)
{
    size_t i = j->n_embeds++;
    const char *model = i < j->o->model.n_items ? j->o->model.items[i] : NULL;
    struct encoder_options options = encoder_options(j->o);
    j->embed_field[i] = field;
    return embed_open_append(&j->embeds[i], model, &options, &j->fields[field], j->o->output);
}

static enum trawl_status kept(const struct job *j, const char *option, const char *was)
{
    return fail(TRAWL_MISMATCH,
                "--append keeps '%s' as it was made: %s is %s there (leave it out, or make the index anew)",
                j->o->output, option, was);
}

/* An option that is not at its preset was given: what the index cannot follow is refused, not passed over. */
static enum trawl_status match_lexical(const struct job *j, const struct index_field *f)
{
    const options_t *o = j->o;
    char number[32];
    if (strcmp(o->analyzer, "english") != 0 && strcmp(o->analyzer, f->analyzer) != 0)
        return kept(j, "--analyzer", f->analyzer);
    snprintf(number, sizeof number, "%g", f->k1);
    if (o->k1 != 0.9 && o->k1 != f->k1)
        return kept(j, "--k1", number);
    snprintf(number, sizeof number, "%g", f->b);
    return o->b != 0.4 && o->b != f->b ? kept(j, "--b", number) : TRAWL_OK;
}

static enum trawl_status match_contract(const struct job *j, const struct index_field *f)
{
    const options_t *o = j->o;
    const struct contract *c = &f->document;
    const struct {
        const char *option, *given, *was;
    } texts[] = {{"--pooling", o->pooling, c->pooling},
                 {"--attention", o->attention, c->attention},
                 {"--normalize", o->normalize, c->normalize},
                 {"--prompt", o->prompt, c->prompt},
                 {"--query-prompt", o->query_prompt, f->query.prompt}};
    const struct {
        const char *option;
        size_t given, was;
    } counts[] = {{"--max-length", o->max_length, c->max_length}, {"--dims", o->dims, c->dims}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i].given && strcmp(texts[i].given, texts[i].was) != 0)
            return kept(j, texts[i].option, *texts[i].was ? texts[i].was : "empty");
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        char number[32];
        snprintf(number, sizeof number, "%zu", counts[i].was);
        if (counts[i].given && counts[i].given != counts[i].was)
            return kept(j, counts[i].option, number);
    }
    return o->append_eos && !c->append_eos ? kept(j, "--append-eos", "off") : TRAWL_OK;
}

static enum trawl_status match_fields(struct job *j, const struct index *ix)
{
    const options_t *o = j->o;
    size_t n_given = 0;
    j->n_fields = index_n_fields(ix);
    j->fields = mem_array(j->n_fields, sizeof *j->fields);
    j->embeds = mem_array(j->n_fields, sizeof *j->embeds);
    j->embed_field = mem_array(j->n_fields, sizeof *j->embed_field);
    if (!j->fields || !j->embeds || !j->embed_field)
        return mem_status();
    for (size_t i = 0; i < j->n_fields; i++) {
        j->fields[i] = *index_field(ix, i);
        if (j->fields[i].kind == INDEX_LEXICAL)
            TRY(match_lexical(j, &j->fields[i]));
        else if (!j->fields[i].from_vectors)
            TRY(match_contract(j, &j->fields[i]));
        if (j->fields[i].kind == INDEX_DENSE)
            TRY(j->fields[i].from_vectors ? match_given(j, i, n_given++) : match_model(j, i));
    }
    if (n_given < j->n_given || j->n_embeds < o->model.n_items)
        return fail(TRAWL_USAGE, "'%s' has %zu fields made from vectors and %zu made by models; %zu and %zu are given",
                    o->output, n_given, j->n_embeds, j->n_given, o->model.n_items);
    for (size_t i = 0; i < o->dense.n_items; i++) {
        size_t field;
        TRY(index_find_field(ix, &field, INDEX_DENSE, o->dense.items[i]));
    }
    return TRAWL_OK;
}

static enum trawl_status open_append(struct job *j)
{
    const options_t *o = j->o;
    struct index_writer_options options = {.append = true, .memory_bytes = o->memory};
    TRY(index_writer_open(&j->writer, o->output, NULL, 0, &options));
    const struct index *ix = index_writer_base(j->writer);
    j->settings = *index_settings(ix);
    if (o->join && strcmp(o->join, j->settings.join) != 0)
        return fail(TRAWL_MISMATCH, "'%s' was made with --join %s, not %s", o->output, j->settings.join, o->join);
    if ((o->split && o->split != j->settings.split) || (o->overlap && o->overlap != j->settings.overlap))
        return fail(TRAWL_MISMATCH, "'%s' was made with --split %zu --overlap %zu", o->output, j->settings.split,
                    j->settings.overlap);
    return match_fields(j, ix);
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
    for (size_t i = 0; i < j->n_embeds; i++)
        TRY(embed_start(&j->embeds[i], o->output, j->fields[j->embed_field[i]].name));
    return TRAWL_OK;
}

/* ---- documents to rows ---- */

static enum trawl_status keep_text(struct batch *b, const char *text, size_t n, size_t *at)
{
    *at = b->text.n;
    TRY(buf_append(&b->text, text, n));
    return buf_append(&b->text, "", 1);
}

static enum trawl_status add_row(struct job *j, const struct document *doc, struct passage passage)
{
    struct batch *b = &j->batch;
    struct document part = *doc;
    TRY(mem_grow((void **)&b->rows, &b->rows_cap, b->n_rows + 1, sizeof *b->rows));
    TRY(mem_grow((void **)&b->joined, &b->joined_cap, b->n_rows + 1, sizeof *b->joined));
    size_t begin = b->joined[b->n_rows] = b->text.n;
    part.text += passage.begin;
    part.text_bytes = passage.end - passage.begin;
    TRY(document_join(&b->text, &part, j->settings.join));
    b->rows[b->n_rows++] = (struct index_passage){
        .joined_bytes = b->text.n - begin, .begin = (uint32_t)passage.begin, .end = (uint32_t)passage.end};
    return buf_append(&b->text, "", 1);
}

static enum trawl_status add_to_batch(struct job *j, const struct document *doc)
{
    struct batch *b = &j->batch;
    TRY(mem_grow((void **)&b->documents, &b->cap, b->n + 1, sizeof *b->documents));
    struct batch_document *d = &b->documents[b->n++];
    *d = (struct batch_document){.id_bytes = doc->id_bytes,
                                 .title_bytes = doc->title_bytes,
                                 .text_bytes = doc->text_bytes,
                                 .first_row = b->n_rows};
    TRY(keep_text(b, doc->id, doc->id_bytes, &d->id));
    TRY(keep_text(b, doc->title, doc->title_bytes, &d->title));
    TRY(keep_text(b, doc->text, doc->text_bytes, &d->text));
    if (j->settings.split) {
        TRY(passages_cut(&j->passages, doc->text, doc->text_bytes, j->settings.split, j->settings.overlap));
        for (size_t i = 0; i < j->passages.n; i++)
            TRY(add_row(j, doc, j->passages.items[i]));
    } else {
        TRY(add_row(j, doc, (struct passage){0, doc->text_bytes}));
    }
    d->n_rows = b->n_rows - d->first_row;
    return TRAWL_OK;
}

/* ---- rows into the index ---- */

static struct document batch_document(const struct batch *b, size_t i)
{
    const struct batch_document *d = &b->documents[i];
    const char *text = b->text.data;
    return (struct document){text + d->id, text + d->title, text + d->text, d->id_bytes, d->title_bytes, d->text_bytes};
}

static enum trawl_status fill_vectors(struct job *j)
{
    struct batch *b = &j->batch;
    for (size_t e = 0; e < j->n_embeds; e++) {
        size_t field = j->embed_field[e], D = j->fields[field].D;
        const float *rows_out = NULL;
        TRY(embed_rows(&j->embeds[e], &rows_out, b->views, b->n_rows));
        for (size_t r = 0; r < b->n_rows; r++)
            b->row_vectors[r * j->n_fields + field] = rows_out + r * D;
    }
    for (size_t g = 0; g < j->n_given; g++)
        for (size_t i = 0; i < b->n; i++) {
            struct document doc = batch_document(b, i);
            TRY(given_row(&j->given[g], &doc,
                          &b->row_vectors[b->documents[i].first_row * j->n_fields + j->given_field[g]]));
        }
    return TRAWL_OK;
}

static enum trawl_status flush_batch(struct job *j)
{
    struct batch *b = &j->batch;
    TRY(mem_grow((void **)&b->views, &b->views_cap, b->n_rows, sizeof *b->views));
    TRY(mem_grow((void **)&b->row_vectors, &b->vectors_cap, b->n_rows * j->n_fields, sizeof *b->row_vectors));
    for (size_t r = 0; r < b->n_rows; r++) {
        b->rows[r].joined = b->text.data + b->joined[r];
        b->rows[r].vectors = b->row_vectors + r * j->n_fields;
        b->views[r] = (struct text_view){b->rows[r].joined, b->rows[r].joined_bytes};
    }
    TRY(fill_vectors(j));
    for (size_t i = 0; i < b->n; i++) {
        struct document doc = batch_document(b, i);
        TRY(index_add_passages(j->writer, &doc, b->rows + b->documents[i].first_row, b->documents[i].n_rows));
    }
    b->n = b->n_rows = 0;
    buf_reset(&b->text);
    return TRAWL_OK;
}

static enum trawl_status read_corpus(struct job *j)
{
    struct progress progress;
    uint64_t done, total;
    size_t batch_rows = j->n_embeds ? BATCH_ROWS : 1;
    enum trawl_status status = TRAWL_OK;
    corpus_position(j->corpus, &done, &total);
    progress_begin(&progress, "indexing", total, "B");
    while (!status) {
        struct document doc;
        status = corpus_next(j->corpus, &doc);
        if (status || !doc.id)
            break;
        if (doc.text_bytes > UINT32_MAX)
            status = fail(TRAWL_LIMIT, "document '%s' is larger than 4 GB", doc.id);
        if (!status)
            status = add_to_batch(j, &doc);
        if (!status && (j->batch.n_rows >= batch_rows || j->batch.text.n >= BATCH_BYTES))
            status = flush_batch(j);
        corpus_position(j->corpus, &done, &total);
        progress_set(&progress, done);
    }
    if (!status)
        status = flush_batch(j);
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
    for (size_t i = 0; i < j->n_embeds; i++) {
        r->n_cut += j->embeds[i].cut;
        r->n_resumed += j->embeds[i].resumed;
    }
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

static void close_job(struct job *j, bool done)
{
    for (size_t i = 0; i < j->n_embeds; i++)
        embed_close(&j->embeds[i], done);
    index_abort(&j->writer);
    corpus_close(j->corpus);
    for (size_t i = 0; i < j->n_given; i++)
        given_close(&j->given[i]);
    passages_release(&j->passages);
    void *memory[] = {j->given,           j->given_field, j->embeds,       j->embed_field, j->fields,
                      j->batch.documents, j->batch.rows,  j->batch.joined, j->batch.views, j->batch.row_vectors};
    for (size_t i = 0; i < sizeof memory / sizeof *memory; i++)
        free(memory[i]);
    buf_release(&j->batch.text);
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
    close_job(&j, status == TRAWL_OK);
    if (!status && o.merge)
        status = index_merge(o.output);
    if (!status)
        status = report_index(report, o.output);
    report->seconds = now() - begin;
    return status;
}
