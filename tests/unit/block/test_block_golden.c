/* SPDX-License-Identifier: Apache-2.0 */
/* test_block_golden.c - a block of format 1 as it was written once, and what is in it.
 *
 * NARTHEX_GOLDEN_WRITE=1 writes tests/golden/block_v1 anew: only together with a new format version.
 */
#include "narthex/base/hash.h"

#include "tests/unit/block/block_support.h"

#include <stdlib.h>

#define GOLDEN_SERIES  40u
#define GOLDEN_SAMPLES 600u
#define GOLDEN_START   1700000000000

/* All from small integers: nothing depends on a generator. */
static void make_model(struct model *model)
{
    *model = (struct model){.count = GOLDEN_SERIES};
    arena_init(&model->arena, 0);
    model->series = arena_calloc(&model->arena, GOLDEN_SERIES, sizeof(*model->series));
    for (unsigned s = 0; s < GOLDEN_SERIES; s++) {
        struct model_series *series = &model->series[s];
        struct label *items = arena_calloc(&model->arena, 4, sizeof(*items));
        items[0] =
            (struct label){NX_STR("__name__"), arena_printf(&model->arena, "metric_%u", s / 20)};
        items[1] = (struct label){NX_STR("instance"),
                                  arena_printf(&model->arena, "10.0.0.%02u:9100", s % 20)};
        items[2] = (struct label){NX_STR("job"), NX_STR("node")};
        items[3] = (struct label){NX_STR("mode"), arena_printf(&model->arena, "m%u", s % 4)};
        series->labels = (struct labels){items, s % 3 == 0 ? 3 : 4};
        series->slot = s * 7;
        series->count = s % 5 == 0 ? GOLDEN_SAMPLES : 30 + s;
        series->times_ms = arena_alloc(&model->arena, series->count * sizeof(int64_t));
        series->values = arena_alloc(&model->arena, series->count * sizeof(double));
        for (unsigned i = 0; i < series->count; i++) {
            series->times_ms[i] = GOLDEN_START + (int64_t)i * 15000 + (i * (1 + s % 2)) % 3;
            series->values[i] = s % 4 == 0   ? 5
                                : s % 4 == 1 ? (double)(i * s)
                                : s % 4 == 2 ? (double)i / 8
                                             : 1.0 / (1 + i);
        }
    }
}

static void test_golden_block_of_format_1(void **state)
{
    (void)state;
    struct model model;
    make_model(&model);
    const char *dir = NX_TEST_GOLDEN_DIR "/block_v1";
    struct nx_err err;
    if (getenv("NARTHEX_GOLDEN_WRITE") != NULL) {
        struct block_meta meta;
        assert_int_equal(io_remove_tree(io_real(), dir, &err), NX_OK);
        model_write(&model, io_real(), dir, TEST_ULID, 0, 11, 22, &meta);
    }
    struct group_cache *cache = group_cache_new(1 << 20);
    struct block *block = NULL;
    nx_code code = block_open(&block, io_real(), dir, cache, &err);
    if (code != NX_OK)
        fail_msg("%s", err.msg);
    assert_int_equal(block_meta(block)->commit_min, 11);
    assert_int_equal(block_meta(block)->commit_max, 22);
    assert_int_equal(block_scrub(block, &err), NX_OK);
    assert_block_is_model(block, &model);
    block_unref(block);
    group_cache_free(cache);
    model_deinit(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_block_of_format_1),
    };
    hash_secret_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
