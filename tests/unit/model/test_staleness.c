/* SPDX-License-Identifier: Apache-2.0 */
/* test_staleness.c - the two NaNs. */
#include "narthex/model/staleness.h"

#include "model_support.h"

#include <math.h>

static void test_staleness_marker_is_one_exact_nan(void **state)
{
    (void)state;
    double marker = float_from_bits(STALE_NAN_BITS);
    double ordinary = float_from_bits(ORDINARY_NAN_BITS);
    assert_true(isnan(marker) && isnan(ordinary));
    assert_true(is_stale_nan(marker));
    assert_false(is_stale_nan(ordinary));
    assert_false(is_stale_nan(float_from_bits(STALE_NAN_BITS | UINT64_C(1) << 63)));
    assert_false(
        is_stale_nan(float_from_bits(STALE_NAN_BITS | UINT64_C(1) << 51))); /* made quiet */
    assert_false(is_stale_nan(0));
    assert_false(is_stale_nan((double)INFINITY));
}

static void test_staleness_bits_survive_copies(void **state)
{
    (void)state;
    volatile double copies[2] = {float_from_bits(STALE_NAN_BITS), 0};
    copies[1] = copies[0];
    assert_true(float_bits(copies[1]) == STALE_NAN_BITS);
    assert_true(float_bits(float_from_bits(ORDINARY_NAN_BITS)) == ORDINARY_NAN_BITS);
    assert_true(float_bits(-0.0) == UINT64_C(1) << 63);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_staleness_marker_is_one_exact_nan),
        cmocka_unit_test(test_staleness_bits_survive_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
