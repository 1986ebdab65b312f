/*
 * The lexical field of a segment and its blocks of postings. The input is six sizes (u16) and the chunks of a LEXF file
 * behind one another; the file is made of them with checksums that fit, so that what is tried is the checking of places
 * and numbers.
 */
#include "fuzz.h"
#include "index/index_int.h"
#include <string.h>
#include <unistd.h>

enum { N_CHUNKS = 6 };

static bool write_file(const char *path, const uint8_t *data, size_t n)
{
    static const char *const names[N_CHUNKS] = {"meta", "lengths", "terms", "term_bytes", "blocks", "bounds"};
    struct pack_writer *w;
    if (n < 2 * N_CHUNKS || pack_create(&w, path, "LEXF", LEXF_VERSION))
        return false;
    enum trawl_status status = TRAWL_OK;
    size_t at = 2 * N_CHUNKS;
    for (size_t i = 0; !status && i < N_CHUNKS; i++) {
        size_t bytes = data[2 * i] | (size_t)data[2 * i + 1] << 8;
        bytes = bytes < n - at ? bytes : n - at;
        status = pack_add(w, names[i], data + at, bytes);
        at += bytes;
    }
    if (!status)
        status = pack_add(w, "postings", data + at, n - at);
    if (!status)
        status = pack_commit(&w);
    pack_abort(&w);
    return status == TRAWL_OK;
}

static void read_list(const struct lex_field *f, uint64_t term)
{
    struct lex_list list;
    struct postings_block block;
    struct pareto set;
    if (lex_list(&list, f, term))
        return;
    for (uint32_t i = 0; i < list.n_blocks; i++) {
        if (lex_block(&list, i, &block))
            return;
        for (uint32_t j = 0; j < block.n; j++)
            if (block.rows[j] >= f->n_rows || (j && block.rows[j] <= block.rows[j - 1]))
                __builtin_trap();
        if (list.n_blocks > 1 && (!lex_bound(&list, i, &set) || !lex_bound(&list, UINT32_MAX, &set)))
            return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char path[64];
    struct lex_field f;
    snprintf(path, sizeof path, "/tmp/trawl-fuzz-segment-%ld", (long)getpid());
    if (write_file(path, data, n) && lex_open(&f, path) == TRAWL_OK) {
        for (uint64_t t = 0; t < f.n_terms && t < 1000; t++) {
            size_t n_text;
            const char *text = lex_term_text(&f, t, &n_text);
            (void)lex_find(&f, text, n_text);
            read_list(&f, t);
        }
        lex_close(&f);
    }
    unlink(path);
    return 0;
}
