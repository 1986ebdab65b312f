/* NumPy's arrays. */
#include "fuzz.h"
#include "data/vectors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct npy a;
    struct vectors v;
    const char *path = fuzz_file(data, n);
    volatile double sum = 0;
    if (!npy_open(&a, path)) {
        for (size_t i = 0; i < a.n; i++)
            sum += npy_get(&a, i);
        npy_close(&a);
    }
    if (!vectors_open(&v, path)) {
        for (size_t i = 0; i < v.N * v.D; i++)
            sum += (double)v.rows[i];
        vectors_close(&v);
    }
    (void)sum;
    return 0;
}
