#include "batch.h"
#include "base/mem.h"
#include "base/rng.h"
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { DRAW_PURPOSE = 0x62617463, DRAWS_MAX = 4096 }; /* random numbers kept apart for an example */

enum trawl_status batch_init(struct batch *b, const struct batch_options *options)
{
    size_t B = options->B, N = B * options->H;
    *b = (struct batch){.o = *options};
    b->absent = mem_array(N, 1);
    b->positive_text = mem_array(B, sizeof(uint64_t));
    b->negative_text = mem_array(N, sizeof(uint64_t));
    b->positive_id = mem_array(B, sizeof(uint64_t));
    b->negative_id = mem_array(N, sizeof(uint64_t));
    b->scores = mem_array(B + N, sizeof(float));
    b->labels = mem_array(B, sizeof(float));
    b->views = mem_array(2 * B + N, sizeof *b->views);
    b->negative_end = mem_array(N, sizeof(size_t));
    b->positive_end = mem_array(B, sizeof(size_t));
    bool whole = b->absent && b->positive_text && b->negative_text && b->positive_id && b->negative_id && b->scores &&
                 b->labels && b->views && b->negative_end && b->positive_end;
    return whole ? TRAWL_OK : mem_status();
}

void batch_release(struct batch *b)
{
    text_rows_release(&b->rows);
    free(b->absent);
    free(b->positive_text);
    free(b->negative_text);
    free(b->positive_id);
    free(b->negative_id);
    free(b->scores);
    free(b->labels);
    free(b->views);
    free(b->negative_end);
    free(b->positive_end);
    free(b->picks);
    buf_release(&b->texts);
    buf_release(&b->negatives);
    buf_release(&b->positives);
    buf_release(&b->joined);
    *b = (struct batch){0};
}

/* ---- one example ---- */

/* The passage as one text behind *out, and its hashes: of the text, and of the document's id (none: of the text). */
static enum trawl_status take_passage(struct batch *b, struct buf *out, uint64_t *text_hash, uint64_t *id_hash,
                                      const struct training_passage *p)
{
    struct document doc = {.id = p->docid,
                           .title = p->title,
                           .text = p->text,
                           .id_bytes = p->docid_bytes,
                           .title_bytes = p->title_bytes,
                           .text_bytes = p->text_bytes};
    buf_reset(&b->joined);
    TRY(document_join(&b->joined, &doc, b->o.join));
    *text_hash = XXH3_64bits(b->joined.n ? b->joined.data : "", b->joined.n);
    *id_hash = p->docid_bytes ? XXH3_64bits(p->docid, p->docid_bytes) : *text_hash;
    return buf_append(out, b->joined.n ? b->joined.data : "", b->joined.n);
}

/* `n` of the list's numbers in b->picks: all in their order, or as many drawn without repetition. */
static enum trawl_status draw(struct batch *b, size_t n, size_t of, struct rng *rng)
{
    TRY(mem_grow((void **)&b->picks, &b->cap_picks, of + 1, sizeof *b->picks));
    for (size_t i = 0; i < of; i++)
        b->picks[i] = i;
    for (size_t i = 0; of > n && i < n; i++) {
        size_t j = i + (size_t)rng_below(rng, of - i), swap = b->picks[i];
        b->picks[i] = b->picks[j];
        b->picks[j] = swap;
    }
    return TRAWL_OK;
}

static enum trawl_status missing(const struct training_example *ex, const char *what)
{
    return fail(TRAWL_FORMAT, "the example of query '%.*s' has no %s, which the objective needs",
                ex->query_id_bytes ? (int)ex->query_id_bytes : (int)(ex->query_bytes < 60 ? ex->query_bytes : 60),
                ex->query_id_bytes ? ex->query_id : ex->query, what);
}

static enum trawl_status take_scores(struct batch *b, size_t i, const struct training_example *ex,
                                     const struct training_passage *positive)
{
    size_t H = b->o.H;
    float *scores = b->scores + i * (1 + H);
    b->labels[i] = (float)positive->score;
    if ((b->o.needs & OBJECTIVE_LABELS) && !positive->has_score)
        return missing(ex, "score of its positive");
    if ((b->o.needs & OBJECTIVE_NEGATIVES) && ex->negatives.n < H)
        return missing(ex, "negatives enough (see '--negatives')");
    if (!(b->o.needs & OBJECTIVE_SCORES))
        return TRAWL_OK;
    if (!positive->has_score)
        return missing(ex, "score of its positive");
    scores[0] = (float)positive->score;
    for (size_t h = 0; h < H; h++) {
        const struct training_passage *n = &ex->negatives.items[b->picks[h]];
        if (!n->has_score)
            return missing(ex, "scores of its negatives");
        scores[1 + h] = (float)n->score;
    }
    return TRAWL_OK;
}

