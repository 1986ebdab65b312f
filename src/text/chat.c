/*
 * Chat templates. A row has a name, the fingerprints of the published template texts that it stands for, and a renderer
 * that writes what those templates write, to the byte. What makes a template fail (a message without content, roles out
 * of turn) is refused here, too.
 */
#include "chat.h"
#include "base/utf8.h"
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct chat {
    struct buf *out;
    const json_t *messages, *tools; /* tools NULL: none */
    size_t n;
    bool prompt;
};

struct chat_template {
    const char *name;
    enum trawl_status (*render)(struct chat *c);
    uint64_t fingerprints[4]; /* of the template's text without white space at its end; 0: unused */
};

/* ---- texts ---- */

struct text {
    const char *at;
    size_t n;
};

static struct text literal(const char *text)
{
    return (struct text){text, strlen(text)};
}

static enum trawl_status put(struct chat *c, struct text text)
{
    return buf_append(c->out, text.at, text.n);
}

static enum trawl_status puts_(struct chat *c, const char *text)
{
    return buf_text(c->out, text);
}

static bool is(struct text text, const char *other)
{
    return text.n == strlen(other) && memcmp(text.at, other, text.n) == 0;
}

static bool starts(struct text text, const char *with)
{
    return text.n >= strlen(with) && memcmp(text.at, with, strlen(with)) == 0;
}

static bool ends(struct text text, const char *with)
{
    size_t n = strlen(with);
    return text.n >= n && memcmp(text.at + text.n - n, with, n) == 0;
}

/* Without the newlines at its front, at its end. */
static struct text trim_newlines(struct text text, bool front, bool back)
{
    while (front && text.n && text.at[0] == '\n')
        text = (struct text){text.at + 1, text.n - 1};
    while (back && text.n && text.at[text.n - 1] == '\n')
        text.n--;
    return text;
}

/* White space as Python's str.strip() has it. */
static bool is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

static struct text trim(struct text text)
{
    size_t begin = 0, i = 0, end;
    while (begin < text.n && is_space(utf8_next(text.at, text.n, &i)))
        begin = i;
    end = begin;
    for (i = begin; i < text.n;)
        if (!is_space(utf8_next(text.at, text.n, &i)))
            end = i;
    return (struct text){text.at + begin, end - begin};
}

/* First place of `what` in the text, or its last one; SIZE_MAX: none. */
static size_t find(struct text text, const char *what, bool last)
{
    size_t n = strlen(what), found = SIZE_MAX;
    for (size_t i = 0; i + n <= text.n; i++)
        if (memcmp(text.at + i, what, n) == 0) {
            found = i;
            if (!last)
                break;
        }
    return found;
}

/* ---- messages ---- */

static const json_t *message(const struct chat *c, size_t i)
{
    return json_array_get(c->messages, i);
}

static struct text member(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_string(value) ? (struct text){json_string_value(value), json_string_length(value)}
                                 : (struct text){NULL, 0};
}

static struct text role(const struct chat *c, size_t i)
{
    return member(message(c, i), "role");
}

static bool role_is(const struct chat *c, size_t i, const char *name)
{
    return i < c->n && is(role(c, i), name);
}

static enum trawl_status content(const struct chat *c, size_t i, struct text *text)
{
    *text = member(message(c, i), "content");
    return text->at ? TRAWL_OK : fail(TRAWL_FORMAT, "message %zu: 'content' is missing or no string", i);
}

/* <|im_start|>role\ntext<|im_end|>\n */
static enum trawl_status put_im(struct chat *c, struct text who, struct text text)
{
    TRY(puts_(c, "<|im_start|>"));
    TRY(put(c, who));
    TRY(puts_(c, "\n"));
    TRY(put(c, text));
    return puts_(c, "<|im_end|>\n");
}

/* ---- values as JSON, as Python's json.dumps(value, ensure_ascii=False) ---- */

static enum trawl_status put_json_text(struct chat *c, const char *text, size_t n)
{
    static const char escaped[] = "\"\\\n\r\t\b\f", letters[] = "\"\\nrtbf";
    TRY(puts_(c, "\""));
    for (size_t i = 0; i < n; i++) {
        const char *found = text[i] ? strchr(escaped, text[i]) : NULL;
        if (found)
            TRY(buf_printf(c->out, "\\%c", letters[found - escaped]));
        else if ((unsigned char)text[i] < 32)
            TRY(buf_printf(c->out, "\\u%04x", (unsigned)text[i]));
        else
            TRY(buf_append(c->out, text + i, 1));
    }
    return puts_(c, "\"");
}

