/* trawl score: log-probabilities of tokens. */
#include "cmd.h"
#include <inttypes.h>

int cmd_score(int argc, char **argv)
{
    struct trawl_score_options options;
    struct trawl_score_report report;
    int code;
    if (!cmd_begin(&options, "score", argc, argv, &code))
        return code;
    enum trawl_status status = trawl_score(&options, &report);
    if (!status)
        cmd_note("%" PRIu64 " texts, %" PRIu64 " tokens, mean negative log-likelihood %.4f, %.0f tokens/s",
                 report.texts, report.tokens, report.mean_nll,
                 report.seconds > 0 ? (double)report.tokens / report.seconds : 0.0);
    return cmd_end(&options, "score", status);
}
