/* SPDX-License-Identifier: Apache-2.0 */
/* test_arena.c - regions: content, alignment, budget, marks, growth, poison. */
#include "narthex/base/arena.h"
#include "narthex/base/rand.h"

#include "base_support.h"

#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
# include <sanitizer/asan_interface.h>
#endif

static void test_arena_allocations_are_aligned_and_apart(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 0);
    struct rand_state rand;
    rand_seed(&rand, 1);
    enum { COUNT = 3000 };
    static unsigned char *pieces[COUNT];
    static size_t sizes[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        sizes[i] = rand_below(&rand, i % 100 == 0 ? 600000 : 300);
        pieces[i] = arena_alloc(&arena, sizes[i]);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % 16, 0);
        memset(pieces[i], (int)(i % 251), sizes[i]);
    }
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t j = 0; j < sizes[i]; j++)
            assert_int_equal(pieces[i][j], i % 251);
    }
    arena_deinit(&arena);
    assert_int_equal(arena_usage(&arena), 0);
    arena_deinit(&arena);
}

static void test_arena_zero_bytes_give_unique_pointers(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 0);
    void *a = arena_alloc(&arena, 0);
    void *b = arena_alloc(&arena, 0);
    assert_non_null(a);
    assert_non_null(b);
    assert_ptr_not_equal(a, b);
    arena_deinit(&arena);
}

static void test_arena_budget_is_kept_and_exhaustion_is_sticky(void **state)
{
    (void)state;
    struct arena arena;
    size_t budget = 200000;
    arena_init(&arena, budget);
    size_t got = 0;
    while (arena_alloc(&arena, 1000) != NULL) {
        got += 1000;
        assert_true(arena_usage(&arena) <= budget);
    }
    assert_true(got > budget * 3 / 4);
    assert_true(arena_is_exhausted(&arena));
    assert_null(arena_alloc(&arena, 1));
    assert_null(arena_calloc(&arena, 1, 1));
    assert_null(arena_copy(&arena, "x", 1));
    assert_null(arena_grow(&arena, NULL, 0, 1));
    assert_int_equal(arena_strdup(&arena, NX_STR("x")).len, 0);
    assert_int_equal(arena_printf(&arena, "%d", 1).len, 0);
    arena_reset(&arena);
    assert_false(arena_is_exhausted(&arena));
    assert_non_null(arena_alloc(&arena, 1));
    arena_deinit(&arena);
}

static void test_arena_absurd_sizes_exhaust_it(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 1 << 20);
    assert_null(arena_alloc(&arena, SIZE_MAX));
    arena_reset(&arena);
    assert_null(arena_calloc(&arena, SIZE_MAX / 2, 3));
    arena_reset(&arena);
    assert_null(arena_alloc(&arena, SIZE_MAX / 4 + 1));
    arena_reset(&arena);
    void *small = arena_alloc(&arena, 10);
    assert_null(arena_grow(&arena, small, 10, SIZE_MAX - 3));
    assert_true(arena_is_exhausted(&arena));
    arena_deinit(&arena);
}

static void test_arena_reset_keeps_one_block(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 0);
    arena_alloc(&arena, 100);
    size_t first = arena_usage(&arena);
    for (int i = 0; i < 1000; i++)
        arena_alloc(&arena, 5000);
    arena_alloc(&arena, 5 << 20);
    assert_true(arena_usage(&arena) > first);
    arena_reset(&arena);
    assert_int_equal(arena_usage(&arena), first);
    memset(arena_alloc(&arena, 10000), 1, 10000);
    assert_int_equal(arena_usage(&arena), first);
    arena_deinit(&arena);
}

static void test_arena_large_piece_leaves_the_region_usable(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 0);
    char *before = arena_alloc(&arena, 16);
    arena_alloc(&arena, 2 << 20);
    char *after = arena_alloc(&arena, 16);
    assert_true(after > before && after - before <= 64);
    arena_deinit(&arena);
}

static void test_arena_copies_text_and_prints(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 0);
    struct nx_str copy = arena_strdup(&arena, (struct nx_str){.data = "abcdef", .len = 3});
    assert_string_equal(copy.data, "abc");
    assert_int_equal(arena_strdup(&arena, (struct nx_str){0}).len, 0);
    assert_string_equal(arena_printf(&arena, "%s=%d", "x", 5).data, "x=5");
    struct nx_str wide = arena_printf(&arena, "%5000d", 1);
    assert_int_equal(wide.len, 5000);
    assert_int_equal(wide.data[4999], '1');
    int *zeroed = arena_calloc(&arena, 100, sizeof(int));
    for (int i = 0; i < 100; i++)
        assert_int_equal(zeroed[i], 0);
    arena_deinit(&arena);
}