/* Shortest digits that read back as the same number; scientific from 1e16 and below 1e-4. */
static enum trawl_status put_real(struct chat *c, double value)
{
    char text[40], digits[40];
    int precision = 1;
    do
        snprintf(text, sizeof text, "%.*e", precision - 1, value);
    while (strtod(text, NULL) != value && ++precision <= 17);
    const char *e = strchr(text, 'e');
    int exponent = atoi(e + 1);
    if (exponent < -4 || exponent >= 16)
        return buf_printf(c->out, "%.*se%c%02d", (int)(e - text), text, exponent < 0 ? '-' : '+', abs(exponent));
    int decimals = precision - 1 - exponent;
    snprintf(digits, sizeof digits, "%.*f", decimals > 0 ? decimals : 1, value);
    return puts_(c, digits);
}

enum { MAX_DEPTH = 200 };

static enum trawl_status put_json(struct chat *c, const json_t *value, int depth);

static enum trawl_status put_json_object(struct chat *c, const json_t *value, int depth)
{
    const char *separator = "{";
    json_t *object = (json_t *)value; /* jansson's iterators are not const */
    for (void *it = json_object_iter(object); it; it = json_object_iter_next(object, it)) {
        TRY(puts_(c, separator));
        TRY(put_json_text(c, json_object_iter_key(it), strlen(json_object_iter_key(it))));
        TRY(puts_(c, ": "));
        TRY(put_json(c, json_object_iter_value(it), depth));
        separator = ", ";
    }
    return puts_(c, *separator == '{' ? "{}" : "}");
}

static enum trawl_status put_json(struct chat *c, const json_t *value, int depth)
{
    if (depth > MAX_DEPTH)
        return fail(TRAWL_LIMIT, "a tool or its arguments are nested more than %d deep", MAX_DEPTH);
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return put_json_object(c, value, depth + 1);
    case JSON_ARRAY:
        TRY(puts_(c, "["));
        for (size_t i = 0; i < json_array_size(value); i++) {
            TRY(puts_(c, i ? ", " : ""));
            TRY(put_json(c, json_array_get(value, i), depth + 1));
        }
        return puts_(c, "]");
    case JSON_STRING:
        return put_json_text(c, json_string_value(value), json_string_length(value));
    case JSON_INTEGER:
        return buf_printf(c->out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    case JSON_REAL:
        return put_real(c, json_real_value(value));
    case JSON_TRUE:
        return puts_(c, "true");
    case JSON_FALSE:
        return puts_(c, "false");
    case JSON_NULL:
        break;
    }
    return puts_(c, "null");
}

/* ---- SmolLM2 ---- */

static enum trawl_status render_smollm2(struct chat *c)
{
    struct text text;
    for (size_t i = 0; i < c->n; i++) {
        if (i == 0 && !role_is(c, 0, "system"))
            TRY(puts_(c, "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
                         "Face<|im_end|>\n"));
        TRY(content(c, i, &text));
        TRY(put_im(c, role(c, i), text));
    }
    return c->prompt ? puts_(c, "<|im_start|>assistant\n") : TRAWL_OK;
}

/* ---- Qwen 2.5 and 3 ---- */

static enum trawl_status not_empty(const struct chat *c)
{
    return c->n ? TRAWL_OK : fail(TRAWL_FORMAT, "a chat with this template needs at least one message");
}

/* The list of tools, which ends the system message. */
static enum trawl_status put_tools(struct chat *c)
{
    TRY(puts_(c,
              "# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with "
              "function signatures within <tools></tools> XML tags:\n<tools>"));
    for (size_t i = 0; i < json_array_size(c->tools); i++) {
        TRY(puts_(c, "\n"));
        TRY(put_json(c, json_array_get(c->tools, i), 0));
    }
    return puts_(c,
                 "\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
                 "<tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": <function-name>, \"arguments\": "
                 "<args-json-object>}\n</tool_call><|im_end|>\n");
}

static enum trawl_status put_tool_call(struct chat *c, const json_t *call, bool raw_text)
{
    const json_t *function = json_object_get(call, "function");
    call = json_is_object(function) ? function : call;
    const json_t *arguments = json_object_get(call, "arguments");
    struct text name = member(call, "name");
    if (!name.at || !arguments)
        return fail(TRAWL_FORMAT, "a tool call without a name or arguments");
    TRY(puts_(c, "<tool_call>\n{\"name\": \""));
    TRY(put(c, name));
    TRY(puts_(c, "\", \"arguments\": "));
    TRY(raw_text && json_is_string(arguments) ? put(c, member(call, "arguments")) : put_json(c, arguments, 0));
    return puts_(c, "}\n</tool_call>");
}

