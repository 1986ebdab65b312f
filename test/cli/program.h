/* Runs the program as a user does, and keeps what it said. */
#ifndef TEST_PROGRAM_H
#define TEST_PROGRAM_H
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/file.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct buf program_out, program_err;

/* `trawl <line>` through the shell; the exit status, and both outputs in the buffers above. */
static inline int program(const char *line)
{
    char command[8192], err[64];
    struct buf *out = &program_out;
    snprintf(err, sizeof err, "/tmp/trawl-test-%ld-stderr", (long)getpid());
    snprintf(command, sizeof command, "'%s' %s 2> %s", getenv("TRAWL_PROGRAM"), line, err);
    buf_reset(out);
    FILE *pipe = popen(command, "r");
    if (!pipe)
        return -1;
    char block[4096];
    for (size_t n; (n = fread(block, 1, sizeof block, pipe)) > 0;)
        if (buf_append(out, block, n))
            return -1;
    int code = pclose(pipe);
    if (buf_append(out, "", 0) || file_read(&program_err, err, 1 << 24))
        return -1;
    unlink(err);
    return WIFEXITED(code) ? WEXITSTATUS(code) : -1;
}

#define assert_out_has(text)                                                                                           \
    do {                                                                                                               \
        if (!strstr(program_out.data, text))                                                                           \
            fail_msg("'%s' is not in the output:\n%s", text, program_out.data);                                        \
    } while (0)
#define assert_err_has(text)                                                                                           \
    do {                                                                                                               \
        if (!strstr(program_err.data, text))                                                                           \
            fail_msg("'%s' is not on standard error:\n%s", text, program_err.data);                                    \
    } while (0)

#endif
