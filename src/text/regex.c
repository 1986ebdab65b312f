/*
 * Patterns of tokenizer files, by PCRE2 with JIT. It takes Oniguruma's syntax as far as tokenizers use it; its tables
 * are Unicode 14, so code points assigned since may be classed otherwise (the patterns of well-known models do not come
 * here: they have scanners of their own).
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "base/mem.h"
#include "tokenizer_int.h"
#include <pcre2.h>
#include <pthread.h>
#include <stdlib.h>

struct regex {
    pcre2_code *code;
    pcre2_match_context *context;
    pthread_key_t key; /* match data, one per thread */
    bool has_key;
};

static void free_match_data(void *data)
{
    pcre2_match_data_free(data);
}

enum trawl_status regex_new(struct regex **out, const char *pattern, size_t n, bool literal, const char *where)
{
    int error;
    PCRE2_SIZE at;
    struct regex *re = mem_array(1, sizeof *re);
    *out = re;
    if (!re)
        return mem_status();
    uint32_t options = PCRE2_UTF | (literal ? PCRE2_LITERAL : PCRE2_UCP);
    re->code = pcre2_compile((PCRE2_SPTR)pattern, n, options, &error, &at, NULL);
    if (!re->code) {
        PCRE2_UCHAR text[128] = "";
        pcre2_get_error_message(error, text, sizeof text);
        return fail(TRAWL_UNSUPPORTED, "%s: pattern '%.*s': %s at byte %zu", where, (int)(n < 200 ? n : 200), pattern,
                    (const char *)text, (size_t)at);
    }
    pcre2_jit_compile(re->code, PCRE2_JIT_COMPLETE); /* without it matching is slower, not different */
    re->context = pcre2_match_context_create(NULL);
    if (!re->context || pthread_key_create(&re->key, free_match_data))
        return fail(TRAWL_NOMEM, "%s: no memory for a pattern", where);
    re->has_key = true;
    pcre2_set_match_limit(re->context, 100u * 1000 * 1000);
    return TRAWL_OK;
}

void regex_free(struct regex *re)
{
    if (!re)
        return;
    if (re->has_key) {
        free_match_data(pthread_getspecific(re->key));
        pthread_key_delete(re->key);
    }
    pcre2_match_context_free(re->context);
    pcre2_code_free(re->code);
    free(re);
}

static enum trawl_status match_data(const struct regex *re, pcre2_match_data **data)
{
    *data = pthread_getspecific(re->key);
    if (*data)
        return TRAWL_OK;
    *data = pcre2_match_data_create(1, NULL);
    if (!*data || pthread_setspecific(re->key, *data))
        return fail(TRAWL_NOMEM, "no memory to match a pattern");
    return TRAWL_OK;
}

enum trawl_status regex_next(const struct regex *re, const char *text, size_t n, size_t from, size_t *begin,
                             size_t *end)
{
    pcre2_match_data *data;
    TRY(match_data(re, &data));
    uint32_t options = PCRE2_NO_UTF_CHECK;
    int rc = pcre2_match(re->code, (PCRE2_SPTR)text, n, from, options, data, re->context);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(re->code, (PCRE2_SPTR)text, n, from, options | PCRE2_NO_JIT, data, re->context);
    *begin = *end = SIZE_MAX;
    if (rc == PCRE2_ERROR_NOMATCH)
        return TRAWL_OK;
    if (rc < 0) {
        PCRE2_UCHAR why[128] = "";
        pcre2_get_error_message(rc, why, sizeof why);
        return fail(TRAWL_LIMIT, "a pattern of the tokenizer cannot be matched on a text of %zu bytes: %s", n,
                    (const char *)why);
    }
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(data);
    *begin = at[0];
    *end = at[1] < at[0] ? at[0] : at[1]; /* \K can put the end first */
    return TRAWL_OK;
}
