/* SPDX-License-Identifier: Apache-2.0 */
/* test_zstd_block.c - frames there and back, exact sizes only, contexts of many threads. */
#include "narthex/base/mem.h"
#include "narthex/base/rand.h"
#include "narthex/base/thread.h"
#include "narthex/codec/zstd_block.h"

#include "codec_support.h"

static void fill(struct nx_buf *raw, size_t size, uint64_t seed)
{
    struct rand_state rand;
    rand_seed(&rand, seed);
    nx_buf_reset(raw);
    for (size_t i = 0; i < size; i++)
        nx_buf_append_byte(raw, (uint8_t)(rand_u64(&rand) % 7));
}

/* True when `size` bytes of `seed` come back through level `level`, and through nothing else. */
static bool round_trips(size_t size, int level, uint64_t seed)
{
    struct nx_buf raw = {0};
    struct nx_buf packed = {0};
    fill(&raw, size, seed);
    nx_buf_append_byte(&packed, 0xaa);
    size_t bytes = zstd_pack(nx_buf_bytes(&raw), level, &packed);
    bool is_good = packed.len == bytes + 1 && packed.data[0] == 0xaa;
    struct nx_bytes frame = {packed.data + 1, bytes};
    uint8_t *out = nx_alloc(size + 1);
    is_good = is_good && zstd_unpack(frame, out, size) == NX_OK;
    is_good = is_good && (size == 0 || memcmp(out, raw.data, size) == 0);
    is_good = is_good && zstd_unpack(frame, out, size + 1) == NX_E_CORRUPT;
    if (size != 0)
        is_good = is_good && zstd_unpack(frame, out, size - 1) == NX_E_CORRUPT;
    nx_free(out);
    nx_buf_deinit(&raw);
    nx_buf_deinit(&packed);
    return is_good;
}

static void test_zstd_round_trips_at_each_size(void **state)
{
    (void)state;
    for (size_t size = 0; size < 400000; size = size * 4 + 1)
        for (int level = 1; level <= 3; level += 2)
            assert_true(round_trips(size, level, size));
}

static void test_zstd_cut_or_doubled_frames_are_corrupt(void **state)
{
    (void)state;
    struct nx_buf raw = {0};
    struct nx_buf packed = {0};
    uint8_t out[2000];
    fill(&raw, 1000, 3);
    size_t bytes = zstd_pack(nx_buf_bytes(&raw), 1, &packed);
    for (size_t cut = 0; cut < bytes; cut++)
        assert_int_equal(zstd_unpack((struct nx_bytes){packed.data, cut}, out, 1000), NX_E_CORRUPT);
    zstd_pack(nx_buf_bytes(&raw), 1, &packed);
    assert_int_equal(zstd_unpack(nx_buf_bytes(&packed), out, 1000), NX_E_CORRUPT);
    assert_int_equal(zstd_unpack(nx_buf_bytes(&packed), out, 2000), NX_E_CORRUPT);
    nx_buf_deinit(&raw);
    nx_buf_deinit(&packed);
}

static void test_zstd_damage_never_writes_beyond_the_output(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 5);
    struct nx_buf raw = {0};
    struct nx_buf packed = {0};
    fill(&raw, 3000, 9);
    zstd_pack(nx_buf_bytes(&raw), 1, &packed);
    for (int trial = 0; trial < 2000; trial++) {
        uint8_t out[3001];
        out[3000] = 0x5a;
        size_t at = rand_below(&rand, packed.len);
        uint8_t was = packed.data[at];
        packed.data[at] ^= (uint8_t)(1 + rand_below(&rand, 255));
        nx_ignore(zstd_unpack(nx_buf_bytes(&packed), out, 3000));
        assert_int_equal(out[3000], 0x5a);
        packed.data[at] = was;
    }
    nx_buf_deinit(&raw);
    nx_buf_deinit(&packed);
}

static void pack_on_a_thread(void *argument)
{
    bool *out_good = argument;
    *out_good = round_trips(50000, 1, 21) && round_trips(10, 1, 22);
}

static void test_zstd_contexts_belong_to_their_threads(void **state)
{
    (void)state;
    struct nx_thread threads[4];
    bool is_good[4] = {false};
    struct nx_err err = {0};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(thread_start(&threads[i], "zstd", pack_on_a_thread, &is_good[i], &err),
                         NX_OK);
    for (size_t i = 0; i < 4; i++) {
        thread_join(&threads[i]);
        assert_true(is_good[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zstd_round_trips_at_each_size),
        cmocka_unit_test(test_zstd_cut_or_doubled_frames_are_corrupt),
        cmocka_unit_test(test_zstd_damage_never_writes_beyond_the_output),
        cmocka_unit_test(test_zstd_contexts_belong_to_their_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
