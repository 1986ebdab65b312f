#include "cmd.h"
#include "base/opt.h"
#include "base/status.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct common_options {
    size_t size;
    size_t threads;
    bool quiet;
};

static const struct trawl_option common_rows[] = {
    OPT_COUNT(struct common_options, threads, "threads", "N", NULL,
              "threads to use; results do not depend on it (default: TRAWL_THREADS, else all processors)"),
    OPT_FLAG(struct common_options, quiet, "quiet", "no progress and no closing line; warnings and errors remain"),
};
const struct trawl_stage cmd_common = {
    .name = "common",
    .options_bytes = sizeof(struct common_options),
    .options = common_rows,
    .n_options = sizeof common_rows / sizeof *common_rows,
};

static bool quiet;

static void print_warning(void *ctx, const char *text)
{
    cmd_clear_progress();
    fprintf(stderr, "trawl %s: warning: %s\n", (const char *)ctx, text);
}

static int failed(const char *name, enum trawl_status status)
{
    cmd_clear_progress();
    fprintf(stderr, "trawl %s: %s\n", name, trawl_message());
    return status == TRAWL_USAGE ? 2 : 1;
}

static size_t columns(void)
{
    struct winsize size;
    return isatty(STDOUT_FILENO) && !ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col ? size.ws_col : 100;
}

static int print_help(const struct trawl_stage *stage)
{
    struct buf text = {0};
    enum trawl_status status = opt_help(&text, stage, &cmd_common, columns());
    if (!status)
        fwrite(text.data, 1, text.n, stdout);
    buf_release(&text);
    return cmd_end(NULL, stage->name, status);
}

bool cmd_begin(void *options, const char *name, int argc, char **argv, int *code)
{
    const struct trawl_stage *stage = trawl_stage_find(name);
    struct common_options common;
    trawl_options_init(options, stage);
    trawl_options_init(&common, &cmd_common);
    if (opt_wants_help(argc, argv)) {
        *code = print_help(stage);
        trawl_options_release(options, stage);
        return false;
    }
    trawl_set_log(print_warning, (void *)(uintptr_t)stage->name);
    enum trawl_status status = opt_parse(options, stage, &common, &cmd_common, argc, argv);
    if (status) {
        *code = failed(name, status);
        trawl_options_release(options, stage);
        return false;
    }
    quiet = common.quiet;
    if (common.threads)
        trawl_set_threads(common.threads);
    cmd_show_progress(!quiet);
    return true;
}

int cmd_end(void *options, const char *name, enum trawl_status status)
{
    if (options)
        trawl_options_release(options, trawl_stage_find(name));
    cmd_clear_progress();
    if (status)
        return failed(name, status);
    if (fflush(stdout) || ferror(stdout))
        return failed(name, fail_errno("cannot write standard output"));
    return 0;
}

void cmd_note(const char *format, ...)
{
    if (quiet)
        return;
    cmd_clear_progress();
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

const char *cmd_s(uint64_t n)
{
    return n == 1 ? "" : "s";
}

bool cmd_stdout_is_terminal(void)
{
    return isatty(STDOUT_FILENO);
}
