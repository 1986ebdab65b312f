/* trawl merge: an adapter and its base as one model folder. */
#include "cmd.h"

int cmd_merge(int argc, char **argv)
{
    struct trawl_merge_options options;
    struct trawl_merge_report report;
    int code;
    if (!cmd_begin(&options, "merge", argc, argv, &code))
        return code;
    enum trawl_status status = trawl_merge(&options, &report);
    if (!status)
        cmd_note("a model of width %zu in '%s'", report.width, options.output);
    return cmd_end(&options, "merge", status);
}
