/*
 * Finding models: a path, or a name under $TRAWL_MODELS (default: the cache folder), or one of our own adapters in the
 * source tree or the installed data folder.
 */
#include "model_int.h"
#include "base/mem.h"
#include "model/registry.h" /* made by meson.build */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JSON_BYTES_MAX = 16 << 20 };

static enum trawl_status models_folder(struct buf *out)
{
    const char *models = getenv("TRAWL_MODELS"), *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (models && *models)
        return buf_text(out, models);
    if (cache && *cache)
        return buf_printf(out, "%s/trawl", cache);
    return buf_printf(out, "%s/.cache/trawl", home ? home : "");
}

static bool is_name(const char *text)
{
    return *text && *text != '.' && !strchr(text, '/') && strlen(text) < 128;
}

/* TRAWL_REGISTRY: the names of models/registry.tsv, which tools/fetch knows, each followed by a space. */
static enum trawl_status not_found(const char *given, const char *models)
{
    char names[sizeof TRAWL_REGISTRY * 2] = "";
    bool known = false;
    for (const char *p = TRAWL_REGISTRY; *p; p += strspn(p, " ")) {
        size_t n = strcspn(p, " "), at = strlen(names);
        known = known || (strlen(given) == n && !memcmp(given, p, n));
        snprintf(names + at, sizeof names - at, "%s%.*s", at ? ", " : "", (int)n, p);
        p += n;
    }
    if (known)
        return fail(TRAWL_NOT_FOUND, "model '%s' is not in '%s' (fetch it with 'tools/fetch %s', or set TRAWL_MODELS)",
                    given, models, given);
    return fail(TRAWL_NOT_FOUND,
                "'%s' is no file or folder, and no model of that name is in '%s' (names that tools/fetch "
                "gets: %s)",
                given, models, names);
}

enum trawl_status model_resolve(char **path, const char *path_or_name)
{
    enum trawl_status status = TRAWL_OK;
    struct buf models = {0}, found = {0};
    const char *const own[] = {TRAWL_SOURCE_MODELS, TRAWL_DATA_MODELS};
    *path = NULL;
    bool there = file_exists(path_or_name);
    TRY_OUT(models_folder(&models));
    if (!there && is_name(path_or_name)) {
        TRY_OUT(buf_printf(&found, "%s/%s", models.data, path_or_name));
        there = file_exists(found.data);
        for (size_t i = 0; i < sizeof own / sizeof *own && !there; i++) {
            buf_reset(&found);
            TRY_OUT(buf_printf(&found, "%s/%s", own[i], path_or_name));
            there = file_exists(found.data);
        }
    } else {
        TRY_OUT(buf_text(&found, path_or_name));
    }
    if (!there) {
        status = not_found(path_or_name, models.data);
        goto out;
    }
    *path = mem_text(found.data, found.n);
    status = *path ? TRAWL_OK : mem_status();
out:
    buf_release(&models);
    buf_release(&found);
    return status;
}

bool model_has_file(const char *folder, const char *name)
{
    char *path = file_join(folder, name);
    bool there = path && file_exists(path);
    free(path);
    return there;
}

enum trawl_status model_read_json(json_t **out, const char *folder, const char *name)
{
    char *path = file_join(folder, name);
    enum trawl_status status = path ? TRAWL_OK : mem_status();
    *out = NULL;
    if (!status && file_exists(path))
        status = json_read(out, path, JSON_BYTES_MAX);
    free(path);
    return status;
}

enum trawl_status model_find_gguf(char **path, const char *folder)
{
    struct buf names = {0};
    size_t n = 0, n_found = 0;
    const char *found = NULL;
    *path = NULL;
    enum trawl_status status = file_list(&names, &n, folder);
    const char *name = names.data;
    for (size_t i = 0; !status && i < n; i++, name += strlen(name) + 1) {
        size_t length = strlen(name);
        if (length < 5 || strcmp(name + length - 5, ".gguf") != 0)
            continue;
        const char *of = strstr(name, "-of-");
        bool later_part = of && of - name >= 6 && of[-6] == '-' && strncmp(of - 5, "00001", 5) != 0;
        if (later_part)
            continue;
        if (n_found++)
            status = fail(TRAWL_FORMAT, "'%s' holds several GGUF files ('%s', '%s'): name the one that is meant",
                          folder, found, name);
        found = name;
    }
    if (!status && found) {
        *path = file_join(folder, found);
        status = *path ? TRAWL_OK : mem_status();
    }
    buf_release(&names);
    return status;
}

/* Last part of a dotted type: "sentence_transformers.models.Transformer" -> "Transformer". */
static const char *last_part(const char *type)
{
    const char *dot = strrchr(type, '.');
    return dot ? dot + 1 : type;
}

enum trawl_status model_transformer(char **path, const char *folder)
{
    json_t *modules;
    *path = NULL;
    TRY(model_read_json(&modules, folder, "modules.json"));
    enum trawl_status status = TRAWL_OK;
    size_t i;
    json_t *module;
    json_array_foreach(modules, i, module)
    {
        const char *type = json_string_value(json_object_get(module, "type"));
        const char *sub = json_string_value(json_object_get(module, "path"));
        if (type && sub && *sub && !strcmp(last_part(type), "Transformer") && *sub != '/' && !strstr(sub, "..")) {
            free(*path);
            *path = file_join(folder, sub);
            status = *path ? TRAWL_OK : mem_status();
        }
    }
    json_decref(modules);
    if (!status && !*path) {
        *path = mem_text(folder, strlen(folder));
        status = *path ? TRAWL_OK : mem_status();
    }
    return status;
}

enum trawl_status model_resolve_base(char **path, const char *adapter_folder, const char *base)
{
    char *beside = file_join(adapter_folder, base);
    enum trawl_status status = beside ? TRAWL_OK : mem_status();
    *path = NULL;
    if (!status && *base != '/' && file_exists(beside)) {
        *path = beside;
        return TRAWL_OK;
    }
    free(beside);
    /* an id of the hub, "organisation/name": a folder of the last part's name among the models will do */
    const char *slash = strrchr(base, '/');
    bool id = slash && slash == strchr(base, '/') && slash != base && base[0] != '.' && !file_exists(base);
    if (!status)
        status = model_resolve(path, id ? slash + 1 : base);
    return status ? fail_context(status, "base '%s' of the adapter '%s'", base, adapter_folder) : TRAWL_OK;
}