/* Consecutive results of tools are one message of the user. */
static enum trawl_status put_tool_result(struct chat *c, size_t i)
{
    struct text text;
    TRY(content(c, i, &text));
    if (i == 0 || !role_is(c, i - 1, "tool"))
        TRY(puts_(c, "<|im_start|>user"));
    TRY(puts_(c, "\n<tool_response>\n"));
    TRY(put(c, text));
    TRY(puts_(c, "\n</tool_response>"));
    return i + 1 == c->n || !role_is(c, i + 1, "tool") ? puts_(c, "<|im_end|>\n") : TRAWL_OK;
}

static enum trawl_status qwen25_calls(struct chat *c, size_t i, const json_t *calls)
{
    struct text text = member(message(c, i), "content");
    TRY(puts_(c, "<|im_start|>assistant"));
    if (text.n) {
        TRY(puts_(c, "\n"));
        TRY(put(c, text));
    }
    for (size_t k = 0; k < json_array_size(calls); k++) {
        TRY(puts_(c, "\n"));
        TRY(put_tool_call(c, json_array_get(calls, k), false));
    }
    return puts_(c, "<|im_end|>\n");
}

static enum trawl_status render_qwen25(struct chat *c)
{
    struct text text = literal("You are Qwen, created by Alibaba Cloud. You are a helpful assistant.");
    TRY(not_empty(c));
    if (role_is(c, 0, "system"))
        TRY(content(c, 0, &text));
    if (json_array_size(c->tools)) {
        TRY(puts_(c, "<|im_start|>system\n"));
        TRY(put(c, text));
        TRY(puts_(c, "\n\n"));
        TRY(put_tools(c));
    } else {
        TRY(put_im(c, literal("system"), text));
    }
    for (size_t i = 0; i < c->n; i++) {
        const json_t *calls = json_object_get(message(c, i), "tool_calls");
        bool called = json_array_size(calls) > 0, assistant = role_is(c, i, "assistant");
        if (role_is(c, i, "user") || (role_is(c, i, "system") && i) || (assistant && !called)) {
            TRY(content(c, i, &text));
            TRY(put_im(c, role(c, i), text));
        } else if (assistant) {
            TRY(qwen25_calls(c, i, calls));
        } else if (role_is(c, i, "tool")) {
            TRY(put_tool_result(c, i));
        }
    }
    return c->prompt ? puts_(c, "<|im_start|>assistant\n") : TRAWL_OK;
}

/* The last message in which the user asks something (results of tools are given in the user's name, too). */
static enum trawl_status last_query(const struct chat *c, size_t *at)
{
    struct text text;
    *at = c->n - 1;
    for (size_t i = c->n; i-- > 0;) {
        if (!role_is(c, i, "user"))
            continue;
        TRY(content(c, i, &text));
        if (starts(text, "<tool_response>") && ends(text, "</tool_response>"))
            continue;
        *at = i;
        break;
    }
    return TRAWL_OK;
}

/* Takes <think>...</think> out of an answer. */
static void split_thoughts(const json_t *answer, struct text *text, struct text *thoughts)
{
    static const size_t close_n = sizeof "</think>" - 1, open_n = sizeof "<think>" - 1;
    *thoughts = member(answer, "reasoning_content");
    if (thoughts->at)
        return;
    *thoughts = literal("");
    size_t first = find(*text, "</think>", false), last = find(*text, "</think>", true);
    if (first == SIZE_MAX)
        return;
    *thoughts = trim_newlines((struct text){text->at, first}, false, true);
    size_t open = find(*thoughts, "<think>", true);
    if (open != SIZE_MAX)
        *thoughts = (struct text){thoughts->at + open + open_n, thoughts->n - open - open_n};
    *thoughts = trim_newlines(*thoughts, true, false);
    *text = trim_newlines((struct text){text->at + last + close_n, text->n - last - close_n}, true, false);
}

