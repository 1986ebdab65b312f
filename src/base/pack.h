/*
 * The one container of Trawl's own files (docs/formats/pack.md is normative): magic, version, kind, table of contents,
 * 64-byte aligned chunks with names, an xxh3 checksum for every 256 KiB block, checked when a reader first touches it.
 * Chunks are mmapped; no unverified byte is handed out. Written through file_writer, so never seen half made.
 */
#ifndef BASE_PACK_H
#define BASE_PACK_H
#include "file.h"

/* ---- writing: chunks one after the other, each begun, filled and ended; names are unique, 1 to 63 bytes ---- */
struct pack_writer;
/* kind: four letters such as "VECS"; version: of that kind's layout. */
MUST_USE enum trawl_status pack_create(struct pack_writer **w, const char *path, const char *kind, uint32_t version);
MUST_USE enum trawl_status pack_chunk_begin(struct pack_writer *w, const char *name);
MUST_USE enum trawl_status pack_write(struct pack_writer *w, const void *data, size_t n);
MUST_USE enum trawl_status pack_chunk_end(struct pack_writer *w);
/* begin, write, end at once. */
MUST_USE enum trawl_status pack_add(struct pack_writer *w, const char *name, const void *data, size_t n);
MUST_USE enum trawl_status pack_commit(struct pack_writer **w);
void pack_abort(struct pack_writer **w);

/* ---- reading ---- */
struct pack;
/* Refuses another kind, a newer version, a table of contents that does not fit the file, with reason and remedy. */
MUST_USE enum trawl_status pack_open(struct pack **p, const char *path, const char *kind, uint32_t max_version);
void pack_close(struct pack *p);
uint32_t pack_version(const struct pack *p);
const char *pack_path(const struct pack *p);
/*
 * A chunk's bytes. pack_chunk verifies all of the chunk before returning (for small chunks and those read whole);
 * pack_chunk_lazy verifies nothing: callers then call pack_verify_range on what they are about to read (each block is
 * hashed once per process; later calls cost one atomic load per block). NOT_FOUND when there is no such chunk.
 */
MUST_USE enum trawl_status pack_chunk(struct pack *p, const char *name, const void **data, size_t *n);
MUST_USE enum trawl_status pack_chunk_lazy(struct pack *p, const char *name, const void **data, size_t *n);
MUST_USE enum trawl_status pack_verify_range(struct pack *p, const void *begin, size_t n);
/* Every block of the file; CORRUPT names the chunk and the offset. */
MUST_USE enum trawl_status pack_verify_all(struct pack *p);
/* Table of contents, for inspect: the i-th chunk, false past the last. */
bool pack_entry(const struct pack *p, size_t i, const char **name, uint64_t *bytes);
/* Kind (four letters) of a file, or NOT_FOUND when it is no pack at all. */
MUST_USE enum trawl_status pack_kind(char kind[5], const char *path);

#endif
