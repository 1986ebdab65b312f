/* bench/tokenizers: reads {"text"} lines, then prints MB/s of one pass over them for every line that comes in. */
#include "base/file.h"
#include "base/json.h"
#include "model/model.h"
#include "text/tokenizer.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct texts {
    json_t *rows;
    size_t bytes;
};

static enum trawl_status read_texts(struct texts *texts, const char *path)
{
    struct line_reader *r;
    const char *line;
    size_t n;
    TRY(line_reader_open(&r, path));
    texts->rows = json_array();
    for (;;) {
        json_t *row;
        TRY(line_next(r, &line, &n));
        if (!line)
            break;
        TRY(json_parse(&row, line, n, path));
        texts->bytes += json_string_length(json_object_get(row, "text"));
        json_array_append_new(texts->rows, row);
    }
    line_reader_close(r);
    return TRAWL_OK;
}

static enum trawl_status pass(const struct tokenizer *t, struct tokenizer_scratch *s, const struct texts *texts)
{
    struct ids ids = {0};
    struct timespec begin, end;
    size_t n_ids = 0;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (size_t i = 0; i < json_array_size(texts->rows); i++) {
        const json_t *text = json_object_get(json_array_get(texts->rows, i), "text");
        ids.n = 0;
        TRY(tokenizer_encode(t, s, &ids, json_string_value(text), json_string_length(text), 0));
        n_ids += ids.n;
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    double seconds = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) * 1e-9;
    printf("%.2f %zu\n", (double)texts->bytes / seconds / 1e6, n_ids);
    fflush(stdout);
    ids_release(&ids);
    return TRAWL_OK;
}

int main(int argc, char **argv)
{
    struct texts texts = {0};
    struct tokenizer *t = NULL;
    struct tokenizer_scratch *s = NULL;
    char line[16];
    enum trawl_status status = argc == 3 ? read_texts(&texts, argv[2]) : fail(TRAWL_USAGE, "MODEL TEXTS.jsonl");
    if (!status)
        status = model_open_tokenizer(&t, NULL, argv[1]);
    if (!status)
        status = tokenizer_scratch_new(&s);
    while (!status && fgets(line, sizeof line, stdin))
        status = pass(t, s, &texts);
    if (status)
        fprintf(stderr, "%s\n", trawl_message());
    tokenizer_scratch_free(s);
    tokenizer_free(t);
    json_decref(texts.rows);
    return status != TRAWL_OK;
}
