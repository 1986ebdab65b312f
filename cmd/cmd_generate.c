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
    if (!status)
        cmd_note("%" PRIu64 " tokens, %.1f tokens/s", report.tokens,
                 report.seconds > 0 ? (double)report.tokens / report.seconds : 0.0);
    return cmd_end(&options, "generate", status);
}
