/* SPDX-License-Identifier: Apache-2.0 */
/* test_block_golden.c - a block of format 3 as it was written once, and what is in it.
 *
 * NARTHEX_GOLDEN_WRITE=1 writes tests/golden/block_v3 anew: only together with a new format version.
 */
#include "narthex/base/hash.h"

#include "tests/unit/block/block_support.h"

#include <stdlib.h>

#define GOLDEN_SERIES  40u
#define GOLDEN_SAMPLES 600u
#define GOLDEN_START   1700000000000

/* A histogram each minute behind the floats; series 3 has no floats. */
static void add_histograms(struct model *model, struct model_series *series, unsigned s)
{
    struct arena *arena = &model->arena;
    if (s == 3)
        series->count = 0;
    series->histogram_count = 100;
    series->histograms = arena_calloc(arena, 100, sizeof(*series->histograms));
    for (unsigned i = 0; i < 100; i++) {
        struct histogram *histogram = arena_calloc(arena, 1, sizeof(*histogram));
        struct histogram_span *span = arena_calloc(arena, 1, sizeof(*span));
        uint32_t buckets = 5 + i / 20;
        uint64_t *counts = arena_calloc(arena, buckets, sizeof(*counts));
        for (unsigned b = 0; b < buckets; b++)
            counts[b] = i * (b + s);
        *span = (struct histogram_span){.offset = -2, .length = buckets};
        histogram->schema = (int32_t)(s % 3);
        histogram->hint = i == 0 ? HISTOGRAM_HINT_YES : HISTOGRAM_HINT_NO;
        histogram->zero_threshold = 0x1p-128;
        histogram->zero_count = i / 10;
        histogram->sum = i * 2.5;
        histogram->sides[HISTOGRAM_POSITIVE] = (struct histogram_side){
            .spans = span, .buckets = counts, .span_count = 1, .bucket_count = buckets};
        histogram->count = histogram_total(histogram);
        series->histograms[i] = (struct histogram_sample){
            .time_ms = GOLDEN_START + 36000000 + (int64_t)i * 60000, .histogram = histogram};
    }
    series->exemplar_count = s;
    series->exemplars = arena_calloc(arena, s + 1, sizeof(*series->exemplars));
    for (unsigned i = 0; i < s; i++) {
        struct label *label = arena_calloc(arena, 1, sizeof(*label));
        *label = (struct label){NX_STR("trace_id"), arena_printf(arena, "%08x%08x", i * 77, s)};
        series->exemplars[i] = (struct exemplar){
            .labels = {label, 1}, .value = i * 0.25, .time_ms = GOLDEN_START + (int64_t)i * 1000};
    }
}

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
        if (s % 8 == 3)
            add_histograms(model, series, s);
    }
}

static void test_golden_block_of_format_3(void **state)
{
    (void)state;
    struct model model;
    make_model(&model);
    const char *dir = NX_TEST_GOLDEN_DIR "/block_v3";
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
    assert_int_equal(block_meta(block)->histogram_count, 5 * 100);
    assert_int_equal(block_meta(block)->exemplar_count, 3 + 11 + 19 + 27 + 35);
    assert_true(block_meta(block)->exemplar_max_ms == GOLDEN_START + 34000);
    assert_int_equal(block_scrub(block, &err), NX_OK);
    assert_block_is_model(block, &model);
    block_unref(block);
    group_cache_free(cache);
    model_deinit(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_block_of_format_3),
    };
    hash_secret_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
