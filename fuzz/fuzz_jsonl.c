/* A line of JSON members, and the whole as a corpus, queries and vectors. */
#include "fuzz.h"
#include "data/data.h"
#include "data/jsonl.h"
#include "data/vectors.h"

static void scan(const uint8_t *data, size_t n)
{
    struct jsonl_member m[3] = {{.name = "_id"}, {.name = "text"}, {.name = "vector"}};
    struct buf text = {0};
    if (jsonl_scan(m, 3, (const char *)data, n, "input", 1))
        return;
    for (int i = 0; i < 3; i++)
        if (m[i].kind == JSONL_STRING && (jsonl_text(&text, &m[i]) || text.n > n))
            abort(); /* what the scanner took can be decoded, and is no longer than it was */
    buf_release(&text);
}

static void read_corpus(const char *path)
{
    struct corpus *c;
    struct document doc;
    if (corpus_open(&c, path, NULL))
        return;
    while (!corpus_next(c, &doc) && doc.id)
        if (!doc.id_bytes || doc.title[doc.title_bytes] || doc.text[doc.text_bytes])
            abort();
    corpus_close(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct queries q;
    struct vectors v;
    const char *path = fuzz_file(data, n);
    scan(data, n);
    read_corpus(path);
    if (!queries_read(&q, path, false))
        queries_release(&q);
    if (!vectors_open(&v, path))
        vectors_close(&v);
    return 0;
}
