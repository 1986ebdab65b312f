#include "json.h"
#include "file.h"
#include "utf8.h"
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Digits of an integer that certainly fits 64 bits. */
enum { SAFE_DIGITS = 18 };
static const size_t json_flags = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL;

static enum trawl_status malformed(const json_error_t *error, const char *where)
{
    if (json_error_code(error) == json_error_out_of_memory)
        return fail(TRAWL_NOMEM, "%s: no memory for its JSON", where);
    return fail(TRAWL_FORMAT, "%s: malformed JSON at byte %d: %s", where, error->position, error->text);
}

/* Copies JSON text with ".0" after integers too long for 64 bits, so that they are read as real numbers. */
static enum trawl_status make_long_integers_real(struct buf *out, const char *text, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t begin = i;
        if (text[i] == '"') {
            for (i++; i < n && text[i] != '"'; i++)
                i += text[i] == '\\';
            i = i < n ? i + 1 : n;
            TRY(buf_append(out, text + begin, i - begin));
            continue;
        }
        while (i < n && isdigit((unsigned char)text[i]))
            i++;
        bool fraction = i < n && (text[i] == '.' || text[i] == 'e' || text[i] == 'E');
        bool in_fraction = begin > 0 && strchr(".eE+", text[begin - 1]);
        if (i - begin > SAFE_DIGITS && !fraction && !in_fraction) {
            TRY(buf_append(out, text + begin, i - begin));
            TRY(buf_text(out, ".0"));
            continue;
        }
        i = i > begin ? i : i + 1;
        TRY(buf_append(out, text + begin, i - begin));
    }
    return TRAWL_OK;
}

enum trawl_status json_parse(json_t **out, const char *text, size_t n, const char *where)
{
    json_error_t error;
    *out = json_loadb(text, n, json_flags, &error);
    if (*out)
        return TRAWL_OK;
    if (json_error_code(&error) != json_error_numeric_overflow)
        return malformed(&error, where);
    struct buf rewritten = {0};
    enum trawl_status status = make_long_integers_real(&rewritten, text, n);
    if (!status) {
        *out = json_loadb(rewritten.data ? rewritten.data : "", rewritten.n, json_flags, &error);
        status = *out ? TRAWL_OK : malformed(&error, where);
    }
    buf_release(&rewritten);
    return status;
}

enum trawl_status json_read(json_t **out, const char *path, size_t max_bytes)
{
    enum trawl_status status = TRAWL_OK;
    struct buf text = {0}, where = {0};
    *out = NULL;
    TRY_OUT(buf_printf(&where, strcmp(path, "-") ? "'%s'" : "standard input", path));
    TRY_OUT(file_read(&text, path, max_bytes));
    size_t bom = text.n >= 3 && !memcmp(text.data, "\xEF\xBB\xBF", 3) ? 3 : 0;
    TRY_OUT(json_parse(out, text.data + bom, text.n - bom, where.data));
out:
    buf_release(&text);
    buf_release(&where);
    return status;
}

static const char *type_name(const json_t *value)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "an object",   [JSON_ARRAY] = "an array", [JSON_STRING] = "a string",
        [JSON_INTEGER] = "an integer", [JSON_REAL] = "a number",  [JSON_TRUE] = "true",
        [JSON_FALSE] = "false",        [JSON_NULL] = "null",
    };
    return names[json_typeof(value)];
}

static enum trawl_status wrong_type(const json_t *value, const char *key, const char *wanted, const char *where)
{
    return fail(TRAWL_FORMAT, "%s: '%s' is %s, expected %s", where, key, type_name(value), wanted);
}

/* The member, or NULL where it is absent or null. */
static const json_t *member(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

enum trawl_status json_get_text(const char **out, size_t *n, const json_t *object, const char *key, const char *where)
{
    const json_t *value = member(object, key);
    *out = NULL;
    if (n)
        *n = 0;
    if (!value)
        return TRAWL_OK;
    if (!json_is_string(value))
        return wrong_type(value, key, "a string", where);
    *out = json_string_value(value);
    if (n)
        *n = json_string_length(value);
    return TRAWL_OK;
}

enum trawl_status json_get_number(double *out, const json_t *object, const char *key, double preset, const char *where)
{
    const json_t *value = member(object, key);
    *out = preset;
    if (value && !json_is_number(value))
        return wrong_type(value, key, "a number", where);
    if (value)
        *out = json_number_value(value);
    return TRAWL_OK;
}

enum trawl_status json_get_count(size_t *out, const json_t *object, const char *key, size_t preset, const char *where)
{
    const json_t *value = member(object, key);
    *out = preset;
    if (!value)
        return TRAWL_OK;
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return wrong_type(value, key, "an integer of at least 0", where);
    *out = (size_t)json_integer_value(value);
    return TRAWL_OK;
}

enum trawl_status json_get_bool(bool *out, const json_t *object, const char *key, bool preset, const char *where)
{
    const json_t *value = member(object, key);
    *out = preset;
    if (value && !json_is_boolean(value))
        return wrong_type(value, key, "true or false", where);
    if (value)
        *out = json_is_true(value);
    return TRAWL_OK;
}

/* First byte from begin on that must be written in another way, or n. */
static size_t plain_run(const char *text, size_t n, size_t begin)
{
    size_t i = begin;
    while (i < n && (unsigned char)text[i] >= 0x20 && text[i] != '"' && text[i] != '\\')
        i++;
    return i;
}

static enum trawl_status quote_valid(struct buf *out, const char *text, size_t n)
{
    static const char escapes[] = "\bb\ff\nn\rr\tt\"\"\\\\";
    for (size_t i = 0; i < n; i++) {
        size_t stop = plain_run(text, n, i);
        TRY(buf_append(out, text + i, stop - i));
        if ((i = stop) == n)
            break;
        const char *escape = NULL;
        for (const char *pair = escapes; *pair && !escape; pair += 2)
            escape = *pair == text[i] ? pair : NULL;
        if (escape)
            TRY(buf_printf(out, "\\%c", escape[1]));
        else
            TRY(buf_printf(out, "\\u%04x", (unsigned char)text[i]));
    }
    return TRAWL_OK;
}

enum trawl_status json_quote(struct buf *out, const char *text, size_t n)
{
    TRY(buf_append(out, "\"", 1));
    if (utf8_invalid(text, n) == n)
        TRY(quote_valid(out, text, n));
    else {
        struct buf repaired = {0};
        enum trawl_status status = utf8_repair(&repaired, text, n);
        if (!status)
            status = quote_valid(out, repaired.data, repaired.n);
        buf_release(&repaired);
        TRY(status);
    }
    return buf_append(out, "\"", 1);
}
