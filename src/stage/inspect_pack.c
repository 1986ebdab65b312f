/* Files in Trawl's own container. */
#include "inspect_int.h"
#include "base/pack.h"
#include <string.h>

/* Table of contents of a pack of any kind. */
static enum trawl_status describe_pack(json_t *o, struct pack *p, bool verify)
{
    json_t *chunks = json_object();
    const char *name;
    uint64_t bytes;
    for (size_t i = 0; pack_entry(p, i, &name, &bytes); i++)
        inspect_count(chunks, name, bytes);
    inspect_count(o, "layout_version", pack_version(p));
    json_object_set_new(o, "chunk_bytes", chunks);
    if (verify)
        TRY(pack_verify_all(p));
    if (verify)
        inspect_put(o, "checksums", "all right");
    return TRAWL_OK;
}

enum trawl_status inspect_pack(json_t **out, const char *path, const char *kind, bool verify)
{
    struct pack *p;
    json_t *o = NULL;
    *out = NULL;
    TRY(pack_open(&p, path, kind, UINT32_MAX));
    enum trawl_status status = TRAWL_OK;
    if (!strcmp(kind, "VECS"))
        status = inspect_vectors(&o, path, verify);
    if (!status && !o) {
        o = json_object();
        inspect_put(o, "kind", "pack %s", kind);
        inspect_put(o, "path", "%s", path);
    }
    if (!status)
        status = describe_pack(o, p, verify);
    pack_close(p);
    if (status)
        json_decref(o);
    else
        *out = o;
    return status;
}
