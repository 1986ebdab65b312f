/* trawl mine: hard negatives. */
#include "cmd.h"
#include <inttypes.h>

static void say(const struct trawl_mine_report *r)
{
    if (r->without_positives)
        cmd_note("%" PRIu64 " judged queries without a positive were left out", r->without_positives);
    if (r->resumed)
        cmd_note("%" PRIu64 " rankings were taken over from an interrupted run", r->resumed);
    if (r->judged)
        cmd_note("judge: %" PRIu64 " of %" PRIu64 " negatives score at or above the positive (%.1f %%)", r->suspected,
                 r->judged, 100.0 * (double)r->suspected / (double)r->judged);
    cmd_note("%" PRIu64 " rows, %" PRIu64 " negatives, %" PRIu64 " fewer than wanted, %" PRIu64
             " rows dropped, %" PRIu64 " copies of positives passed over, %.1f s",
             r->rows, r->negatives, r->missing, r->dropped, r->copies, r->seconds);
}

int cmd_mine(int argc, char **argv)
{
    struct trawl_mine_options options;
    struct trawl_mine_report report;
    int code;
    if (!cmd_begin(&options, "mine", argc, argv, &code))
        return code;
    enum trawl_status status = trawl_mine(&options, &report);
    if (!status)
        say(&report);
    return cmd_end(&options, "mine", status);
}
