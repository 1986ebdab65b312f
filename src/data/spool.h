/* A nameless file in $TMPDIR (else /tmp): written once, then mapped; gone when closed, however the process ends. */
#ifndef DATA_SPOOL_H
#define DATA_SPOOL_H
#include "base/file.h"
#include <stdio.h>

struct spool {
    FILE *file;
    uint64_t bytes;
    struct file_map map; /* after spool_end */
};
MUST_USE enum trawl_status spool_begin(struct spool *s);
MUST_USE enum trawl_status spool_write(struct spool *s, const void *data, size_t n);
static inline uint64_t spool_bytes(const struct spool *s)
{
    return s->bytes;
}
/* Nothing more is written; `map` shows all of it. */
MUST_USE enum trawl_status spool_end(struct spool *s);
void spool_close(struct spool *s);

#endif
