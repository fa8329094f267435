/* SPDX-License-Identifier: Apache-2.0 */
/* test_token_bucket.c - a burst of a minute, then the rate, however time passes. */
#include "narthex/base/clock.h"
#include "narthex/base/token_bucket.h"

#include "base_support.h"

static unsigned take_all(struct token_bucket *bucket, const struct clock *clock)
{
    unsigned taken = 0;
    while (taken < 100000 && token_bucket_take(bucket, clock_mono_ns(clock)))
        taken++;
    return taken;
}

static void test_token_bucket_gives_a_minute_at_once_and_then_the_rate(void **state)
{
    (void)state;
    struct clock_manual manual;
    struct token_bucket bucket;
    clock_manual_init(&manual, 1700000000000);
    token_bucket_init(&bucket, 600);
    assert_int_equal(take_all(&bucket, &manual.clock), 600);
    assert_int_equal(take_all(&bucket, &manual.clock), 0);
    clock_manual_advance(&manual, 99);
    assert_int_equal(take_all(&bucket, &manual.clock), 0);
    clock_manual_advance(&manual, 1);
    assert_int_equal(take_all(&bucket, &manual.clock), 1);
    clock_manual_advance(&manual, 30000);
    assert_int_equal(take_all(&bucket, &manual.clock), 300);
}

static void test_token_bucket_holds_no_more_than_a_minute(void **state)
{
    (void)state;
    struct clock_manual manual;
    struct token_bucket bucket;
    clock_manual_init(&manual, 1700000000000);
    token_bucket_init(&bucket, 100);
    clock_manual_advance(&manual, 3600000);
    assert_int_equal(take_all(&bucket, &manual.clock), 100);
    clock_manual_advance(&manual, 3600000);
    assert_int_equal(take_all(&bucket, &manual.clock), 100);
}

static void test_token_bucket_of_one_and_of_none(void **state)
{
    (void)state;
    struct clock_manual manual;
    struct token_bucket bucket;
    clock_manual_init(&manual, 1700000000000);
    token_bucket_init(&bucket, 1);
    assert_int_equal(take_all(&bucket, &manual.clock), 1);
    clock_manual_advance(&manual, 59999);
    assert_int_equal(take_all(&bucket, &manual.clock), 0);
    clock_manual_advance(&manual, 1);
    assert_int_equal(take_all(&bucket, &manual.clock), 1);
    token_bucket_init(&bucket, 0);
    assert_int_equal(take_all(&bucket, &manual.clock), 100000);
    token_bucket_init(&bucket, UINT64_MAX);
    assert_int_equal(take_all(&bucket, &manual.clock), 100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_token_bucket_gives_a_minute_at_once_and_then_the_rate),
        cmocka_unit_test(test_token_bucket_holds_no_more_than_a_minute),
        cmocka_unit_test(test_token_bucket_of_one_and_of_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
