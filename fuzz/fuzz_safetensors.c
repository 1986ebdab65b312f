/* A safetensors file in: its tensors, and one row of each. */
#include "fuzz.h"
#include "model/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static float row[1 << 16];
    struct tensor_set set = {0};
    if (!safetensors_open(&set, fuzz_file(data, n)))
        for (size_t i = 0; i < set.n; i++) {
            const struct tensor *t = &set.items[i];
            if (t->rows && t->cols <= sizeof row / sizeof *row && tensor_read(row, &set, t, t->rows - 1, t->rows))
                continue; /* no conversion of its type */
        }
    tensor_set_release(&set);
    return 0;
}
