/* SPDX-License-Identifier: Apache-2.0 */
/* test_querier.c - names, values, limits, cancelling, budgets, and damage, over head and blocks. */
#include "narthex/base/thread.h"

#include "storage_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct world {
    struct store_scratch scratch;
    struct store *store;
    struct twin twin;
    struct arena arena;
    struct series_warnings warnings;
    struct nx_err err;
};

static void write_range(struct world *world, unsigned first, unsigned end, int64_t time_ms)
{
    struct test_request request = {.count = 0};
    for (unsigned i = first; i < end; i++) {
        request.series[request.count] = i;
        request.samples[request.count++] = (struct sample){.time_ms = time_ms, .value = i};
    }
    assert_int_equal(store_test_write(world->store, &request, &world->twin), NX_OK);
}

/* Series 0..19 in a block, 10..29 in another, 20..39 in the head; each at its own hour. */
static void world_make(struct world *world)
{
    *world = (struct world){0};
    store_scratch_make(&world->scratch);
    arena_init(&world->arena, 0);
    world->store = store_test_open(&world->scratch, NULL);
    for (unsigned i = 0; i < 3; i++) {
        write_range(world, i * 10, i * 10 + 20, TWIN_START_MS + (int64_t)i * 3600000);
        clock_manual_advance(&world->scratch.clock, 3600000);
        if (i < 2)
            assert_int_equal(store_flush(world->store, &world->err), NX_OK);
    }
}

static void world_end(struct world *world)
{
    arena_deinit(&world->arena);
    store_test_close(world->store);
    twin_deinit(&world->twin);
    store_scratch_remove(&world->scratch);
}

static size_t count_values(struct world *world, const char *name, const struct matcher *matchers,
                           size_t count, int64_t min_ms, int64_t max_ms, size_t limit,
                           bool *out_truncated)
{
    struct series_source *source = store_source(world->store);
    struct nx_str *items = NULL;
    size_t got = 0;
    *out_truncated = false;
    nx_code code =
        name == NULL ? source->ops->label_names(source, matchers, count, min_ms, max_ms, limit,
                                                &world->arena, &items, &got, out_truncated,
                                                &world->warnings, &world->err)
                     : source->ops->label_values(source, nx_str_from(name), matchers, count, min_ms,
                                                 max_ms, limit, &world->arena, &items, &got,
                                                 out_truncated, &world->warnings, &world->err);
    assert_int_equal(code, NX_OK);
    for (size_t i = 1; i < got; i++)
        assert_true(nx_str_cmp(items[i - 1], items[i]) < 0);
    return got;
}

static void test_querier_names_and_values_are_the_union(void **state)
{
    (void)state;
    struct world world;
    world_make(&world);
    bool cut;
    assert_int_equal(count_values(&world, NULL, NULL, 0, INT64_MIN, INT64_MAX, 0, &cut), 3);
    assert_int_equal(count_values(&world, "series", NULL, 0, INT64_MIN, INT64_MAX, 0, &cut), 40);
    assert_int_equal(count_values(&world, "pod", NULL, 0, INT64_MIN, INT64_MAX, 0, &cut), 8);
    assert_int_equal(count_values(&world, "none", NULL, 0, INT64_MIN, INT64_MAX, 0, &cut), 0);
    assert_false(cut);
    assert_int_equal(count_values(&world, "series", NULL, 0, INT64_MIN, INT64_MAX, 7, &cut), 7);
    assert_true(cut);
    world_end(&world);
}

static void test_querier_values_with_matchers_are_those_of_the_selected(void **state)
{
    (void)state;
    struct world world;
    world_make(&world);
    struct matcher matchers[2];
    assert_int_equal(matcher_init(&matchers[0], MATCHER_EQUAL, NX_STR("__name__"),
                                  NX_STR("metric_1"), &world.err),
                     NX_OK);
    assert_int_equal(
        matcher_init(&matchers[1], MATCHER_REGEX, NX_STR("series"), NX_STR("1.*"), &world.err),
        NX_OK);
    bool cut;
    assert_int_equal(count_values(&world, "series", matchers, 1, INT64_MIN, INT64_MAX, 0, &cut),
                     10);
    assert_int_equal(count_values(&world, "series", matchers, 2, INT64_MIN, INT64_MAX, 0, &cut),
                     3); /* 1, 13, 17 */
    assert_int_equal(count_values(&world, NULL, matchers, 2, INT64_MIN, INT64_MAX, 0, &cut), 3);
    /* the first hour alone: series 0..19 */
    assert_int_equal(
        count_values(&world, "series", matchers, 1, TWIN_START_MS, TWIN_START_MS + 10, 0, &cut), 5);
    /* the last hour is in the head alone: 20..39 */
    assert_int_equal(count_values(&world, "series", matchers, 1, TWIN_START_MS + 7200000,
                                  TWIN_START_MS + 7200010, 0, &cut),
                     5);
    matcher_deinit(&matchers[0]);
    matcher_deinit(&matchers[1]);
    world_end(&world);
}

