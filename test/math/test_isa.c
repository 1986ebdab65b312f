/* The choice of the instruction set. */
#include "math/isa.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static void ref_has_no_features(void **unused)
{
    (void)unused;
    assert_int_equal(isa_select("ref"), TRAWL_OK);
    assert_int_equal(isa_level(), ISA_REF);
    assert_false(isa_has(ISA_VNNI));
    assert_string_equal(isa_name(), "ref");
}

static void unknown_name_is_refused_and_changes_nothing(void **unused)
{
    (void)unused;
    assert_int_equal(isa_select("ref"), TRAWL_OK);
    assert_int_equal(isa_select("sse9"), TRAWL_USAGE);
    assert_non_null(strstr(trawl_message(), "avx512-vnni"));
    assert_int_equal(isa_level(), ISA_REF);
}

static void base_is_avx512_without_features(void **unused)
{
    (void)unused;
    assert_int_equal(isa_select(NULL), TRAWL_OK);
    if (isa_level() != ISA_AVX512)
        skip(); /* the machine has no AVX-512 */
    assert_int_equal(isa_select("avx512-base"), TRAWL_OK);
    assert_int_equal(isa_level(), ISA_AVX512);
    assert_false(isa_has(ISA_VNNI) || isa_has(ISA_BF16) || isa_has(ISA_AMX_INT8));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ref_has_no_features),
        cmocka_unit_test(unknown_name_is_refused_and_changes_nothing),
        cmocka_unit_test(base_is_avx512_without_features),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
