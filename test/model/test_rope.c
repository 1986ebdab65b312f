/* Inverse frequencies of every rope type against transformers 5.23 (ROPE_INIT_FUNCTIONS, f32). */
#include "compare.h"
#include "model/rope.h"

struct expected {
    const char *name;
    struct rope rope;
    size_t D;
    float scale, inverse[32];
};
static const struct expected cases[] = {
    {"linear",
     {.type = ROPE_LINEAR, .theta = 10000, .factor = 8},
     16,
     1.0f,
     {0.125f, 0.0395284705f, 0.0125000002f, 0.00395284733f, 0.00124999997f, 0.000395284733f, 0.000125000006f,
      3.95284733e-05f}},
    {"llama3",
     {.type = ROPE_LLAMA3, .theta = 500000, .factor = 32, .low_freq = 1, .high_freq = 4, .original_positions = 8192},
     64,
     1.0f,
     {1.0f,
      0.663601279f,
      0.440366626f,
      0.292227834f,
      0.193922758f,
      0.128687382f,
      0.0853971019f,
      0.0566696189f,
      0.0376060307f,
      0.0249554086f,
      0.0165604409f,
      0.0109895291f,
      0.00729266508f,
      0.00483942125f,
      0.00321144611f,
      0.00129054801f,
      0.000429556705f,
      9.70828623e-05f,
      1.94616387e-05f,
      1.29147675e-05f,
      8.57025589e-06f,
      5.68723226e-06f,
      3.77405445e-06f,
      2.50446715e-06f,
      1.66196742e-06f,
      1.10288363e-06f,
      7.31874934e-07f,
      4.85673127e-07f,
      3.22293289e-07f,
      2.1387423e-07f,
      1.41927202e-07f,
      9.41830649e-08f}},
    {"yarn",
     {.type = ROPE_YARN, .theta = 10000, .factor = 4, .original_positions = 1024},
     16,
     1.13862944f,
     {1.0f, 0.316227764f, 0.0812500045f, 0.0197642371f, 0.00437500002f, 0.000790569466f, 0.000250000012f,
      7.90569466e-05f}},
    {"yarn of Qwen2.5",
     {.type = ROPE_YARN, .theta = 1000000, .factor = 4, .original_positions = 32768},
     64,
     1.13862944f,
     {1.0f,
      0.649381638f,
      0.421696514f,
      0.273841977f,
      0.177827939f,
      0.115478203f,
      0.0749894157f,
      0.0486967526f,
      0.0316227786f,
      0.0205352511f,
      0.0133352149f,
      0.00865964312f,
      0.00515479548f,
      0.0030431177f,
      0.00177853031f,
      0.00102661771f,
      0.000583333371f,
      0.000324690831f,
      0.000175706868f,
      9.12806499e-05f,
      4.44569851e-05f,
      2.88695483e-05f,
      1.87473561e-05f,
      1.21741887e-05f,
      7.90569356e-06f,
      5.13381246e-06f,
      3.33380353e-06f,
      2.16491094e-06f,
      1.40585337e-06f,
      9.1293532e-07f,
      5.92843435e-07f,
      3.84981632e-07f}},
    {"yarn with every parameter",
     {.type = ROPE_YARN,
      .theta = 10000,
      .factor = 8,
      .original_positions = 512,
      .beta_fast = 16,
      .beta_slow = 2,
      .mscale = 0.7,
      .mscale_all_dim = 1.2,
      .no_truncate = 1},
     16,
     0.916791251f,
     {1.0f, 0.316227764f, 0.0716084614f, 0.00732499827f, 0.00124999997f, 0.000395284733f, 0.000125000006f,
      3.95284733e-05f}},
};

/* Powers are rounded differently in the last place, and the ramp once more. */
static void frequencies_equal_the_reference(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float inverse[32], scale;
        assert_int_equal(rope_frequencies(inverse, &scale, &cases[i].rope, cases[i].D, "'x'"), TRAWL_OK);
        assert_float_equal(scale, cases[i].scale, 1e-6f);
        for (size_t k = 0; k < cases[i].D / 2; k++)
            if (fabsf(inverse[k] - cases[i].inverse[k]) > 5e-7f * cases[i].inverse[k])
                fail_msg("%s[%zu] is %.9g, expected %.9g", cases[i].name, k, (double)inverse[k],
                         (double)cases[i].inverse[k]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(frequencies_equal_the_reference)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