static nx_code open_set(struct world *world, struct series_hints *hints,
                        struct series_set **out_set)
{
    static struct matcher everything;
    if (everything.name.len == 0)
        assert_int_equal(
            matcher_init(&everything, MATCHER_NOT_EQUAL, NX_STR("series"), NX_STR(""), &world->err),
            NX_OK);
    struct series_source *source = store_source(world->store);
    if (hints->arena == NULL)
        hints->arena = &world->arena;
    return source->ops->select(source, &everything, 1, INT64_MIN, INT64_MAX, hints, out_set,
                               &world->warnings, &world->err);
}

static size_t drain(struct world *world, struct series_set *set, int *out_end)
{
    struct series_columns columns;
    size_t count = 0;
    while ((*out_end = set->ops->next(set, &columns, &world->err)) == 1)
        count++;
    return count;
}

static void test_querier_set_stops_at_the_series_limit_and_says_so(void **state)
{
    (void)state;
    struct world world;
    world_make(&world);
    for (size_t limit = 39; limit <= 41; limit++) {
        struct series_hints hints = {.series_limit = limit};
        struct series_set *set;
        assert_int_equal(open_set(&world, &hints, &set), NX_OK);
        int end;
        assert_int_equal(drain(&world, set, &end), limit < 40 ? limit : 40);
        assert_int_equal(end, 0);
        assert_int_equal(set->is_truncated, limit < 40);
        set->ops->free(set);
    }
    world_end(&world);
}

static void test_querier_labels_only_gives_the_same_series(void **state)
{
    (void)state;
    struct world world;
    world_make(&world);
    struct series_hints hints = {.labels_only = true};
    struct series_set *set;
    assert_int_equal(open_set(&world, &hints, &set), NX_OK);
    int end;
    assert_int_equal(drain(&world, set, &end), 40);
    assert_int_equal(end, 0);
    set->ops->free(set);
    world_end(&world);
}

static void test_querier_set_ends_when_cancelled(void **state)
{
    (void)state;
    struct world world;
    world_make(&world);
    _Atomic bool is_cancelled = false;
    struct series_hints hints = {.is_cancelled = &is_cancelled};
    struct series_set *set;
    struct series_columns columns;
    assert_int_equal(open_set(&world, &hints, &set), NX_OK);
    assert_int_equal(set->ops->next(set, &columns, &world.err), 1);
    atomic_store(&is_cancelled, true);
    assert_int_equal(set->ops->next(set, &columns, &world.err), -1);
    assert_int_equal(world.err.code, NX_E_CANCELLED);
    set->ops->free(set);
    world_end(&world);
}

static void test_querier_memory_is_bounded_by_the_query(void **state)
{
    (void)state;
    struct world world;
    world_make(&world);
    for (unsigned i = 0; i < 60; i++) { /* one series of many samples */
        struct test_request request = {.count = 200};
        for (unsigned k = 0; k < 200; k++) {
            request.series[k] = 50;
            request.samples[k] =
                (struct sample){.time_ms = TWIN_START_MS + i * 200 + k, .value = k};
        }
        assert_int_equal(store_test_write(world.store, &request, &world.twin), NX_OK);
    }
    struct arena small;
    for (size_t budget = 1000; budget <= 10000000; budget *= 10) {
        arena_init(&small, budget);
        struct series_hints hints = {.arena = &small};
        struct series_set *set;
        nx_code code = open_set(&world, &hints, &set);
        int end = 0;
        if (code == NX_OK) {
            drain(&world, set, &end);
            set->ops->free(set);
            code = end == 0 ? NX_OK : world.err.code;
        }
        assert_int_equal(code, budget < 200000 ? NX_E_LIMIT : NX_OK);
        arena_deinit(&small);
    }
    world_end(&world);
}

/* Of one series and time in two blocks and the head the earliest commit's value stays, before and after a merge. */
static void test_querier_earlier_commit_wins(void **state)
{
    (void)state;
    struct world world;
    world_make(&world);
    for (unsigned i = 0; i < 3;
         i++) { /* series 0 left the head's memory of this time with the first flush */
        struct test_request request = {.count = 2};
        request.series[0] = 0;
        request.samples[0] = (struct sample){.time_ms = TWIN_START_MS, .value = 100 + i};
        request.series[1] = 0;
        request.samples[1] = (struct sample){.time_ms = TWIN_START_MS - 5 + i, .value = 200 + i};
        assert_int_equal(store_test_write(world.store, &request, &world.twin), NX_OK);
        store_test_compare(world.store, &world.twin, INT64_MIN, INT64_MAX);
        assert_int_equal(store_flush(world.store, &world.err), NX_OK);
        store_test_compare(world.store, &world.twin, INT64_MIN, INT64_MAX);
    }
    assert_int_equal(store_merge(world.store, true, &world.err), NX_OK);
    store_test_compare(world.store, &world.twin, INT64_MIN, INT64_MAX);
    world_end(&world);
}

