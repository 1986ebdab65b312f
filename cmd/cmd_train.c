/* trawl train: a run of training; says at the end what came out of it. */
#include "cmd.h"
#include <inttypes.h>
#include <stdio.h>

static void say(const struct trawl_train_options *o, const struct trawl_train_report *r)
{
    char dev[128] = "", resumed[64] = "";
    if (r->best_dev >= 0.0)
        snprintf(dev, sizeof dev, ", best nDCG@10 %.4f at step %" PRIu64 "%s", r->best_dev, r->best_step,
                 r->stopped_early ? " (stopped early)" : "");
    if (r->resumed_from)
        snprintf(resumed, sizeof resumed, " (from step %" PRIu64 ")", r->resumed_from);
    cmd_note("%" PRIu64 " step%s%s, %" PRIu64 " tokens at %.0f tokens/s, loss %.4f%s, %" PRIu64
             " parameters, %.0f MB: '%s/model'",
             r->steps, cmd_s(r->steps), resumed, r->tokens, r->seconds > 0.0 ? (double)r->tokens / r->seconds : 0.0,
             r->loss, dev, r->parameters, (double)r->memory_bytes / 1e6, o->output);
}

int cmd_train(int argc, char **argv)
{
    struct trawl_train_options options;
    struct trawl_train_report report;
    int code;
    if (!cmd_begin(&options, "train", argc, argv, &code))
        return code;
    enum trawl_status status = trawl_train(&options, &report);
    if (!status)
        say(&options, &report);
    return cmd_end(&options, "train", status);
}
