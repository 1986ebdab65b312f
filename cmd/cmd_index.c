/* trawl index */
#include "cmd.h"
#include <inttypes.h>
#include <stdio.h>

static void note(const struct trawl_index_report *r)
{
    char rows[64] = "", replaced[64] = "", invalid[256] = "", cut[64] = "", resumed[64] = "";
    if (r->n_rows != r->n_documents)
        snprintf(rows, sizeof rows, " in %" PRIu64 " passage%s", r->n_rows, cmd_s(r->n_rows));
    if (r->n_replaced)
        snprintf(replaced, sizeof replaced, ", %" PRIu64 " replaced", r->n_replaced);
    if (r->n_invalid_utf8)
        snprintf(invalid, sizeof invalid, ", %" PRIu64 " with invalid UTF-8 (first: line %" PRIu64 ", '%s')",
                 r->n_invalid_utf8, r->first_invalid_line, r->first_invalid_id);
    if (r->n_cut)
        snprintf(cut, sizeof cut, ", %" PRIu64 " cut at the maximum length", r->n_cut);
    if (r->n_resumed)
        snprintf(resumed, sizeof resumed, ", %" PRIu64 " encoded by an earlier run", r->n_resumed);
    cmd_note("%" PRIu64 " document%s%s%s, %" PRIu64 " empty%s%s%s; index of %" PRIu64 " document%s, %" PRIu64
             " segment%s, %.1f MB; %.1f s",
             r->n_documents, cmd_s(r->n_documents), rows, replaced, r->n_empty, cut, resumed, invalid, r->n_total,
             cmd_s(r->n_total), r->n_segments, cmd_s(r->n_segments), (double)r->index_bytes / 1e6, r->seconds);
}

int cmd_index(int argc, char **argv)
{
    struct trawl_index_options options;
    struct trawl_index_report report;
    int code;
    if (!cmd_begin(&options, "index", argc, argv, &code))
        return code;
    enum trawl_status status = trawl_index(&options, &report);
    if (!status)
        note(&report);
    return cmd_end(&options, "index", status);
}
