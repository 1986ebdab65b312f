/* trawl search: find documents. */
#include "cmd.h"
#include <inttypes.h>
#include <string.h>

static void say(const struct trawl_search_options *options, const struct trawl_search_report *report)
{
    if (report->first_invalid_line)
        cmd_note("%" PRIu64 " quer%s with invalid UTF-8, replaced by U+FFFD (first: line %" PRIu64 ")",
                 report->invalid_utf8, report->invalid_utf8 == 1 ? "y" : "ies", report->first_invalid_line);
    else if (report->invalid_utf8)
        cmd_note("%" PRIu64 " quer%s with invalid UTF-8, replaced by U+FFFD", report->invalid_utf8,
                 report->invalid_utf8 == 1 ? "y" : "ies");
    if (options->words.n_items && report->empty) {
        cmd_note("the query is empty: no hits");
        return;
    }
    if (options->words.n_items) {
        cmd_note("%s, %" PRIu64 " hit%s, %.0f ms", report->mode, report->hits, cmd_s(report->hits),
                 report->seconds * 1e3);
        return;
    }
    cmd_note("%s, %" PRIu64 " quer%s, %" PRIu64 " hit%s, %.1f s (%" PRIu64 " queries empty, %" PRIu64
             " without hits, %" PRIu64 " cut at the maximum length)",
             report->mode, report->queries, report->queries == 1 ? "y" : "ies", report->hits, cmd_s(report->hits),
             report->seconds, report->empty, report->without_hits, report->cut);
}

int cmd_search(int argc, char **argv)
{
    struct trawl_search_options options;
    struct trawl_search_report report;
    int code;
    if (!cmd_begin(&options, "search", argc, argv, &code))
        return code;
    options.terminal = cmd_stdout_is_terminal() && (!options.output || !strcmp(options.output, "-"));
    enum trawl_status status = trawl_search(&options, &report);
    if (!status)
        say(&options, &report);
    return cmd_end(&options, "search", status);
}