static enum trawl_status take_example(struct batch *b, size_t i, struct encoder *e, const struct training_example *ex,
                                      struct rng *rng)
{
    size_t H = b->o.H;
    struct text_view query = {ex->query, ex->query_bytes};
    if (!ex->positives.n)
        return missing(ex, "positive");
    const struct training_passage *positive = &ex->positives.items[rng_below(rng, ex->positives.n)];
    TRY(text_rows_add(&b->rows, e, &query, ENCODER_QUERY));
    if (b->o.keep_texts)
        TRY(buf_append(&b->texts, query.text, query.n));
    b->views[i].n = query.n;
    TRY(take_passage(b, &b->positives, &b->positive_text[i], &b->positive_id[i], positive));
    b->positive_end[i] = b->positives.n;
    TRY(draw(b, H, ex->negatives.n, rng));
    TRY(take_scores(b, i, ex, positive));
    for (size_t h = 0; h < H; h++) {
        size_t at = i * H + h;
        b->absent[at] = h >= ex->negatives.n;
        b->n_negatives += !b->absent[at];
        if (!b->absent[at])
            TRY(take_passage(b, &b->negatives, &b->negative_text[at], &b->negative_id[at],
                             &ex->negatives.items[b->picks[h]]));
        b->negative_end[at] = b->negatives.n;
    }
    return TRAWL_OK;
}

/* ---- a batch ---- */

static enum trawl_status add_documents(struct batch *b, struct encoder *e, const struct buf *texts, const size_t *ends,
                                       const uint8_t *absent, size_t n)
{
    size_t begin = 0;
    for (size_t i = 0; i < n; begin = ends[i++]) {
        struct text_view text = {texts->data + begin, ends[i] - begin};
        b->views[b->rows.n].n = text.n;
        TRY(text_rows_add(&b->rows, e, absent && absent[i] ? NULL : &text, ENCODER_DOCUMENT));
    }
    return b->o.keep_texts && texts->n ? buf_append(&b->texts, texts->data, texts->n) : TRAWL_OK;
}

static enum trawl_status begin_epoch(struct batch *b, struct training *t, struct batch_place *place)
{
    if (training_n(t) < b->o.B)
        return fail(TRAWL_FORMAT, "%zu examples are fewer than a batch of %zu (make '--batch' smaller)", training_n(t),
                    b->o.B);
    if (place->position + b->o.B > training_n(t)) {
        place->epoch++;
        place->position = 0;
    }
    return TRAWL_OK;
}

enum trawl_status batch_read(struct batch *b, struct training *t, struct encoder *e, struct batch_place *place)
{
    size_t B = b->o.B;
    TRY(begin_epoch(b, t, place));
    if (place->position == 0)
        TRY(training_shuffle(t, b->o.seed, place->epoch));
    training_seek(t, place->position);
    text_rows_reset(&b->rows);
    buf_reset(&b->texts);
    buf_reset(&b->positives);
    buf_reset(&b->negatives);
    b->n_negatives = 0;
    for (size_t i = 0; i < B; i++) {
        const struct training_example *ex;
        struct rng rng = rng_stream(b->o.seed, place->epoch, DRAW_PURPOSE);
        rng.counter = (uint64_t)(place->position + i) * DRAWS_MAX;
        TRY(training_next(t, &ex));
        if (!ex)
            return fail(TRAWL_CORRUPT, "the training data ended early: they changed while they were read");
        TRY(take_example(b, i, e, ex, &rng));
    }
    place->position += B;
    TRY(add_documents(b, e, &b->positives, b->positive_end, NULL, B));
    TRY(add_documents(b, e, &b->negatives, b->negative_end, b->absent, B * b->o.H));
    const char *at = b->texts.data;
    for (size_t i = 0; b->o.keep_texts && i < b->rows.n; at += b->views[i++].n)
        b->views[i].text = at;
    return TRAWL_OK;
}

void batch_fill(const struct batch *b, struct objective_batch *out)
{
    out->B = b->o.B;
    out->H = b->o.H;
    out->absent = b->absent;
    out->positive_text = b->positive_text;
    out->negative_text = b->negative_text;
    out->positive_id = b->positive_id;
    out->negative_id = b->negative_id;
    out->scores = b->scores;
    out->labels = b->labels;
}
