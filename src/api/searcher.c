/* Handles of index and searcher. */
#include "base/buf.h"
#include "base/mem.h"
#include "base/opt.h"
#include "search/snippet.h"
#include "stage/search_stage.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct trawl_index {
    struct index *ix;
};

struct trawl_searcher {
    const struct index *ix;
    struct searcher *searcher;
    struct snippets *snippets;
    struct snippet_style style;
    size_t k, D;
    bool given_vectors;
    struct index_hit *found; /* (k) */
    struct trawl_hit *hits;  /* (k) */
    struct buf *stored;      /* (k) documents */
    struct buf *snippet;     /* (k) */
};

enum trawl_status trawl_index_open(struct trawl_index **index, const char *path)
{
    *index = mem_array(1, sizeof **index);
    if (!*index)
        return mem_status();
    enum trawl_status status = index_open(&(*index)->ix, path);
    if (status != TRAWL_OK) {
        free(*index);
        *index = NULL;
    }
    return status;
}

void trawl_index_close(struct trawl_index *index)
{
    if (!index)
        return;
    index_close(index->ix);
    free(index);
}

uint64_t trawl_index_documents(const struct trawl_index *index)
{
    return index_n_documents(index->ix);
}

/* Words are marked as the lexical field has them, whatever is searched. */
static size_t field_of_words(const struct trawl_searcher *s)
{
    size_t field = searcher_lexical_field(s->searcher);
    for (size_t i = 0; field == SIZE_MAX && i < index_n_fields(s->ix); i++)
        if (index_field(s->ix, i)->kind == INDEX_LEXICAL)
            field = i;
    return field;
}

static enum trawl_status make(struct trawl_searcher *s, struct search_options *o)
{
    if (o->k > index_n_documents(s->ix))
        o->k = index_n_documents(s->ix) ? (size_t)index_n_documents(s->ix) : 1;
    TRY(searcher_new(&s->searcher, s->ix, o));
    TRY(snippets_new(&s->snippets, s->ix, field_of_words(s)));
    size_t dense = searcher_dense_field(s->searcher);
    s->D = dense != SIZE_MAX ? index_field(s->ix, dense)->D : 0;
    s->given_vectors = o->vectors;
    s->k = o->k;
    s->found = mem_array(s->k, sizeof *s->found);
    s->hits = mem_array(s->k, sizeof *s->hits);
    s->stored = mem_array(s->k, sizeof *s->stored);
    s->snippet = mem_array(s->k, sizeof *s->snippet);
    return s->found && s->hits && s->stored && s->snippet ? TRAWL_OK : mem_status();
}

enum trawl_status trawl_searcher_new(struct trawl_searcher **out, const struct trawl_index *index,
                                     const struct trawl_search_options *options)
{
    struct search_options o;
    struct trawl_search_options own;
    *out = NULL;
    TRY(opt_adopt(&own, trawl_stage_find("search"), options));
    TRY(search_options_take(&o, index->ix, &own));
    struct trawl_searcher *s = mem_array(1, sizeof *s);
    if (!s)
        return mem_status();
    s->ix = index->ix;
    s->style = snippet_style(own.terminal);
    enum trawl_status status = make(s, &o);
    if (status != TRAWL_OK)
        trawl_searcher_free(s);
    else
        *out = s;
    return status;
}

void trawl_searcher_free(struct trawl_searcher *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->k; i++) {
        if (s->stored)
            buf_release(&s->stored[i]);
        if (s->snippet)
            buf_release(&s->snippet[i]);
    }
    searcher_free(s->searcher);
    snippets_free(s->snippets);
    free(s->found);
    free(s->hits);
    free(s->stored);
    free(s->snippet);
    free(s);
}

static enum trawl_status show(struct trawl_searcher *s, size_t i)
{
    const struct index_hit *hit = &s->found[i];
    struct stored_document doc;
    buf_reset(&s->stored[i]);
    buf_reset(&s->snippet[i]);
    TRY(index_document(s->ix, &s->stored[i], &doc, hit->segment, hit->row));
    TRY(buf_reserve(&s->snippet[i], 0));
    s->snippet[i].data[0] = '\0';
    size_t end = doc.passage_end < doc.text_bytes ? doc.passage_end : doc.text_bytes;
    size_t begin = doc.passage_begin < end ? doc.passage_begin : end;
    TRY(snippet_append(&s->snippet[i], s->snippets, doc.text + begin, end - begin, &s->style));
    s->hits[i] = (struct trawl_hit){.id = doc.id,
                                    .title = doc.title,
                                    .text = doc.text,
                                    .passage_begin = begin,
                                    .passage_end = end,
                                    .snippet = s->snippet[i].data,
                                    .score = hit->score};
    return TRAWL_OK;
}

static enum trawl_status search(struct trawl_searcher *s, const struct trawl_hit **hits, size_t *n_hits,
                                const struct search_query *query)
{
    *hits = s->hits;
    *n_hits = 0;
    size_t n;
    TRY(searcher_batch(s->searcher, s->found, &n, query, 1));
    TRY(snippets_query(s->snippets, query->text, query->n));
    for (size_t i = 0; i < n; i++)
        TRY(show(s, i));
    *n_hits = n;
    return TRAWL_OK;
}

enum trawl_status trawl_search_text(struct trawl_searcher *s, const struct trawl_hit **hits, size_t *n_hits,
                                    const char *query)
{
    if (s->given_vectors)
        return fail(TRAWL_USAGE, "this searcher was made for query vectors: call trawl_search_vector");
    return search(s, hits, n_hits, &(struct search_query){.text = query, .n = strlen(query)});
}

enum trawl_status trawl_search_vector(struct trawl_searcher *s, const struct trawl_hit **hits, size_t *n_hits,
                                      const float *vector, size_t dims, const char *query)
{
    if (!s->given_vectors || !s->D)
        return fail(TRAWL_USAGE, "this searcher was not made for query vectors: set given_vectors");
    if (dims != s->D)
        return fail(TRAWL_MISMATCH, "the field has %zu dimensions, the query vector %zu", s->D, dims);
    const char *text = query ? query : "";
    return search(s, hits, n_hits, &(struct search_query){.text = text, .n = strlen(text), .vector = vector});
}