static enum trawl_status qwen3_answer(struct chat *c, size_t i, size_t query)
{
    struct text text = literal(""), thoughts;
    if (json_object_get(message(c, i), "content"))
        TRY(content(c, i, &text));
    split_thoughts(message(c, i), &text, &thoughts);
    TRY(puts_(c, "<|im_start|>assistant\n"));
    if (i > query && (i + 1 == c->n || thoughts.n)) {
        TRY(puts_(c, "<think>\n"));
        TRY(put(c, trim_newlines(thoughts, true, true)));
        TRY(puts_(c, "\n</think>\n\n"));
        TRY(put(c, trim_newlines(text, true, false)));
    } else {
        TRY(put(c, text));
    }
    const json_t *calls = json_object_get(message(c, i), "tool_calls");
    for (size_t k = 0; k < json_array_size(calls); k++) {
        if (k || text.n)
            TRY(puts_(c, "\n"));
        TRY(put_tool_call(c, json_array_get(calls, k), true));
    }
    return puts_(c, "<|im_end|>\n");
}

static enum trawl_status qwen3_system(struct chat *c)
{
    struct text text = {NULL, 0};
    if (role_is(c, 0, "system"))
        TRY(content(c, 0, &text));
    if (!json_array_size(c->tools))
        return text.at ? put_im(c, literal("system"), text) : TRAWL_OK;
    TRY(puts_(c, "<|im_start|>system\n"));
    if (text.at) {
        TRY(put(c, text));
        TRY(puts_(c, "\n\n"));
    }
    return put_tools(c);
}

static enum trawl_status render_qwen3(struct chat *c)
{
    size_t query;
    struct text text;
    TRY(not_empty(c));
    TRY(qwen3_system(c));
    TRY(last_query(c, &query));
    for (size_t i = 0; i < c->n; i++) {
        if (role_is(c, i, "user") || (role_is(c, i, "system") && i)) {
            TRY(content(c, i, &text));
            TRY(put_im(c, role(c, i), text));
        } else if (role_is(c, i, "assistant")) {
            TRY(qwen3_answer(c, i, query));
        } else if (role_is(c, i, "tool")) {
            TRY(put_tool_result(c, i));
        }
    }
    return c->prompt ? puts_(c, "<|im_start|>assistant\n") : TRAWL_OK;
}

/* ---- Gemma 3 ---- */

/* A string, or the text parts of a list; each trimmed. */
static enum trawl_status gemma_content(struct chat *c, size_t i)
{
    const json_t *value = json_object_get(message(c, i), "content");
    if (json_is_string(value))
        return put(c, trim(member(message(c, i), "content")));
    if (!json_is_array(value))
        return fail(TRAWL_FORMAT, "message %zu: 'content' is neither a string nor a list", i);
    for (size_t k = 0; k < json_array_size(value); k++) {
        const json_t *part = json_array_get(value, k);
        if (is(member(part, "type"), "image"))
            TRY(puts_(c, "<start_of_image>"));
        else if (is(member(part, "type"), "text"))
            TRY(put(c, trim(member(part, "text"))));
    }
    return TRAWL_OK;
}

static enum trawl_status alternating(const struct chat *c, size_t i, size_t begin)
{
    if (role_is(c, i, "user") == ((i - begin) % 2 == 0))
        return TRAWL_OK;
    return fail(TRAWL_FORMAT, "message %zu: roles must alternate user/assistant/user/assistant", i);
}

static enum trawl_status render_gemma3(struct chat *c)
{
    struct text system = {NULL, 0};
    TRY(not_empty(c));
    size_t begin = role_is(c, 0, "system");
    if (begin) {
        const json_t *value = json_object_get(message(c, 0), "content");
        system = json_is_array(value) ? member(json_array_get(value, 0), "text") : member(message(c, 0), "content");
        if (!system.at)
            return fail(TRAWL_FORMAT, "message 0: 'content' is missing or no string");
    }
    TRY(puts_(c, "<bos>"));
    for (size_t i = begin; i < c->n; i++) {
        TRY(alternating(c, i, begin));
        TRY(puts_(c, "<start_of_turn>"));
        TRY(role_is(c, i, "assistant") ? puts_(c, "model") : put(c, role(c, i)));
        TRY(puts_(c, "\n"));
        if (i == begin && system.at) {
            TRY(put(c, system));
            TRY(puts_(c, "\n\n"));
        }
        TRY(gemma_content(c, i));
        TRY(puts_(c, "<end_of_turn>\n"));
    }
    return c->prompt ? puts_(c, "<start_of_turn>model\n") : TRAWL_OK;
}

/* ---- Llama 3 ---- */

