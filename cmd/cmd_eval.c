/* trawl eval */
#include "cmd.h"

int cmd_eval(int argc, char **argv)
{
    struct trawl_eval_options options;
    struct trawl_eval_report report;
    int code;
    if (!cmd_begin(&options, "eval", argc, argv, &code))
        return code;
    enum trawl_status status = trawl_eval(&options, &report);
    if (!status && report.n_runs)
        cmd_note("%zu of %zu judged queries", report.n_queries, report.n_judged);
    return cmd_end(&options, "eval", status);
}
