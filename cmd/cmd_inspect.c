/* trawl inspect */
#include "cmd.h"

int cmd_inspect(int argc, char **argv)
{
    struct trawl_inspect_options options;
    struct trawl_inspect_report report;
    int code;
    if (!cmd_begin(&options, "inspect", argc, argv, &code))
        return code;
    return cmd_end(&options, "inspect", trawl_inspect(&options, &report));
}
