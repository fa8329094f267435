/* SPDX-License-Identifier: Apache-2.0 */
/* test_eval_order.c - sorts, keeps the order of equals, for every length around the powers of two. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include "eval_order.h"

#define COUNT_MAX 70

struct world {
    int keys[COUNT_MAX];
};

static bool key_precedes(const void *context, size_t a, size_t b)
{
    const struct world *world = context;
    return world->keys[a] < world->keys[b];
}

static bool always_precedes(const void *context, size_t a, size_t b)
{
    (void)context;
    (void)a;
    (void)b;
    return true;
}

static void test_equal_keys_keep_their_order(void **state)
{
    (void)state;
    uint32_t random = 1;
    for (size_t count = 0; count <= COUNT_MAX; count++) {
        struct world world;
        size_t order[COUNT_MAX];
        size_t scratch[COUNT_MAX];
        for (size_t i = 0; i < count; i++) {
            random = random * 1664525 + 1013904223;
            world.keys[i] = (int)(random >> 29);
            order[i] = i;
        }
        eval_order_sort(order, count, scratch, key_precedes, &world);
        for (size_t i = 1; i < count; i++) {
            assert_true(world.keys[order[i - 1]] <= world.keys[order[i]]);
            if (world.keys[order[i - 1]] == world.keys[order[i]])
                assert_true(order[i - 1] < order[i]);
        }
    }
}

/* NaN precedes NaN: then the later comes first, as when elements are inserted one by one. */
static void test_elements_that_all_precede_each_other_are_reversed(void **state)
{
    (void)state;
    size_t order[5] = {0, 1, 2, 3, 4};
    size_t scratch[5];
    eval_order_sort(order, 5, scratch, always_precedes, NULL);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(order[i], 4 - i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_keys_keep_their_order),
        cmocka_unit_test(test_elements_that_all_precede_each_other_are_reversed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
