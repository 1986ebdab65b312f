/* bench: the table of measurements, and what they share. */
#include "bench_int.h"
#include "base/mem.h"
#include "base/opt.h"
#include "math/matmul.h"
#include "stages.h"
#include "texts.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct bench *const benches[] = {&bench_encode, &bench_precision};

#define OPTIONS struct trawl_bench_options
static const struct trawl_option options_table[] = {
    OPT_ROW(OPTIONS, name, TRAWL_OPTION_CHOICE, NULL, "NAME", NULL, "encode|precision", "what to measure", 1, 0),
    OPT_NEED(OPTIONS, model, "model", "M", "model folder, GGUF file or name"),
    OPT_STRING(OPTIONS, corpus, "corpus", "F", NULL, "texts to encode"),
    OPT_STRING(OPTIONS, dataset, "dataset", "FOLDER", NULL,
               "corpus, queries and qrels/test.tsv: effectiveness is measured too"),
    OPT_CHOICE(OPTIONS, precision, "precision", NULL, "f32|bf16|int8", "only this one"),
    OPT_COUNT(OPTIONS, texts, "texts", "N", "512", "the first N texts (with --dataset: judged ones first); 0: all"),
    OPT_COUNT(OPTIONS, max_length, "max-length", "N", NULL, "tokens of a text"),
    OPT_COUNT(OPTIONS, batch_tokens, "batch-tokens", "N", NULL, "tokens of one packed batch"),
    OPT_COUNT(OPTIONS, repeat, "repeat", "N", "3", "rounds; the median is shown"),
    OPT_STRING(OPTIONS, output, "output", "F", "-", "where the table goes"),
};
const struct trawl_stage stage_bench = {
    .name = "bench",
    .summary = "measure speed and precision",
    .details = "encode: texts a second in each precision, and the share of the roof: the time that the matrix products "
               "alone take at the model's shapes, against that of encoding.\n"
               "\n"
               "precision: how far vectors of each precision are from f32 (cosine: mean and least), and with --dataset "
               "what that does to nDCG@10.",
    .examples = "trawl bench encode --model minilm --corpus scifact --max-length 256\n"
                "trawl bench precision --model minilm --dataset scifact --texts 0",
    .options_bytes = sizeof(OPTIONS),
    .options = options_table,
    .n_options = sizeof options_table / sizeof *options_table,
};
#undef OPTIONS

double bench_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- texts ---- */

static enum trawl_status add_text(struct bench_texts *t, const struct text_item *item)
{
    TRY(mem_grow((void **)&t->views, &t->cap, t->n + 1, sizeof *t->views));
    t->views[t->n++] = (struct text_view){.n = item->text_bytes};
    TRY(buf_append(&t->ids, item->id, strlen(item->id) + 1));
    return buf_append(&t->text, item->text, item->text_bytes);
}

enum trawl_status bench_texts_read(struct bench_texts *t, const char *path, size_t limit)
{
    struct texts_options options = {.join = "space"};
    struct texts *texts;
    struct text_item item;
    enum trawl_status status = TRAWL_OK;
    *t = (struct bench_texts){0};
    TRY(texts_open(&texts, path, &options));
    while (!limit || t->n < limit) {
        TRY_OUT(texts_next(texts, &item));
        if (!item.id)
            break;
        TRY_OUT(add_text(t, &item));
    }
    if (!t->n)
        status = fail(TRAWL_FORMAT, "'%s' holds no texts", path);
    for (size_t i = 0, at = 0; i < t->n; at += t->views[i++].n)
        t->views[i].text = t->text.data + at;
out:
    texts_close(texts);
    return status;
}

void bench_texts_release(struct bench_texts *t)
{
    buf_release(&t->ids);
    buf_release(&t->text);
    free(t->views);
}

/* ---- precisions ---- */

enum trawl_status bench_precisions(const char *names[3], size_t *n, const struct trawl_bench_options *options)
{
    *n = 0;
    if (options->precision) {
        names[(*n)++] = options->precision;
        return TRAWL_OK;
    }
    names[(*n)++] = "f32";
    if (matmul_supports(MATMUL_BF16))
        names[(*n)++] = "bf16";
    if (matmul_supports(MATMUL_INT8))
        names[(*n)++] = "int8";
    return TRAWL_OK;
}

/* ---- the stage ---- */

static const struct bench *find(const char *name)
{
    for (size_t i = 0; i < sizeof benches / sizeof *benches; i++)
        if (!strcmp(benches[i]->name, name))
            return benches[i];
    return NULL;
}

enum trawl_status trawl_bench(const struct trawl_bench_options *options, struct trawl_bench_report *report)
{
    struct trawl_bench_options own;
    struct file_writer out;
    TRY(opt_adopt(&own, &stage_bench, options));
    *report = (struct trawl_bench_report){0};
    const struct bench *bench = own.name ? find(own.name) : NULL;
    if (!bench)
        return fail(TRAWL_USAGE, "name what to measure: encode or precision");
    double begun = bench_now();
    TRY(file_writer_open(&out, own.output));
    enum trawl_status status = bench->run(&own, &out);
    report->seconds = bench_now() - begun;
    if (status == TRAWL_OK)
        return file_writer_commit(&out);
    file_writer_abort(&out);
    return status;
}
