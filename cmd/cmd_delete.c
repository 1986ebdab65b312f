/* trawl delete */
#include "cmd.h"
#include <inttypes.h>

int cmd_delete(int argc, char **argv)
{
    struct trawl_delete_options options;
    struct trawl_delete_report report;
    int code;
    if (!cmd_begin(&options, "delete", argc, argv, &code))
        return code;
    enum trawl_status status = trawl_delete(&options, &report);
    if (!status)
        cmd_note("%" PRIu64 " document%s deleted, %" PRIu64 " id%s not found; %" PRIu64 " document%s left",
                 report.n_deleted, cmd_s(report.n_deleted), report.n_missing, cmd_s(report.n_missing), report.n_total,
                 cmd_s(report.n_total));
    return cmd_end(&options, "delete", status);
}
