/* A growable run of bytes, always followed by a NUL that is not counted. */
#ifndef BASE_BUF_H
#define BASE_BUF_H
#include "status.h"

struct buf {
    char *data; /* NULL while nothing was ever appended */
    size_t n, cap;
};

MUST_USE enum trawl_status buf_append(struct buf *buf, const void *data, size_t n);
MUST_USE enum trawl_status buf_text(struct buf *buf, const char *text);
MUST_USE enum trawl_status buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
MUST_USE enum trawl_status buf_reserve(struct buf *buf, size_t more);
void buf_reset(struct buf *buf); /* keeps the memory */
void buf_release(struct buf *buf);

#endif
