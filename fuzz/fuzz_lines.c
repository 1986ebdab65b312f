/* Plain, gzip and zstd lines. */
#include "fuzz.h"
#include "base/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct line_reader *r;
    const char *line;
    size_t length, total = 0;
    if (line_reader_open(&r, fuzz_file(data, n)))
        return 0;
    while (total < 1 << 24 && !line_next(r, &line, &length) && line)
        total += length + 1;
    line_reader_close(r);
    return 0;
}
