/* Handles of models and tokenizers. */
#include "base/mem.h"
#include "model/model.h"
#include <stdlib.h>
#include <string.h>

struct trawl_model {
    struct model_files *files;
};

enum trawl_status trawl_model_open(struct trawl_model **out, const char *path_or_name)
{
    *out = NULL;
    struct trawl_model *m = mem_array(1, sizeof *m);
    if (!m)
        return mem_status();
    enum trawl_status status = model_files_open(&m->files, path_or_name);
    if (status != TRAWL_OK) {
        free(m);
        return status;
    }
    *out = m;
    return TRAWL_OK;
}

void trawl_model_close(struct trawl_model *m)
{
    if (!m)
        return;
    model_files_close(m->files);
    free(m);
}

const char *trawl_model_family(const struct trawl_model *m)
{
    return model_files_family(m->files);
}

size_t trawl_model_width(const struct trawl_model *m)
{
    return model_files_source(m->files)->config->C;
}

size_t trawl_model_vocabulary(const struct trawl_model *m)
{
    return model_files_source(m->files)->config->V;
}

enum trawl_status trawl_model_fingerprint(struct trawl_model *m, char out[17])
{
    return model_files_fingerprint(m->files, out);
}

struct trawl_tokenizer {
    struct tokenizer *t;
};

enum trawl_status trawl_tokenizer_open(struct trawl_tokenizer **out, const char *path_or_name)
{
    char *chat_template = NULL;
    *out = NULL;
    struct trawl_tokenizer *h = mem_array(1, sizeof *h);
    if (!h)
        return mem_status();
    enum trawl_status status = model_open_tokenizer(&h->t, &chat_template, path_or_name);
    free(chat_template);
    if (status != TRAWL_OK) {
        free(h);
        return status;
    }
    *out = h;
    return TRAWL_OK;
}

void trawl_tokenizer_close(struct trawl_tokenizer *h)
{
    if (!h)
        return;
    tokenizer_free(h->t);
    free(h);
}

size_t trawl_tokenizer_vocabulary(const struct trawl_tokenizer *h)
{
    return tokenizer_vocab(h->t);
}

enum trawl_status trawl_tokenizer_encode(const struct trawl_tokenizer *h, uint32_t *out, size_t *n, size_t room,
                                         const char *text, size_t text_bytes, bool parse_special, bool add_special)
{
    struct ids ids = {0};
    unsigned flags = (parse_special ? TOKENIZER_PARSE_SPECIAL : 0u) | (add_special ? TOKENIZER_ADD_SPECIAL : 0u);
    enum trawl_status status = tokenizer_encode(h->t, NULL, &ids, text, text_bytes, flags);
    *n = ids.n;
    if (status == TRAWL_OK && room && ids.n)
        memcpy(out, ids.ids, (ids.n < room ? ids.n : room) * sizeof *out);
    ids_release(&ids);
    return status;
}

enum trawl_status trawl_tokenizer_decode(const struct trawl_tokenizer *h, char *out, size_t *text_bytes, size_t room,
                                         const uint32_t *ids, size_t n, bool skip_special)
{
    struct buf text = {0};
    enum trawl_status status = tokenizer_decode(h->t, &text, ids, n, skip_special);
    *text_bytes = text.n;
    if (status == TRAWL_OK && room) {
        size_t copied = text.n < room ? text.n : room;
        if (copied)
            memcpy(out, text.data, copied);
        if (copied < room)
            out[copied] = '\0';
    }
    buf_release(&text);
    return status;
}
