/* SPDX-License-Identifier: Apache-2.0 */
/* test_clock.c - the real clock goes forward, the manual one goes when told. */
#include "narthex/base/clock.h"

#include "base_support.h"

#include <time.h>

static void test_clock_real_agrees_with_the_system(void **state)
{
    (void)state;
    const struct clock *clock = clock_real();
    int64_t before = (int64_t)time(NULL) * 1000;
    int64_t wall = clock_wall_ms(clock);
    assert_true(wall >= before - 1000 && wall <= before + 60000);
    uint64_t first = clock_mono_ns(clock);
    assert_true(clock_mono_ns(clock) >= first);
}

static void test_clock_manual_moves_both_times(void **state)
{
    (void)state;
    struct clock_manual manual;
    clock_manual_init(&manual, 1000);
    assert_int_equal(clock_wall_ms(&manual.clock), 1000);
    uint64_t ns = clock_mono_ns(&manual.clock);
    assert_int_equal(clock_mono_ns(&manual.clock), ns);
    clock_manual_advance(&manual, 250);
    assert_int_equal(clock_wall_ms(&manual.clock), 1250);
    assert_int_equal(clock_mono_ns(&manual.clock) - ns, 250000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock_real_agrees_with_the_system),
        cmocka_unit_test(test_clock_manual_moves_both_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
