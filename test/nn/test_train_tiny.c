/*
 * Losses and gradients of every parameter of every family, and of LoRA updates, against values computed outside in
 * float64 by automatic differentiation. Tolerance of the values' own README: per tensor 2e-4 of the largest entry +
 * 1e-6.
 */
#include "tiny.h"
#include "math/isa.h"
#include "nn/train.h"

static const char *const archs[] = {"llama", "llama3", "mistral", "qwen2", "qwen3", "gemma3_text", "bert"};
enum { N_ARCHS = sizeof archs / sizeof *archs, SEQUENCES = 3 };

struct safetensors {
    char *file;
    const char *data;
    json_t *header;
};

static struct safetensors safetensors_open(const char *arch, const char *name)
{
    char path[1024];
    size_t n;
    uint64_t head;
    struct safetensors s;
    tiny_path(path, arch, name);
    s.file = tiny_slurp(path, &n);
    memcpy(&head, s.file, 8);
    s.header = json_loadb(s.file + 8, head, 0, NULL);
    s.data = s.file + 8 + head;
    assert_non_null(s.header);
    return s;
}

static void safetensors_close(struct safetensors *s)
{
    json_decref(s->header);
    free(s->file);
}

static const float *safetensors_get(const struct safetensors *s, const char *name)
{
    json_t *entry = json_object_get(s->header, name);
    if (!entry)
        fail_msg("no tensor %s among the expected values", name);
    return (const float *)(s->data + json_integer_value(json_array_get(json_object_get(entry, "data_offsets"), 0)));
}

/* Loss of sequence k from a table with a header: seq, length, loss (or dot). */
static double expected_loss(const char *arch, const char *name, int k)
{
    char path[1024];
    size_t n;
    tiny_path(path, arch, name);
    char *text = tiny_slurp(path, &n), *line = text, *end;
    for (int i = 0; i <= k; i++) {
        line = strchr(line, '\n');
        assert_non_null(line);
        line++;
    }
    end = strchr(line, '\n');
    if (end)
        *end = 0;
    double loss = atof(strrchr(line, '\t') + 1);
    free(text);
    return loss;
}

static void assert_gradient(const float *got, const float *want, size_t n, const char *what)
{
    double top = 0, worst = 0;
    for (size_t i = 0; i < n; i++) {
        top = fmax(top, fabs((double)want[i]));
        worst = fmax(worst, isfinite(got[i]) ? fabs((double)got[i] - (double)want[i]) : INFINITY);
    }
    if (getenv("TRAWL_TEST_VERBOSE"))
        print_message("%s: worst %.2g of %.3g\n", what, worst, top);
    if (!(worst <= 2e-4 * top + 1e-6))
        fail_msg("%s: differs by %g where the largest gradient is %g", what, worst, top);
}

/* Gradient of sum(mean over tokens * fixed vector) at each token; the loss. */
static double fixed_vector_loss(const char *arch, float *d_hidden, const float *hidden, size_t T, size_t C)
{
    char path[1024];
    size_t n;
    double loss = 0;
    tiny_path(path, arch, "fixed_vector.npy");
    float *fixed = tiny_npy(path, &n);
    assert_int_equal(n, C);
    for (size_t i = 0; i < T * C; i++) {
        d_hidden[i] = fixed[i % C] / (float)T;
        loss += (double)hidden[i] * (double)d_hidden[i];
    }
    free(fixed);
    return loss;
}

static void step(struct nn_train *train, const struct tiny *t, const char *arch, const char *losses, int k)
{
    size_t T, C = t->config.C;
    uint8_t *types;
    uint32_t *ids = tiny_ids(arch, k, &T, &types), begin[2] = {0, (uint32_t)T};
    float *hidden = malloc(T * C * sizeof *hidden), *d_hidden = malloc(T * C * sizeof *hidden);
    struct nn_batch batch = {.ids = ids, .types = types, .begin = begin, .B = 1, .attention = NN_CAUSAL};
    struct nn_params p = nn_train_params(train);
    double loss;
    memset(p.grads, 0, p.n * sizeof *p.grads);
    assert_int_equal(nn_train_forward(train, hidden, &batch, 0), TRAWL_OK);
    if (t->bert)
        loss = fixed_vector_loss(arch, d_hidden, hidden, T, C);
    else
        assert_int_equal(nn_train_next_token(train, &loss, d_hidden, hidden, &batch), TRAWL_OK);
    double want = expected_loss(arch, losses, k);
    if (!(fabs(loss - want) <= 1e-5 * fmax(1, fabs(want))))
        fail_msg("%s seq%d: loss %.9g, expected %.9g", arch, k, loss, want);
    assert_int_equal(nn_train_backward(train, d_hidden), TRAWL_OK);
    free(ids), free(types), free(hidden), free(d_hidden);
}

