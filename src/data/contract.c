/* The encoding contract as JSON, and the comparison that guards every search. One row per field does all three. */
#include "contract.h"
#include <stdlib.h>
#include <string.h>

enum field_kind { FIELD_TEXT, FIELD_BOOL, FIELD_COUNT };

static const struct field {
    const char *name;
    enum field_kind kind;
    size_t offset, bytes;
    bool decides; /* a difference is a reason to refuse */
} fields[] = {
#define TEXT(name, decides)                                                                                            \
    {                                                                                                                  \
#name, FIELD_TEXT, offsetof(struct contract, name), sizeof((struct contract *)0)->name, decides                \
    }
#define BOOL(name)                                                                                                     \
    {                                                                                                                  \
#name, FIELD_BOOL, offsetof(struct contract, name), sizeof(bool), true                                         \
    }
#define COUNT(name)                                                                                                    \
    {                                                                                                                  \
#name, FIELD_COUNT, offsetof(struct contract, name), sizeof(size_t), true                                      \
    }
    TEXT(model, true),     TEXT(tokenizer, true),   TEXT(pooling, true),    TEXT(attention, true),
    TEXT(normalize, true), TEXT(join, true),        TEXT(prompt, true),     BOOL(prompt_pooled),
    BOOL(special_pooled),  BOOL(add_special),       BOOL(append_eos),       COUNT(max_length),
    COUNT(dims),           TEXT(model_name, false), TEXT(precision, false), TEXT(isa, false),
#undef TEXT
#undef BOOL
#undef COUNT
};
#define N_FIELDS (sizeof fields / sizeof *fields)

static const char *text_of(const struct contract *c, const struct field *f)
{
    return (const char *)c + f->offset;
}

static bool bool_of(const struct contract *c, const struct field *f)
{
    bool value;
    memcpy(&value, (const char *)c + f->offset, sizeof value);
    return value;
}

static size_t count_of(const struct contract *c, const struct field *f)
{
    size_t value;
    memcpy(&value, (const char *)c + f->offset, sizeof value);
    return value;
}

static json_t *field_to_json(const struct contract *c, const struct field *f)
{
    switch (f->kind) {
    case FIELD_TEXT:
        return json_string(text_of(c, f));
    case FIELD_BOOL:
        return json_boolean(bool_of(c, f));
    default:
        return json_integer((json_int_t)count_of(c, f));
    }
}

enum trawl_status contract_to_json(json_t **out, const struct contract *c)
{
    json_t *object = json_object();
    for (size_t i = 0; object && i < N_FIELDS; i++) {
        json_t *value = field_to_json(c, &fields[i]);
        if (!value && fields[i].kind == FIELD_TEXT) {
            json_decref(object);
            return fail(TRAWL_FORMAT, "the contract's %s is not UTF-8", fields[i].name);
        }
        if (!value || json_object_set_new(object, fields[i].name, value)) {
            json_decref(object);
            object = NULL;
        }
    }
    *out = object;
    return object ? TRAWL_OK : fail(TRAWL_NOMEM, "no memory for a contract");
}

/* Every field must be there: a contract that leaves one open would promise nothing about it. */
static enum trawl_status field_from_json(struct contract *c, const struct field *f, const json_t *json,
                                         const char *where)
{
    void *at = (char *)c + f->offset;
    const char *text;
    size_t n;
    if (!json_object_get(json, f->name))
        return fail(TRAWL_FORMAT, "%s: the contract has no '%s'", where, f->name);
    switch (f->kind) {
    case FIELD_TEXT:
        TRY(json_get_text(&text, &n, json, f->name, where));
        if (!text || n >= f->bytes || memchr(text, '\0', n))
            return fail(TRAWL_FORMAT, "%s: the contract's '%s' must be a text of at most %zu bytes", where, f->name,
                        f->bytes - 1);
        memcpy(at, text, n);
        return TRAWL_OK;
    case FIELD_BOOL:
        return json_get_bool(at, json, f->name, false, where);
    default:
        return json_get_count(at, json, f->name, 0, where);
    }
}

enum trawl_status contract_from_json(struct contract *c, const json_t *json, const char *where)
{
    *c = (struct contract){0};
    if (!json_is_object(json))
        return fail(TRAWL_FORMAT, "%s: the contract must be an object", where);
    for (size_t i = 0; i < N_FIELDS; i++)
        TRY(field_from_json(c, &fields[i], json, where));
    return TRAWL_OK;
}

static enum trawl_status mismatch(const struct contract *wanted, const struct contract *given, const struct field *f,
                                  const char *where)
{
    bool files = f->offset == offsetof(struct contract, model) || f->offset == offsetof(struct contract, tokenizer);
    if (f->kind == FIELD_TEXT)
        return fail(TRAWL_MISMATCH, "%s: %s is '%.200s', but '%.200s' is wanted%s", where, f->name, text_of(given, f),
                    text_of(wanted, f), files ? " (another one, or its files have changed)" : "");
    if (f->kind == FIELD_BOOL)
        return fail(TRAWL_MISMATCH, "%s: %s is %s, but %s is wanted", where, f->name,
                    bool_of(given, f) ? "true" : "false", bool_of(wanted, f) ? "true" : "false");
    return fail(TRAWL_MISMATCH, "%s: %s is %zu, but %zu is wanted", where, f->name, count_of(given, f),
                count_of(wanted, f));
}

static bool same(const struct contract *a, const struct contract *b, const struct field *f)
{
    if (f->kind == FIELD_TEXT)
        return strcmp(text_of(a, f), text_of(b, f)) == 0;
    return f->kind == FIELD_BOOL ? bool_of(a, f) == bool_of(b, f) : count_of(a, f) == count_of(b, f);
}

enum trawl_status contract_check(const struct contract *wanted, const struct contract *given, const char *where)
{
    for (size_t i = 0; i < N_FIELDS; i++)
        if (fields[i].decides && !same(wanted, given, &fields[i]))
            return mismatch(wanted, given, &fields[i], where);
    return TRAWL_OK;
}
