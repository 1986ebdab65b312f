/* merge: an adapter and its base as one model folder, for programs that know no adapters. */
#include "base/file.h"
#include "base/opt.h"
#include "model/save.h"
#include "stages.h"
#include <string.h>

#define OPTIONS struct trawl_merge_options
static const struct trawl_option options_table[] = {
    OPT_STRING(OPTIONS, model, "model", "M", NULL, "the base; left out, the one that the adapter names"),
    OPT_NEED(OPTIONS, adapter, "adapter", "A", "adapter folder, such as RUN/model"),
    OPT_NEED(OPTIONS, output, "output", "FOLDER", "model folder to write, in f32"),
};
const struct trawl_stage stage_merge = {
    .name = "merge",
    .summary = "write an adapter and its base as one model",
    .details =
        "The folder holds config.json, weights, tokenizer, pooling and prompts as transformers and "
        "sentence-transformers read them, and trawl.json. The base must be a Hugging Face folder: a GGUF file has "
        "no configuration and tokenizer files to go with it. An existing folder is not replaced.",
    .examples = "trawl merge --adapter run/model --output merged\n"
                "trawl encode --model merged --input scifact --output scifact.vecs",
    .options_bytes = sizeof(OPTIONS),
    .options = options_table,
    .n_options = sizeof options_table / sizeof *options_table,
};
#undef OPTIONS

/* A base that was named must be the one that the adapter was trained on. */
static enum trawl_status check_base(struct model_files *adapter, const char *base_name)
{
    struct model_files *base;
    char wanted[17], found[17];
    if (!base_name)
        return TRAWL_OK;
    TRY(model_files_base_fingerprint(adapter, wanted));
    TRY(model_files_open(&base, base_name));
    enum trawl_status status = model_files_fingerprint(base, found);
    model_files_close(base);
    TRY(status);
    if (strcmp(wanted, found) != 0)
        return fail(TRAWL_MISMATCH, "'%s' is not the base of '%s': its fingerprint is %s, the base's is %s", base_name,
                    model_files_path(adapter), found, wanted);
    return TRAWL_OK;
}

static enum trawl_status merge(struct model_files *m, const struct trawl_merge_options *o,
                               struct trawl_merge_report *report)
{
    const struct model_modules *modules = model_files_modules(m);
    if (!model_files_is_adapter(m))
        return fail(TRAWL_USAGE, "'%s' is no adapter: there is nothing to merge", o->adapter);
    if (file_exists(o->output))
        return fail(TRAWL_USAGE, "'%s' exists already (name another folder, or remove it)", o->output);
    TRY(check_base(m, o->model));
    report->width = model_files_source(m)->config->C;
    return model_save_folder(m, model_files_source(m), o->output, &modules->document, &modules->query);
}

enum trawl_status trawl_merge(const struct trawl_merge_options *options, struct trawl_merge_report *report)
{
    struct trawl_merge_options own;
    struct model_files *m;
    TRY(opt_adopt(&own, &stage_merge, options));
    *report = (struct trawl_merge_report){0};
    TRY(model_files_open(&m, own.adapter));
    enum trawl_status status = merge(m, &own, report);
    model_files_close(m);
    return status;
}
