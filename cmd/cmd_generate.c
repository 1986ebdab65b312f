/* trawl generate: greedy continuations. */
#include "cmd.h"
#include <inttypes.h>

int cmd_generate(int argc, char **argv)
{
    struct trawl_generate_options options;
    struct trawl_generate_report report;
    int code;
    if (!cmd_begin(&options, "generate", argc, argv, &code))
        return code;
    enum trawl_status status = trawl_generate(&options, &report);
    if (!status && report.invalid_utf8)
        cmd_note("%" PRIu64 " prompt%s with invalid UTF-8, replaced by U+FFFD (first: line %" PRIu64 ")",
                 report.invalid_utf8, cmd_s(report.invalid_utf8), report.first_invalid_line);
    if (!status)
        cmd_note("%" PRIu64 " token%s, %.1f tokens/s", report.tokens, cmd_s(report.tokens),
                 report.seconds > 0 ? (double)report.tokens / report.seconds : 0.0);
    return cmd_end(&options, "generate", status);
}