static void test_arena_grow_keeps_content_in_place_and_moved(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 0);
    size_t bytes = 1;
    unsigned char *array = arena_grow(&arena, NULL, 0, bytes);
    array[0] = 0;
    struct rand_state rand;
    rand_seed(&rand, 2);
    while (bytes < 4000000) {
        if (rand_below(&rand, 3) == 0)
            arena_alloc(&arena, 10); /* what was last is last no more */
        size_t more = bytes + 1 + rand_below(&rand, bytes);
        array = arena_grow(&arena, array, bytes, more);
        assert_non_null(array);
        for (size_t i = bytes; i < more; i++)
            array[i] = (unsigned char)(i * 7);
        bytes = more;
        for (size_t i = 1; i < bytes; i += 1 + i / 64)
            assert_int_equal(array[i], (unsigned char)(i * 7));
    }
    arena_deinit(&arena);
}

static void test_arena_grow_of_the_last_piece_stays_in_place(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 0);
    char *array = arena_alloc(&arena, 16);
    assert_ptr_equal(arena_grow(&arena, array, 16, 4000), array);
    assert_ptr_equal(arena_grow(&arena, array, 4000, 100), array);
    arena_deinit(&arena);
}

static void test_arena_grow_of_a_large_piece_stays_within_the_budget(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 10 << 20);
    size_t bytes = 1 << 20;
    void *array = arena_alloc(&arena, bytes);
    while (bytes < (8u << 20)) {
        array = arena_grow(&arena, array, bytes, bytes + (1 << 20));
        assert_non_null(array);
        bytes += 1 << 20;
    }
    assert_true(arena_usage(&arena) < (9u << 20));
    assert_null(arena_grow(&arena, array, bytes, 11 << 20));
    assert_true(arena_is_exhausted(&arena));
    arena_deinit(&arena);
}

static void test_arena_rewind_gives_back_what_came_after_the_mark(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 0);
    struct rand_state rand;
    rand_seed(&rand, 3);
    struct arena_mark empty = arena_mark(&arena);
    for (int round = 0; round < 50; round++) {
        char *kept = arena_alloc(&arena, 100);
        memset(kept, 'k', 100);
        size_t usage = arena_usage(&arena);
        struct arena_mark mark = arena_mark(&arena);
        char *next = arena_alloc(&arena, 8);
        for (int i = 0; i < 100; i++)
            arena_alloc(&arena, rand_below(&rand, i % 10 == 0 ? 700000 : 3000));
        arena_rewind(&arena, mark);
        assert_int_equal(arena_usage(&arena), usage);
        assert_ptr_equal(arena_alloc(&arena, 8), next);
        for (int i = 0; i < 100; i++)
            assert_int_equal(kept[i], 'k');
        if (round % 10 == 5)
            arena_alloc(&arena, 500000); /* a large block is newest at the next mark */
    }
    arena_rewind(&arena, empty);
    assert_int_equal(arena_usage(&arena), 0);
    arena_alloc(&arena, 1);
    arena_deinit(&arena);
}

static void test_arena_unused_bytes_are_poisoned(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__)
    struct arena arena;
    arena_init(&arena, 0);
    char *piece = arena_alloc(&arena, 32);
    assert_false(__asan_address_is_poisoned(piece + 31));
    assert_true(__asan_address_is_poisoned(piece + 32));
    struct arena_mark mark = arena_mark(&arena);
    char *later = arena_alloc(&arena, 10);
    assert_false(__asan_address_is_poisoned(later + 9));
    assert_true(__asan_address_is_poisoned(later + 10));
    arena_rewind(&arena, mark);
    assert_true(__asan_address_is_poisoned(later));
    arena_reset(&arena);
    assert_true(__asan_address_is_poisoned(piece));
    arena_deinit(&arena);
#else
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arena_allocations_are_aligned_and_apart),
        cmocka_unit_test(test_arena_zero_bytes_give_unique_pointers),
        cmocka_unit_test(test_arena_budget_is_kept_and_exhaustion_is_sticky),
        cmocka_unit_test(test_arena_absurd_sizes_exhaust_it),
        cmocka_unit_test(test_arena_reset_keeps_one_block),
        cmocka_unit_test(test_arena_large_piece_leaves_the_region_usable),
        cmocka_unit_test(test_arena_copies_text_and_prints),
        cmocka_unit_test(test_arena_grow_keeps_content_in_place_and_moved),
        cmocka_unit_test(test_arena_grow_of_the_last_piece_stays_in_place),
        cmocka_unit_test(test_arena_grow_of_a_large_piece_stays_within_the_budget),
        cmocka_unit_test(test_arena_rewind_gives_back_what_came_after_the_mark),
        cmocka_unit_test(test_arena_unused_bytes_are_poisoned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
