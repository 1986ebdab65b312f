/*
 * inspect: says what a file or folder is. Its kind is told by content (magic bytes, the files in a folder), never by
 * the name alone; what was found is one ordered JSON object, printed as it is or as indented text.
 */
#include "inspect_int.h"
#include "stages.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/opt.h"
#include "base/pack.h"
#include "model/model.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct trawl_option options[] = {
    {.name = NULL,
     .kind = TRAWL_OPTION_STRING,
     .offset = offsetof(struct trawl_inspect_options, path),
     .arg = "PATH",
     .help = "file, folder, or name of a model",
     .required = 1},
    OPT_FLAG(struct trawl_inspect_options, verify, "verify", "read all of it: checksums, values that are not finite"),
    OPT_FLAG(struct trawl_inspect_options, tensors, "tensors", "list the tensors of a model"),
    OPT_FLAG(struct trawl_inspect_options, json, "json", "one JSON object instead of text"),
    OPT_STRING(struct trawl_inspect_options, output, "output", "FILE", "-", "where the description goes"),
};

const struct trawl_stage stage_inspect = {
    .name = "inspect",
    .summary = "explain any file or folder that trawl reads",
    .details = "Models (GGUF, safetensors, Hugging Face and sentence-transformers folders, adapters), tokenizers, "
               "index folders, "
               "vectors (.vecs, .npy, .jsonl), corpora, queries, judgements and runs: what it is, its size, what it "
               "needs, and the encoding contract that it stands for. A damaged file is refused with the place.",
    .examples = "# what a model is, and what memory it takes in each precision\n"
                "trawl inspect smollm2-135m\n"
                "# read everything and check it\n"
                "trawl inspect --verify my.index\n",
    .options_bytes = sizeof(struct trawl_inspect_options),
    .options = options,
    .n_options = sizeof options / sizeof *options,
};

void inspect_put(json_t *o, const char *key, const char *format, ...)
{
    char text[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    json_t *value = json_string(text);
    json_object_set_new(o, key, value ? value : json_string("(not UTF-8)"));
}

void inspect_count(json_t *o, const char *key, uint64_t n)
{
    json_object_set_new(o, key, json_integer((json_int_t)n));
}

/* ---- as text ---- */

static enum trawl_status print_number(struct buf *out, const char *key, json_int_t n)
{
    char digits[32];
    size_t length = (size_t)snprintf(digits, sizeof digits, "%" PRId64, (int64_t)n);
    for (size_t i = 0; i < length; i++) { /* groups of three digits */
        TRY(buf_append(out, digits + i, 1));
        if ((length - i) % 3 == 1 && i + 1 < length && digits[i] != '-')
            TRY(buf_append(out, ",", 1));
    }
    bool bytes = strstr(key, "bytes") || !strcmp(key, "f32") || !strcmp(key, "bf16") || !strcmp(key, "int8");
    if (bytes && n >= 1 << 20)
        TRY(buf_printf(out, " (%.1f MiB)", (double)n / (1 << 20)));
    return buf_append(out, "\n", 1);
}

static enum trawl_status print_value(struct buf *out, const char *key, const json_t *value, int depth);

static enum trawl_status print_members(struct buf *out, const json_t *object, int depth)
{
    const char *key;
    const json_t *value;
    size_t width = 0;
    json_object_foreach((json_t *)object, key, value) if (strlen(key) > width) width = strlen(key);
    width = width > 28 ? 28 : width;
    json_object_foreach((json_t *)object, key, value)
    {
        char label[128];
        snprintf(label, sizeof label, "%s", key);
        for (char *p = label; *p && depth == 0; p++) /* deeper keys may be names of files and tensors */
            *p = *p == '_' ? ' ' : *p;
        bool nested = json_is_object(value) || json_is_array(value);
        TRY(buf_printf(out, "%*s%-*s%s", depth * 2, "", nested ? 0 : (int)width, label, nested ? "" : "  "));
        TRY(print_value(out, key, value, depth));
    }
    return TRAWL_OK;
}

static enum trawl_status print_value(struct buf *out, const char *key, const json_t *value, int depth)
{
    size_t i;
    const json_t *item;
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        TRY(buf_append(out, "\n", 1));
        return print_members(out, value, depth + 1);
    case JSON_ARRAY:
        TRY(buf_append(out, "\n", 1));
        json_array_foreach((json_t *)value, i, item)
        {
            TRY(buf_printf(out, "%*s", (depth + 1) * 2, ""));
            TRY(print_value(out, key, item, depth + 1));
        }
        return TRAWL_OK;
    case JSON_STRING:
        if (!json_string_length(value))
            return buf_text(out, "\"\"\n");
        TRY(buf_append(out, json_string_value(value), json_string_length(value)));
        return buf_append(out, "\n", 1);
    case JSON_INTEGER:
        return print_number(out, key, json_integer_value(value));
    case JSON_REAL:
        return buf_printf(out, "%g\n", json_real_value(value));
    default:
        return buf_text(out, json_is_true(value) ? "yes\n" : (json_is_false(value) ? "no\n" : "none\n"));
    }
}

