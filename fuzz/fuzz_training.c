/* Training examples of any format; what was read is written and read again. */
#include "base/buf.h"
#include "data/training.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct training *t;
    const struct training_example *e;
    struct buf out = {0};
    if (training_open(&t, fuzz_file(data, n), NULL))
        return 0;
    while (!training_next(t, &e) && e)
        if (training_append(&out, e))
            abort();
    training_close(t);
    if (out.n) {
        if (training_open(&t, fuzz_file((const uint8_t *)out.data, out.n), NULL) || training_check(t))
            abort(); /* what we write can be read */
        training_close(t);
    }
    buf_release(&out);
    return 0;
}