static enum trawl_status render_llama3(struct chat *c)
{
    struct text text;
    for (size_t i = 0; i < c->n; i++) {
        TRY(content(c, i, &text));
        if (i == 0)
            TRY(puts_(c, "<|begin_of_text|>"));
        TRY(puts_(c, "<|start_header_id|>"));
        TRY(put(c, role(c, i)));
        TRY(puts_(c, "<|end_header_id|>\n\n"));
        TRY(put(c, trim(text)));
        TRY(puts_(c, "<|eot_id|>"));
    }
    return c->prompt ? puts_(c, "<|start_header_id|>assistant<|end_header_id|>\n\n") : TRAWL_OK;
}

/* ---- Mistral 7B Instruct ---- */

static enum trawl_status put_inst(struct chat *c, const char *end)
{
    struct text text;
    TRY(puts_(c, "<s>"));
    for (size_t i = 0; i < c->n; i++) {
        TRY(alternating(c, i, 0));
        TRY(content(c, i, &text));
        if (!role_is(c, i, "user") && !role_is(c, i, "assistant"))
            return fail(TRAWL_FORMAT, "message %zu: this template knows only user and assistant", i);
        TRY(puts_(c, role_is(c, i, "user") ? "[INST] " : ""));
        TRY(put(c, text));
        TRY(puts_(c, role_is(c, i, "user") ? " [/INST]" : end));
    }
    return TRAWL_OK;
}

static enum trawl_status render_mistral(struct chat *c)
{
    return put_inst(c, "</s>");
}

static enum trawl_status render_mistral_v01(struct chat *c)
{
    return put_inst(c, "</s> ");
}

/* ---- the rows ---- */

static const struct chat_template templates[] = {
    {"smollm2", render_smollm2, {0x99ab995e9629dacd}},
    {"qwen2.5", render_qwen25, {0x2469c9508f79506e}},
    {"qwen3", render_qwen3, {0x0283f874ff58d644}},
    {"gemma3", render_gemma3, {0xd9c620dcaf86f38d, 0xd927416abefac232}},
    {"llama3", render_llama3, {0x9799ad6e2dea0594, 0x866fc8fa50da12fe, 0xf6db71f9f4a22e96, 0x2b75d0c713ea9e6f}},
    {"mistral", render_mistral, {0xa5d004210ebce758}},
    {"mistral-v0.1", render_mistral_v01, {0xb7f52373b11c60d7}},
};
enum { N_TEMPLATES = sizeof templates / sizeof *templates, N_FINGERPRINTS = 4 };

const char *chat_names(void)
{
    return "smollm2|qwen2.5|qwen3|gemma3|llama3|mistral|mistral-v0.1";
}

enum trawl_status chat_find_name(const struct chat_template **t, const char *name)
{
    for (size_t i = 0; i < N_TEMPLATES; i++)
        if (strcmp(templates[i].name, name) == 0)
            return *t = &templates[i], TRAWL_OK;
    return fail(TRAWL_UNSUPPORTED, "no chat template '%s' (known: %s)", name, chat_names());
}

enum trawl_status chat_find_text(const struct chat_template **t, const char *jinja, size_t n)
{
    while (n && isspace((unsigned char)jinja[n - 1]))
        n--;
    uint64_t fingerprint = XXH3_64bits(jinja, n);
    for (size_t i = 0; i < N_TEMPLATES; i++)
        for (int k = 0; k < N_FINGERPRINTS && templates[i].fingerprints[k]; k++)
            if (templates[i].fingerprints[k] == fingerprint)
                return *t = &templates[i], TRAWL_OK;
    return fail(TRAWL_UNSUPPORTED,
                "the model's chat template (fingerprint %016llx) is not known (choose one by name: %s)",
                (unsigned long long)fingerprint, chat_names());
}

const char *chat_name(const struct chat_template *t)
{
    return t->name;
}

enum trawl_status chat_render(const struct chat_template *t, struct buf *out, const json_t *messages,
                              const json_t *tools, bool add_generation_prompt)
{
    if (!json_is_array(messages))
        return fail(TRAWL_FORMAT, "'messages' is not a list");
    if (tools && !json_is_null(tools) && !json_is_array(tools))
        return fail(TRAWL_FORMAT, "'tools' is not a list");
    struct chat c = {out, messages, json_is_array(tools) ? tools : NULL, json_array_size(messages),
                     add_generation_prompt};
    for (size_t i = 0; i < c.n; i++)
        if (!json_is_object(message(&c, i)) || !role(&c, i).at)
            return fail(TRAWL_FORMAT, "message %zu: no object with a 'role'", i);
    size_t before = out->n;
    enum trawl_status status = t->render(&c);
    if (status)
        out->n = before;
    return status;
}
