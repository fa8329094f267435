/* SPDX-License-Identifier: Apache-2.0 */
/* test_head_memory.c - vectors that do not move, pools, chunks that die together. */
#include "head_memory.h"
#include "head_support.h"

#include <string.h>

static void test_segvec_items_are_zeroed_apart_and_do_not_move(void **state)
{
    (void)state;
    struct segvec vec;
    segvec_init(&vec, 24);
    static const uint32_t indexes[] = {0, 255, 256, 767, 768, 1791, 1792, 100000, 5000000};
    uint8_t *items[NX_ARRAY_LEN(indexes)];
    for (size_t i = 0; i < NX_ARRAY_LEN(indexes); i++) {
        segvec_ensure(&vec, indexes[i]);
        items[i] = segvec_at(&vec, indexes[i], 24);
        for (size_t k = 0; k < 24; k++)
            assert_int_equal(items[i][k], 0);
        memset(items[i], (int)i + 1, 24);
    }
    for (size_t i = 0; i < NX_ARRAY_LEN(indexes); i++) {
        assert_ptr_equal(segvec_at(&vec, indexes[i], 24), items[i]);
        assert_int_equal(items[i][23], i + 1);
    }
    assert_false(segvec_has(&vec, 4000));
    segvec_deinit(&vec);
    segvec_deinit(&vec);
}

static void test_segvec_segments_follow_each_other(void **state)
{
    (void)state;
    uint32_t expected = 0;
    for (unsigned segment = 0; segment < 20; segment++) {
        assert_int_equal(segvec_first(segment), expected);
        assert_int_equal(segvec_segment(expected), segment);
        expected += 256u << segment;
        assert_int_equal(segvec_segment(expected - 1), segment);
    }
}

static void test_head_pool_objects_are_apart_and_reused(void **state)
{
    (void)state;
    enum { OBJECTS = 5000 };
    struct head_pool pool = {0};
    struct rand_state rand;
    uint8_t **objects = nx_calloc(OBJECTS, sizeof(*objects));
    size_t *sizes = nx_calloc(OBJECTS, sizeof(*sizes));
    rand_seed(&rand, 5);
    for (int step = 0; step < 60000; step++) {
        size_t i = rand_below(&rand, OBJECTS);
        if (objects[i] != NULL) {
            for (size_t k = 0; k < sizes[i]; k++)
                assert_int_equal(objects[i][k], (uint8_t)i);
            head_pool_free(&pool, objects[i], sizes[i]);
            objects[i] = NULL;
            continue;
        }
        sizes[i] = rand_below(&rand, 50) == 0 ? rand_below(&rand, 3000) : rand_below(&rand, 100);
        objects[i] = head_pool_alloc(&pool, sizes[i]);
        assert_int_equal((uintptr_t)objects[i] % 8, 0);
        memset(objects[i], (int)(uint8_t)i, sizes[i]);
    }
    uint64_t bytes = pool.bytes;
    assert_true(bytes < 2000000);
    for (size_t i = 0; i < OBJECTS; i++) {
        if (objects[i] != NULL)
            head_pool_free(&pool, objects[i], sizes[i]);
    }
    assert_true(pool.bytes <= bytes);
    void *first = head_pool_alloc(&pool, 40);
    head_pool_free(&pool, first, 40);
    assert_ptr_equal(head_pool_alloc(&pool, 33), first);
    head_pool_deinit(&pool);
    nx_free(objects);
    nx_free(sizes);
}

static void test_stream_store_gives_blocks_back_and_reuses_numbers(void **state)
{
    (void)state;
    struct stream_store store;
    struct stream_arena sealed = {0};
    struct stream_arena open = {0};
    stream_store_init(&store);
    uint32_t refs[2000];
    for (uint32_t i = 0; i < 2000; i++) {
        refs[i] = stream_store_alloc(&store, i % 2 ? &open : &sealed, 100 + i % 300);
        assert_true(refs[i] != 0);
        struct stream_chunk *chunk = stream_store_chunk(&store, refs[i]);
        assert_true(chunk->cap >= 100 + i % 300 && chunk->used == 0);
        memset(chunk->data, (int)(uint8_t)i, chunk->cap);
    }
    for (uint32_t i = 0; i < 2000; i++) {
        struct stream_chunk *chunk = stream_store_chunk(&store, refs[i]);
        assert_int_equal(chunk->data[0], (uint8_t)i);
        assert_int_equal(chunk->data[chunk->cap - 1], (uint8_t)i);
    }
    uint64_t bytes = store.bytes;
    uint32_t blocks = store.block_count;
    uint32_t sealed_blocks = sealed.count;
    stream_store_release(&store, &sealed, 1);
    assert_int_equal(store.bytes, bytes - (sealed_blocks - 1) * (uint64_t)STREAM_BLOCK_BYTES);
    for (uint32_t i = 1; i < 2000; i += 2)
        assert_int_equal(stream_store_chunk(&store, refs[i])->data[0], (uint8_t)i);
    for (uint32_t i = 0; i < sealed_blocks; i++)
        stream_store_alloc(&store, &sealed, 4000);
    assert_int_equal(store.block_count, blocks);
    stream_arena_join(&open, &sealed);
    assert_int_equal(sealed.count, 0);
    stream_store_release(&store, &open, 0);
    assert_int_equal(store.bytes, 0);
    stream_store_deinit(&store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_segvec_items_are_zeroed_apart_and_do_not_move),
        cmocka_unit_test(test_segvec_segments_follow_each_other),
        cmocka_unit_test(test_head_pool_objects_are_apart_and_reused),
        cmocka_unit_test(test_stream_store_gives_blocks_back_and_reuses_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
