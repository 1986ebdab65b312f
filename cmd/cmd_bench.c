/* trawl bench: measurements. */
#include "cmd.h"

int cmd_bench(int argc, char **argv)
{
    struct trawl_bench_options options;
    struct trawl_bench_report report;
    int code;
    if (!cmd_begin(&options, "bench", argc, argv, &code))
        return code;
    enum trawl_status status = trawl_bench(&options, &report);
    return cmd_end(&options, "bench", status);
}