static enum trawl_status write_out(const json_t *description, const struct trawl_inspect_options *o)
{
    struct buf text = {0};
    struct file_writer w;
    enum trawl_status status;
    if (o->json) {
        char *dump = json_dumps(description, JSON_INDENT(2));
        status = dump ? buf_printf(&text, "%s\n", dump) : fail(TRAWL_NOMEM, "no memory for a description");
        free(dump);
    } else {
        status = print_members(&text, description, 0);
    }
    if (!status)
        status = file_writer_open(&w, o->output ? o->output : "-");
    if (!status) {
        status = file_write(&w, text.data, text.n);
        if (!status)
            status = file_writer_commit(&w);
        if (status)
            file_writer_abort(&w);
    }
    buf_release(&text);
    return status;
}

/* ---- what is it ---- */

static bool holds(const char *folder, const char *name)
{
    char *path = file_join(folder, name);
    bool there = path && file_exists(path);
    free(path);
    return there;
}

static bool holds_ending(const char *folder, const char *ending)
{
    struct buf names = {0};
    size_t n = 0;
    bool found = false;
    if (file_list(&names, &n, folder))
        n = 0;
    const char *name = names.data;
    for (size_t i = 0; i < n; i++, name += strlen(name) + 1)
        found = found || (strlen(name) > strlen(ending) && !strcmp(name + strlen(name) - strlen(ending), ending));
    buf_release(&names);
    return found;
}

static enum trawl_status inspect_folder(json_t **out, const struct trawl_inspect_options *o)
{
    static const char *const model_files[] = {"config.json", "modules.json", "adapter_config.json"};
    if (holds(o->path, "manifest"))
        return inspect_index(out, o->path, o->verify);
    for (size_t i = 0; i < sizeof model_files / sizeof *model_files; i++)
        if (holds(o->path, model_files[i]))
            return model_describe(out, o->path, o->verify, o->tensors);
    if (holds_ending(o->path, ".gguf"))
        return model_describe(out, o->path, o->verify, o->tensors);
    if (holds(o->path, "tokenizer.json"))
        return model_describe_tokenizer(out, o->path);
    if (holds(o->path, "corpus.jsonl") || holds(o->path, "corpus.jsonl.gz") || holds(o->path, "corpus.jsonl.zst"))
        return inspect_dataset(out, o->path);
    if (holds_ending(o->path, ".txt") || holds_ending(o->path, ".md"))
        return inspect_texts(out, o->path);
    return fail(TRAWL_UNSUPPORTED,
                "'%s' is a folder of no kind that trawl reads (a model has config.json or a .gguf file, an index a "
                "manifest, a data set corpus.jsonl, a corpus .txt and .md files)",
                o->path);
}

static enum trawl_status read_head(unsigned char head[16], size_t *n, const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return fail_errno("cannot open '%s'", path);
    *n = fread(head, 1, 16, f);
    fclose(f);
    return *n ? TRAWL_OK : fail(TRAWL_FORMAT, "'%s' is empty", path);
}

/* A file that says something only together with its folder: the folder is what is meant. */
static enum trawl_status inspect_member(json_t **out, const struct trawl_inspect_options *o, size_t folder_bytes)
{
    char *folder = folder_bytes ? mem_text(o->path, folder_bytes) : mem_text(".", 1);
    if (!folder)
        return mem_status();
    enum trawl_status status = model_describe(out, folder, o->verify, o->tensors);
    free(folder);
    return status;
}

static bool is_member(const char *name)
{
    static const char *const members[] = {"config.json", "modules.json", "adapter_config.json", "trawl.json",
                                          "model.safetensors.index.json"};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        if (!strcmp(name, members[i]))
            return true;
    return false;
}

static enum trawl_status inspect_file(json_t **out, const struct trawl_inspect_options *o)
{
    unsigned char head[16] = {0};
    char kind[5];
    size_t n = 0;
    TRY(read_head(head, &n, o->path));
    if (n >= 4 && !memcmp(head, "GGUF", 4))
        return model_describe(out, o->path, o->verify, o->tensors);
    if (n >= 6 && !memcmp(head, "\x93NUMPY", 6))
        return inspect_npy(out, o->path, o->verify);
    /* eight bytes of length, of which the upper ones are 0, then the JSON header */
    if (n >= 9 && head[8] == '{' && !head[4] && !head[5] && !head[6] && !head[7])
        return model_describe_safetensors(out, o->path, o->verify, o->tensors);
    if (!pack_kind(kind, o->path))
        return inspect_pack(out, o->path, kind, o->verify);
    const char *slash = strrchr(o->path, '/'), *name = slash ? slash + 1 : o->path;
    if (!strcmp(name, "tokenizer.json"))
        return model_describe_tokenizer(out, o->path);
    if (is_member(name))
        return inspect_member(out, o, slash ? (size_t)(slash - o->path) : 0);
    return inspect_lines(out, o->path);
}

enum trawl_status trawl_inspect(const struct trawl_inspect_options *given, struct trawl_inspect_report *report)
{
    struct trawl_inspect_options o;
    json_t *description = NULL;
    TRY(opt_adopt(&o, &stage_inspect, given));
    *report = (struct trawl_inspect_report){0};
    if (!o.path)
        return fail(TRAWL_USAGE, "inspect needs a file, a folder or the name of a model");
    enum trawl_status status;
    if (!file_exists(o.path))
        status = model_describe(&description, o.path, o.verify, o.tensors); /* a name, or told so */
    else
        status = file_is_folder(o.path) ? inspect_folder(&description, &o) : inspect_file(&description, &o);
    if (!status) {
        const char *kind = json_string_value(json_object_get(description, "kind"));
        snprintf(report->kind, sizeof report->kind, "%s", kind ? kind : "");
        status = write_out(description, &o);
    }
    json_decref(description);
    return status;
}
