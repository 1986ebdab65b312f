/*
 * Errors: a status code up the stack, the reason in a thread-local message.
 * A message names the file, the place, what was wrong and what to do; lower case, no full stop, subjects in quotes.
 */
#ifndef BASE_STATUS_H
#define BASE_STATUS_H
#include <trawl.h>

#define MUST_USE __attribute__((warn_unused_result))

/* Passes a failure on. In a function that owns things use TRY_OUT, its `status` variable and one `out:` label. */
#define TRY(call)                                                                                                      \
    do {                                                                                                               \
        enum trawl_status try_status_ = (call);                                                                        \
        if (try_status_ != TRAWL_OK)                                                                                   \
            return try_status_;                                                                                        \
    } while (0)
#define TRY_OUT(call)                                                                                                  \
    do {                                                                                                               \
        status = (call);                                                                                               \
        if (status != TRAWL_OK)                                                                                        \
            goto out;                                                                                                  \
    } while (0)

/*
 * Sets the message and returns `code`: `return fail(TRAWL_FORMAT, "'%s': ...", path)`. (Parentheses: cmocka has a macro
 * of that name.)
 */
enum trawl_status(fail)(enum trawl_status code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same with ": <strerror(errno)>" appended; code IO, or NOMEM where errno says so. */
enum trawl_status fail_errno(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Puts "<context>: " before the message of a failure that is being passed on; returns `code`. */
enum trawl_status fail_context(enum trawl_status code, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