static void check_family(const char *arch, bool checkpoint)
{
    struct tiny t;
    struct nn_train *train;
    char name[64], tensor[128], what[256];
    tiny_open(&t, arch);
    struct nn_train_options options = {.precision = NN_F32, .checkpoint = checkpoint, .tokens_max = 500};
    if (nn_train_new(&train, &t.source, &options))
        fail_msg("%s: %s", arch, trawl_message());
    for (int k = 0; k < SEQUENCES; k++) {
        step(train, &t, arch, "loss.tsv", k);
        snprintf(name, sizeof name, "seq%d.grads.safetensors", k);
        struct safetensors want = safetensors_open(arch, name);
        struct nn_params p = nn_train_params(train);
        assert_int_equal(p.n_table,
                         json_object_size(want.header) - (json_object_get(want.header, "__metadata__") != NULL));
        for (size_t i = 0; i < p.n_table; i++) {
            const struct nn_param *row = &p.table[i];
            tiny_name(&t, row->layer, row->tensor, tensor);
            snprintf(what, sizeof what, "%s seq%d %s", arch, k, tensor);
            assert_gradient(p.grads + row->offset, safetensors_get(&want, tensor), row->rows * row->cols, what);
        }
        safetensors_close(&want);
    }
    nn_train_free(train);
    tiny_close(&t);
}

static void every_family_has_the_gradients_of_float64(void **state)
{
    (void)state;
    for (size_t a = 0; a < N_ARCHS; a++)
        check_family(archs[a], false);
}

static void recomputing_has_them_too(void **state)
{
    (void)state;
    for (size_t a = 0; a < N_ARCHS; a++)
        check_family(archs[a], true);
}

static void every_instruction_set_has_them(void **state)
{
    (void)state;
    static const char *const levels[] = {"ref", "avx2", "avx512-base"};
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        for (size_t a = 0; a < N_ARCHS && isa_select(levels[i]) == TRAWL_OK; a++)
            check_family(archs[a], false);
    assert_int_equal(isa_select(NULL), TRAWL_OK);
}

/* PEFT's name of one half of an update. */
static void peft_name(const struct tiny *t, const struct nn_param *row, char out[256])
{
    char tensor[128];
    tiny_name(t, row->layer, row->tensor, tensor);
    *strstr(tensor, ".weight") = 0;
    snprintf(out, 256, "base_model.model.%s.lora_%c.weight", tensor, row->part == NN_LORA_A ? 'A' : 'B');
}

static void lora_has_the_gradients_of_float64(void **state)
{
    (void)state;
    struct tiny t;
    struct nn_train *train;
    char name[256], what[300], path[1024];
    tiny_open(&t, "llama");
    tiny_path(path, "llama", "lora/adapter_config.json");
    json_t *config = json_load_file(path, 0, NULL);
    assert_non_null(config);
    struct nn_lora lora = {.rank = tiny_count(config, "r", 0), .alpha = tiny_number(config, "lora_alpha", 0)};
    static const struct {
        const char *name;
        enum nn_tensor tensor;
    } targets[] = {{"q_proj", NN_T_Q},       {"k_proj", NN_T_K},   {"v_proj", NN_T_V},      {"o_proj", NN_T_O},
                   {"gate_proj", NN_T_GATE}, {"up_proj", NN_T_UP}, {"down_proj", NN_T_DOWN}};
    json_t *list = json_object_get(config, "target_modules");
    for (size_t i = 0; i < json_array_size(list); i++)
        for (size_t j = 0; j < sizeof targets / sizeof *targets; j++)
            if (!strcmp(json_string_value(json_array_get(list, i)), targets[j].name))
                lora.targets |= 1u << targets[j].tensor;
    struct nn_train_options options = {.precision = NN_F32, .lora = &lora, .tokens_max = 500};
    assert_int_equal(nn_train_new(&train, &t.source, &options), TRAWL_OK);
    struct safetensors adapter = safetensors_open("llama", "lora/adapter_model.safetensors");
    struct nn_params p = nn_train_params(train);
    assert_int_equal(p.n_table,
                     json_object_size(adapter.header) - (json_object_get(adapter.header, "__metadata__") != NULL));
    for (size_t i = 0; i < p.n_table; i++) {
        peft_name(&t, &p.table[i], name);
        memcpy(p.values + p.table[i].offset, safetensors_get(&adapter, name),
               p.table[i].rows * p.table[i].cols * sizeof *p.values);
    }
    assert_int_equal(nn_train_update(train), TRAWL_OK);
    for (int k = 0; k < SEQUENCES; k++) {
        step(train, &t, "llama", "lora/loss.tsv", k);
        snprintf(name, sizeof name, "lora/seq%d.grads.safetensors", k);
        struct safetensors want = safetensors_open("llama", name);
        for (size_t i = 0; i < p.n_table; i++) {
            peft_name(&t, &p.table[i], name);
            snprintf(what, sizeof what, "seq%d %s", k, name);
            assert_gradient(p.grads + p.table[i].offset, safetensors_get(&want, name),
                            p.table[i].rows * p.table[i].cols, what);
        }
        safetensors_close(&want);
    }
    safetensors_close(&adapter);
    json_decref(config);
    nn_train_free(train);
    tiny_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_family_has_the_gradients_of_float64),
        cmocka_unit_test(recomputing_has_them_too),
        cmocka_unit_test(every_instruction_set_has_them),
        cmocka_unit_test(lora_has_the_gradients_of_float64),
    };
    return cmocka_run_group_tests_name("nn/train_tiny", tests, NULL, NULL);
}
