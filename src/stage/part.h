/*
 * The checkpoint of a long encode (docs/formats/part.md): finished rows in blocks, each with a checksum and the hash of
 * the texts it came from, so that a later run of the same command knows what is done and that the input is the same.
 * Blocks are appended; what a crash left half written is cut off at the next open.
 */
#ifndef STAGE_PART_H
#define STAGE_PART_H
#include "base/buf.h"
#include <stdbool.h>

struct part_hash {
    uint64_t low, high;
};
struct part_block {
    size_t n;               /* texts */
    struct part_hash texts; /* of their ids and texts */
    uint64_t tokens, cut, empty;
    struct buf ids;  /* NUL-terminated, one behind the other */
    struct buf rows; /* (n,D) f32 */
};
void part_block_release(struct part_block *block);

struct part;
/*
 * Opens or makes the checkpoint. `key` says what the rows depend on beside the texts; a checkpoint with another key is
 * begun anew with a warning. path NULL: a file without a name, gone when closed. IO when another process has it open.
 */
MUST_USE enum trawl_status part_open(struct part **p, const char *path, const char *key, size_t D);
void part_close(struct part *p);
/* The next block in order; false in *found past the last good one. The block's buffers are reused. */
MUST_USE enum trawl_status part_next(struct part *p, struct part_block *block, bool *found);
/* How many texts the next block has (0: past the last) and their hash; the block stays the next one. */
MUST_USE enum trawl_status part_peek(struct part *p, size_t *n, struct part_hash *texts);
/* Drops every block that part_next has not given. */
MUST_USE enum trawl_status part_cut(struct part *p);
/* Appends a block (after part_next gave all there are); on disk within seconds. */
MUST_USE enum trawl_status part_append(struct part *p, const struct part_block *block);
/* Everything on disk; part_next begins at the first block again. */
MUST_USE enum trawl_status part_rewind(struct part *p);
/* Closes and removes the file: the result is in place. */
void part_remove(struct part *p);

#endif
