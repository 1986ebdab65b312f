/* Index folders: segments, documents, fields and their contracts. */
#include "inspect_int.h"
#include "index/index.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static json_t *describe_field(const struct index_field *f)
{
    static const char *const formats[] = {"f32", "bf16", "int8"};
    json_t *o = json_object(), *contract;
    if (f->kind == INDEX_LEXICAL) {
        inspect_put(o, "kind", "lexical");
        inspect_put(o, "analyzer", "%s", f->analyzer);
        inspect_put(o, "default_k1_b", "%g, %g", f->k1, f->b);
        return o;
    }
    inspect_put(o, "kind", "dense");
    inspect_count(o, "dimensions", f->D);
    inspect_put(o, "stored_as", "%s", formats[f->format]);
    inspect_put(o, "from", "%s", f->from_vectors ? "a vectors file" : "a model");
    if (f->has_contract && !contract_to_json(&contract, &f->document))
        json_object_set_new(o, "document_contract", contract);
    if (f->has_contract && !contract_to_json(&contract, &f->query))
        json_object_set_new(o, "query_contract", contract);
    return o;
}

static uint64_t folder_bytes(const char *folder)
{
    struct buf names = {0};
    size_t n = 0;
    uint64_t sum = 0;
    if (file_list(&names, &n, folder))
        n = 0;
    const char *name = names.data;
    for (size_t i = 0; i < n; i++, name += strlen(name) + 1) {
        char *path = file_join(folder, name);
        struct stat st;
        if (path && !lstat(path, &st)) {
            if (S_ISDIR(st.st_mode))
                sum += folder_bytes(path);
            else
                sum += (uint64_t)st.st_size;
        }
        free(path);
    }
    buf_release(&names);
    return sum;
}

enum trawl_status inspect_index(json_t **out, const char *folder, bool verify)
{
    struct index *ix;
    *out = NULL;
    TRY(index_open(&ix, folder));
    json_t *o = json_object(), *fields = json_object();
    uint64_t rows = 0;
    for (size_t s = 0; s < index_n_segments(ix); s++)
        rows += index_segment(ix, s)->n;
    inspect_put(o, "kind", "index");
    inspect_put(o, "path", "%s", folder);
    inspect_count(o, "documents", index_n_documents(ix));
    inspect_count(o, "segments", index_n_segments(ix));
    inspect_count(o, "rows", rows);
    inspect_count(o, "bytes_on_disk", folder_bytes(folder));
    for (size_t i = 0; i < index_n_fields(ix); i++) {
        const struct index_field *f = index_field(ix, i);
        json_object_set_new(fields, f->name, describe_field(f));
    }
    json_object_set_new(o, "fields", fields);
    enum trawl_status status = verify ? index_verify(ix) : TRAWL_OK;
    if (verify && !status)
        inspect_put(o, "checksums", "all right");
    index_close(ix);
    if (status)
        json_decref(o);
    else
        *out = o;
    return status;
}