static void test_querier_damaged_group_is_left_out_with_a_warning(void **state)
{
    (void)state;
    struct world world;
    world_make(&world);
    char command[1400];
    snprintf(command, sizeof(command),
             "f=$(ls -d %s/blocks/* | head -1)/chunks.nxc; "
             "printf 'XXXXXXXX' | dd of=$f bs=1 seek=40 conv=notrunc 2>/dev/null",
             world.scratch.path);
    assert_int_equal(system(command), 0);
    struct series_hints hints = {.arena = NULL};
    struct series_set *set;
    int end;
    assert_int_equal(open_set(&world, &hints, &set), NX_OK);
    assert_int_equal(drain(&world, set, &end), 30); /* 10..39: 0..9 were in that block alone */
    assert_int_equal(end, 0);
    set->ops->free(set);
    assert_true(world.warnings.count > 0);
    assert_true(nx_str_starts_with(world.warnings.texts[0], NX_STR("block ")));
    world_end(&world);
}

static void test_querier_damaged_index_is_quarantined_with_a_warning(void **state)
{
    (void)state;
    struct world world;
    world_make(&world);
    assert_int_equal(store_flush(world.store, &world.err), NX_OK);
    store_test_close(world.store);
    world.store =
        store_test_open(&world.scratch, NULL); /* nothing is verified yet but the newest */
    char command[1400];
    snprintf(command, sizeof(command),
             "f=$(ls -d %s/blocks/* | head -1)/index.mdb; "
             "printf 'XXXXXXXX' | dd of=$f bs=1 seek=9000 conv=notrunc 2>/dev/null",
             world.scratch.path);
    assert_int_equal(system(command), 0);
    struct series_hints hints = {.arena = NULL};
    struct series_set *set;
    int end;
    assert_int_equal(open_set(&world, &hints, &set), NX_OK);
    assert_int_equal(drain(&world, set, &end), 30);
    set->ops->free(set);
    assert_int_equal(world.warnings.count, 1);
    struct store_stats stats;
    store_stats(world.store, &stats);
    assert_int_equal(stats.quarantined_blocks, 1);
    assert_int_equal(stats.blocks, 2);
    world.warnings.count = 0;
    assert_int_equal(open_set(&world, &hints, &set), NX_OK);
    assert_int_equal(drain(&world, set, &end), 30);
    set->ops->free(set);
    assert_int_equal(world.warnings.count, 1); /* it is in quarantine/, and answers lack it */
    world_end(&world);
}

/* A set that is open while a flush publishes and ends still reads everything: the flush waits for it. */
struct slow_reader {
    struct world *world;
    struct series_set *set;
    size_t count;
    int end;
};

static void finish_slowly(void *argument)
{
    struct slow_reader *reader = argument;
    struct timespec pause = {.tv_nsec = 200000000};
    nanosleep(&pause, NULL);
    struct nx_err err;
    struct series_columns columns;
    while ((reader->end = reader->set->ops->next(reader->set, &columns, &err)) == 1)
        reader->count++;
    reader->set->ops->free(reader->set);
}

static void test_querier_open_set_outlasts_a_flush(void **state)
{
    (void)state;
    struct world world;
    world_make(&world);
    struct series_hints hints = {.arena = NULL};
    struct slow_reader reader = {.world = &world};
    assert_int_equal(open_set(&world, &hints, &reader.set), NX_OK);
    struct nx_thread thread = {.is_running = false};
    assert_int_equal(thread_start(&thread, "slow", finish_slowly, &reader, &world.err), NX_OK);
    assert_int_equal(store_flush(world.store, &world.err), NX_OK);
    thread_join(&thread);
    assert_int_equal(reader.end, 0);
    assert_int_equal(reader.count, 40);
    world_end(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_querier_names_and_values_are_the_union),
        cmocka_unit_test(test_querier_values_with_matchers_are_those_of_the_selected),
        cmocka_unit_test(test_querier_set_stops_at_the_series_limit_and_says_so),
        cmocka_unit_test(test_querier_labels_only_gives_the_same_series),
        cmocka_unit_test(test_querier_set_ends_when_cancelled),
        cmocka_unit_test(test_querier_memory_is_bounded_by_the_query),
        cmocka_unit_test(test_querier_earlier_commit_wins),
        cmocka_unit_test(test_querier_damaged_group_is_left_out_with_a_warning),
        cmocka_unit_test(test_querier_damaged_index_is_quarantined_with_a_warning),
        cmocka_unit_test(test_querier_open_set_outlasts_a_flush),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
