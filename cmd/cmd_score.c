/* trawl score: log-probabilities of tokens. */
#include "cmd.h"
#include <inttypes.h>
#include <stdio.h>

static void say(const struct trawl_score_report *r)
{
    char invalid[96] = "";
    if (r->invalid_utf8)
        snprintf(invalid, sizeof invalid, ", %" PRIu64 " with invalid UTF-8 (first: line %" PRIu64 ")", r->invalid_utf8,
                 r->first_invalid_line);
    cmd_note("%" PRIu64 " text%s, %" PRIu64 " token%s%s, mean negative log-likelihood %.4f, %.0f tokens/s", r->texts,
             cmd_s(r->texts), r->tokens, cmd_s(r->tokens), invalid, r->mean_nll,
             r->seconds > 0 ? (double)r->tokens / r->seconds : 0.0);
}

int cmd_score(int argc, char **argv)
{
    struct trawl_score_options options;
    struct trawl_score_report report;
    int code;
    if (!cmd_begin(&options, "score", argc, argv, &code))
        return code;
    enum trawl_status status = trawl_score(&options, &report);
    if (!status)
        say(&report);
    return cmd_end(&options, "score", status);
}
