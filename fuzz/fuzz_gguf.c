/* A GGUF file in: configuration, tensors by role, tokenizer; every tensor that a model needs is then read. */
#include "fuzz.h"
#include "model/model_int.h"

static void read_all(const struct source *s)
{
    static float row[1 << 16];
    for (int tensor = 0; tensor < NN_T_COUNT; tensor++) {
        size_t rows, cols;
        bool per_layer;
        nn_tensor_shape(&s->config.nn, (enum nn_tensor)tensor, &rows, &cols, &per_layer);
        if (cols > 1 << 16 || !s->nn.has(s->nn.ctx, 0, (enum nn_tensor)tensor))
            continue;
        for (size_t r = 0; r < rows; r += rows / 3 + 1)
            if (s->nn.read(s->nn.ctx, row, 0, (enum nn_tensor)tensor, r, r + 1))
                return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct tensor_set set = {0};
    struct gguf g;
    struct model_config config;
    struct source source;
    struct tokenizer *tokenizer;
    char *template = NULL;
    if (!gguf_open(&g, &set, fuzz_file(data, n))) {
        if (!config_from_gguf(&config, &g, &set) &&
            !source_init(&source, &config, &set, config.family->gguf_names, NULL, "'input'")) {
            read_all(&source);
            source_release(&source);
        }
        if (!tokenizer_of_gguf(&tokenizer, &g))
            tokenizer_free(tokenizer);
        if (!template_of_gguf(&template, &g))
            free(template);
        gguf_release(&g);
    }
    tensor_set_release(&set);
    return 0;
}
