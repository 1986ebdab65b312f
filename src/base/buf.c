#include "buf.h"
#include "mem.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum trawl_status buf_reserve(struct buf *buf, size_t more)
{
    size_t need;
    if (__builtin_add_overflow(buf->n, more, &need) || __builtin_add_overflow(need, (size_t)1, &need))
        return fail(TRAWL_NOMEM, "a text of more than %zu bytes cannot be held", buf->n);
    return mem_grow((void **)&buf->data, &buf->cap, need, 1);
}

enum trawl_status buf_append(struct buf *buf, const void *data, size_t n)
{
    TRY(buf_reserve(buf, n));
    if (n)
        memcpy(buf->data + buf->n, data, n);
    buf->n += n;
    buf->data[buf->n] = '\0';
    return TRAWL_OK;
}

enum trawl_status buf_text(struct buf *buf, const char *text)
{
    return buf_append(buf, text, strlen(text));
}

enum trawl_status buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0)
        return fail(TRAWL_FORMAT, "cannot format a text");
    TRY(buf_reserve(buf, (size_t)n));
    va_start(args, format);
    vsnprintf(buf->data + buf->n, (size_t)n + 1, format, args);
    va_end(args);
    buf->n += (size_t)n;
    return TRAWL_OK;
}

void buf_reset(struct buf *buf)
{
    buf->n = 0;
    if (buf->data)
        buf->data[0] = '\0';
}

void buf_release(struct buf *buf)
{
    if (!buf)
        return;
    free(buf->data);
    *buf = (struct buf){0};
}
