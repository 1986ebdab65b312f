/* Runs a harness once over each file of the folders given, and over all their beginnings when they are small. */
#include "fuzz.h"
#include "base/file.h"
#include <string.h>

enum { SMALL = 2048 };

static void replay(const struct buf *input)
{
    for (size_t n = input->n <= SMALL ? 0 : input->n; n <= input->n; n++) {
        uint8_t *exact = malloc(n ? n : 1); /* so that a sanitizer sees a read past the end */
        if (!exact)
            abort();
        if (n)
            memcpy(exact, input->data, n);
        LLVMFuzzerTestOneInput(exact, n);
        free(exact);
    }
}

static enum trawl_status replay_folder(const char *path, size_t *n_inputs)
{
    enum trawl_status status = TRAWL_OK;
    struct buf names = {0}, input = {0};
    TRY_OUT(file_list(&names, n_inputs, path));
    const char *name = names.data;
    for (size_t i = 0; i < *n_inputs; i++, name += strlen(name) + 1) {
        char *file = file_join(path, name);
        status = file ? file_read(&input, file, 1 << 26) : TRAWL_NOMEM;
        free(file);
        if (status)
            goto out;
        replay(&input);
    }
out:
    buf_release(&names);
    buf_release(&input);
    return status;
}

int main(int argc, char **argv)
{
    printf("1..%d\n", argc - 1);
    for (int i = 1; i < argc; i++) {
        size_t n = 0;
        bool good = replay_folder(argv[i], &n) == TRAWL_OK && n > 0;
        printf("%s %d - %zu seeds of %s\n", good ? "ok" : "not ok", i, n, strrchr(argv[i], '/') + 1);
        if (!good)
            return 1;
    }
    return 0;
}
