/* trawl tokenize */
#include "cmd.h"

int cmd_tokenize(int argc, char **argv)
{
    struct trawl_tokenize_options options;
    struct trawl_tokenize_report report;
    int code;
    if (!cmd_begin(&options, "tokenize", argc, argv, &code))
        return code;
    enum trawl_status status = trawl_tokenize(&options, &report);
    if (!status && report.n_repaired)
        cmd_note("%zu text%s, %zu token%s, %zu with invalid UTF-8", report.n_texts, cmd_s(report.n_texts),
                 report.n_tokens, cmd_s(report.n_tokens), report.n_repaired);
    else if (!status)
        cmd_note("%zu text%s, %zu token%s", report.n_texts, cmd_s(report.n_texts), report.n_tokens,
                 cmd_s(report.n_tokens));
    return cmd_end(&options, "tokenize", status);
}
