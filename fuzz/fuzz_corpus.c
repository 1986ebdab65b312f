/* TREC's markup, TSV, Markdown. */
#include "fuzz.h"
#include "data/corpus_int.h"

static void read_as(const char *path, const char *format)
{
    struct corpus *c;
    struct document doc;
    if (corpus_open(&c, path, &(struct corpus_options){.format = format}))
        return;
    while (!corpus_next(c, &doc) && doc.id)
        if (!doc.id_bytes || doc.title[doc.title_bytes] || doc.text[doc.text_bytes])
            abort();
    corpus_close(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct buf title = {0}, text = {0};
    const char *path = fuzz_file(data, n);
    read_as(path, "auto");
    read_as(path, "trec");
    read_as(path, "tsv");
    if (buf_append(&text, data, n) || markdown_title(&title, &text) || title.n + text.n > n)
        abort();
    buf_release(&title);
    buf_release(&text);
    return 0;
}
