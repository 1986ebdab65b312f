/* The thread's last failure, as text. */
#include "status.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char message[2048];

const char *trawl_message(void)
{
    return message;
}

const char *trawl_version(void)
{
    return TRAWL_VERSION;
}

const char *trawl_status_text(enum trawl_status status)
{
    static const char *const texts[] = {
#define X(id, text) [TRAWL_##id] = text,
        TRAWL_STATUS_TABLE(X)
#undef X
    };
    size_t i = (size_t)status;
    return i < sizeof texts / sizeof *texts ? texts[i] : "unknown status";
}

enum trawl_status(fail)(enum trawl_status code, const char *format, ...)
{
    char text[sizeof message]; /* the arguments may point into the present message */
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    memcpy(message, text, sizeof message);
    return code;
}

enum trawl_status fail_errno(const char *format, ...)
{
    int error = errno;
    char text[sizeof message / 2];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return fail(error == ENOMEM ? TRAWL_NOMEM : TRAWL_IO, "%s: %s", text, strerror(error));
}

enum trawl_status fail_context(enum trawl_status code, const char *format, ...)
{
    char text[sizeof message / 4];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return fail(code, "%s: %s", text, message);
}
