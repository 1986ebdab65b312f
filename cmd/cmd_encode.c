/* trawl encode: vectors of a corpus or of queries; says at the end what was met. */
#include "cmd.h"
#include <inttypes.h>
#include <stdio.h>

/* "5183 texts, 1012400 tokens, 12 cut at 512, 1 empty, 2 with invalid UTF-8 (first 'id', line 7), 52.1 texts/s, bf16"
 */
static void say(const struct trawl_encode_report *r)
{
    char cut[64] = "none cut", invalid[256] = "no invalid UTF-8", resumed[64] = "";
    uint64_t encoded = r->texts - r->resumed;
    if (r->cut)
        snprintf(cut, sizeof cut, "%" PRIu64 " cut at %zu tokens", r->cut, r->max_length);
    if (r->invalid_utf8 && r->first_invalid_line)
        snprintf(invalid, sizeof invalid, "%" PRIu64 " with invalid UTF-8 (first '%s', line %" PRIu64 ")",
                 r->invalid_utf8, r->first_invalid_id, r->first_invalid_line);
    else if (r->invalid_utf8)
        snprintf(invalid, sizeof invalid, "%" PRIu64 " with invalid UTF-8 (first '%s')", r->invalid_utf8,
                 r->first_invalid_id);
    if (r->resumed)
        snprintf(resumed, sizeof resumed, " (%" PRIu64 " from the run before)", r->resumed);
    cmd_note("%" PRIu64 " text%s%s, %" PRIu64 " token%s, %s, %" PRIu64
             " empty, %s, %.1f texts/s, %s on %s, %zu dimensions, "
             "workspace %.0f MB",
             r->texts, cmd_s(r->texts), resumed, r->tokens, cmd_s(r->tokens), cut, r->empty, invalid,
             r->seconds > 0 ? (double)encoded / r->seconds : 0.0, r->precision, r->isa, r->dims,
             (double)r->workspace_bytes / 1e6);
}

int cmd_encode(int argc, char **argv)
{
    struct trawl_encode_options options;
    struct trawl_encode_report report;
    int code;
    if (!cmd_begin(&options, "encode", argc, argv, &code))
        return code;
    enum trawl_status status = trawl_encode(&options, &report);
    if (!status)
        say(&report);
    return cmd_end(&options, "encode", status);
}
