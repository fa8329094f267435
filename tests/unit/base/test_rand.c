/* SPDX-License-Identifier: Apache-2.0 */
/* test_rand.c - seeded numbers repeat, bounded ones are even, ULIDs sort by time. */
#include "narthex/base/rand.h"

#include "base_support.h"

#include <string.h>

static void test_rand_generator_gives_the_published_numbers(void **state)
{
    (void)state;
    /* xoshiro256** from the state 1, 2, 3, 4: the reference values of its authors' code. */
    struct rand_state rand = {.s = {1, 2, 3, 4}};
    static const uint64_t expected[] = {11520, 0, 1509978240, 1215971899390074240};
    for (size_t i = 0; i < 4; i++)
        assert_true(rand_u64(&rand) == expected[i]);
    /* splitmix64 from 0. */
    rand_seed(&rand, 0);
    assert_true(rand.s[0] == UINT64_C(0xe220a8397b1dcdaf));
    assert_true(rand.s[1] == UINT64_C(0x6e789e6aa1b965f4));
}

static void test_rand_below_is_even_and_in_bounds(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 5);
    unsigned counts[10] = {0};
    for (int i = 0; i < 100000; i++)
        counts[rand_below(&rand, 10)]++;
    for (int i = 0; i < 10; i++)
        assert_in_range(counts[i], 9500, 10500);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(rand_below(&rand, 1), 0);
        assert_true(rand_below(&rand, UINT64_MAX) < UINT64_MAX);
        double unit = rand_unit(&rand);
        assert_true(unit >= 0 && unit < 1);
    }
}

static void test_rand_bytes_fill_everything(void **state)
{
    (void)state;
    unsigned char seen[1000] = {0};
    for (int round = 0; round < 8; round++) {
        unsigned char bytes[1000];
        rand_bytes(bytes, sizeof(bytes));
        for (size_t i = 0; i < sizeof(bytes); i++)
            seen[i] |= bytes[i];
    }
    for (size_t i = 0; i < sizeof(seen); i++)
        assert_int_not_equal(seen[i], 0);
}

static void test_rand_ulid_sorts_by_time_and_is_unique(void **state)
{
    (void)state;
    char a[ULID_TEXT_LEN + 1];
    char b[ULID_TEXT_LEN + 1];
    ulid_new(a, 1469918176385);
    assert_int_equal(strlen(a), ULID_TEXT_LEN);
    assert_int_equal(strncmp(a, "01ARYZ6S41", 10), 0); /* the example of the specification */
    assert_int_equal(strspn(a, "0123456789ABCDEFGHJKMNPQRSTVWXYZ"), ULID_TEXT_LEN);
    ulid_new(b, 1469918176385);
    assert_string_not_equal(a, b);
    ulid_new(b, 1469918176386);
    assert_true(strcmp(a, b) < 0);
    ulid_new(b, (INT64_C(1) << 48) - 1);
    assert_int_equal(strncmp(b, "7ZZZZZZZZZ", 10), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rand_generator_gives_the_published_numbers),
        cmocka_unit_test(test_rand_below_is_even_and_in_bounds),
        cmocka_unit_test(test_rand_bytes_fill_everything),
        cmocka_unit_test(test_rand_ulid_sorts_by_time_and_is_unique),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
