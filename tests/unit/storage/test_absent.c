/* SPDX-License-Identifier: Apache-2.0 */
/* test_absent.c - blocks that are in quarantine/ or that the disk does not give: answers say so, and for how long. */
#include "narthex/base/io.h"

#include "storage_support.h"
#include "store_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOUR_MS INT64_C(3600000)

/* A disk that does not give one path's files: open fails with EIO while `part` is not NULL. */
struct bad_sector {
    struct io io; /* first */
    const char *part;
};

static nx_code bad_open(const struct io *io, const char *path, int flags, mode_t mode, int *out_fd,
                        struct nx_err *err)
{
    const struct bad_sector *bad = (const struct bad_sector *)io;
    if (bad->part != NULL && strstr(path, bad->part) != NULL)
        return nx_err_sys(err, EIO, "open %s", path);
    return io_real()->open(io_real(), path, flags, mode, out_fd, err);
}

struct world {
    struct store_scratch scratch;
    struct bad_sector bad;
    struct store *store;
    struct twin twin[3]; /* of each hour */
    struct arena arena;
    struct nx_err err;
    char ulid[2][ULID_TEXT_LEN + 1]; /* of the blocks of the first two hours */
    char path[2][700];
};

/* Two hours in a block each, the third in the head. */
static void world_make(struct world *world)
{
    *world = (struct world){0};
    store_scratch_make(&world->scratch);
    world->bad.io = *io_real();
    world->bad.io.open = bad_open;
    world->scratch.io = &world->bad.io;
    arena_init(&world->arena, 0);
    world->store = store_test_open(&world->scratch, NULL);
    for (unsigned i = 0; i < 3; i++) {
        struct test_request request = {.count = 20};
        for (unsigned s = 0; s < 20; s++) {
            request.series[s] = s;
            request.samples[s] =
                (struct sample){.time_ms = TWIN_START_MS + i * HOUR_MS, .value = s + i};
        }
        assert_int_equal(store_test_write(world->store, &request, &world->twin[i]), NX_OK);
        clock_manual_advance(&world->scratch.clock, (uint64_t)HOUR_MS);
        if (i < 2)
            assert_int_equal(store_flush(world->store, &world->err), NX_OK);
    }
    struct block_snapshot blocks;
    block_list_snapshot(world->store->blocks, INT64_MIN, INT64_MAX, &blocks);
    assert_int_equal(blocks.count, 2);
    for (unsigned i = 0; i < 2; i++) {
        snprintf(world->ulid[i], sizeof(world->ulid[i]), "%s", block_meta(blocks.blocks[i])->ulid);
        snprintf(world->path[i], sizeof(world->path[i]), "%s/blocks/%s", world->scratch.path,
                 world->ulid[i]);
    }
    block_snapshot_end(&blocks);
}

static void world_end(struct world *world)
{
    arena_deinit(&world->arena);
    store_test_close(world->store);
    for (unsigned i = 0; i < 3; i++)
        twin_deinit(&world->twin[i]);
    store_scratch_remove(&world->scratch);
}

static void shell(const char *dir, const char *what)
{
    char command[1400];
    int length = snprintf(command, sizeof(command), "cd %s && { %s; }", dir, what);
    assert_true(length > 0 && (size_t)length < sizeof(command));
    assert_int_equal(system(command), 0);
}

static void hour_range(unsigned hour, int64_t *out_min, int64_t *out_max)
{
    *out_min = TWIN_START_MS + hour * HOUR_MS;
    *out_max = *out_min + HOUR_MS - 1;
}

/* How many warnings a query of each kind carries about an hour: the same for all. `out_series` of the select. */
static size_t warnings_of(struct world *world, unsigned hour, size_t *out_series)
{
    int64_t min_ms, max_ms;
    hour_range(hour, &min_ms, &max_ms);
    struct series_source *source = store_source(world->store);
    struct series_warnings warnings[4] = {0};
    struct series_hints hints = {.arena = &world->arena};
    struct matcher matcher;
    struct series_set *set;
    struct series_columns columns;
    struct exemplar_series *exemplars;
    struct nx_str *texts;
    size_t count;
    bool is_cut = false;
    assert_int_equal(
        matcher_init(&matcher, MATCHER_REGEX, NX_STR("__name__"), NX_STR("metric_.*"), &world->err),
        NX_OK);
    assert_int_equal(source->ops->select(source, &matcher, 1, min_ms, max_ms, &hints, &set,
                                         &warnings[0], &world->err),
                     NX_OK);
    *out_series = 0;
    while (set->ops->next(set, &columns, &world->err) == 1)
        (*out_series)++;
    set->ops->free(set);
    assert_int_equal(source->ops->label_names(source, NULL, 0, min_ms, max_ms, 0, &world->arena,
                                              &texts, &count, &is_cut, &warnings[1], &world->err),
                     NX_OK);
    assert_int_equal(source->ops->label_values(source, NX_STR("pod"), &matcher, 1, min_ms, max_ms,
                                               0, &world->arena, &texts, &count, &is_cut,
                                               &warnings[2], &world->err),
                     NX_OK);
    assert_int_equal(store_exemplars(world->store, &matcher, 1, min_ms, max_ms, &world->arena,
                                     &exemplars, &count, &warnings[3], &world->err),
                     NX_OK);
    matcher_deinit(&matcher);
    for (unsigned i = 1; i < 4; i++)
        assert_int_equal(warnings[i].count, warnings[0].count);
    if (warnings[0].count > 0)
        assert_true(nx_str_starts_with(warnings[0].texts[0], NX_STR("block ")));
    return warnings[0].count;
}

static void expect(struct world *world, unsigned hour, size_t warnings, size_t series)
{
    size_t found;
    assert_int_equal(warnings_of(world, hour, &found), warnings);
    assert_int_equal(found, series);
}

static struct store_stats stats_of(struct world *world)
{
    struct store_stats stats;
    store_stats(world->store, &stats);
    return stats;
}

static void test_answers_tell_of_quarantine_until_the_directory_goes(void **state)
{
    (void)state;
    struct world world;
    world_make(&world);
    struct block_snapshot blocks;
    block_list_snapshot(world.store->blocks, INT64_MIN, INT64_MAX, &blocks);
    assert_int_equal(
        block_list_quarantine(world.store->blocks, blocks.blocks[0], "for this test", &world.err),
        NX_OK);
    block_snapshot_end(&blocks);
    for (unsigned again = 0; again < 2; again++) {
        expect(&world, 0, 1, 0);
        expect(&world, 1, 0, 20);
        expect(&world, 2, 0, 20);
        store_test_close(world.store);
        snprintf(world.path[0], sizeof(world.path[0]), "%s/quarantine/%s", world.scratch.path,
                 world.ulid[0]);
        if (again == 0) /* what is left to tell the range is the file beside it */
            shell(world.path[0], "echo broken > block.meta");
        world.store = store_test_open(&world.scratch, NULL);
    }
    assert_int_equal(stats_of(&world).quarantined_blocks, 0); /* by this run */
    expect(&world, 0, 1, 0);
    shell(world.path[0], "rm -r $PWD");
    expect(&world, 0, 0, 0);
    world_end(&world);
}

/* Nobody knows the range: every answer may lack something. */
static void test_quarantine_without_a_range_is_told_of_in_every_answer(void **state)
{
    (void)state;
    struct world world;
    world_make(&world);
    store_test_close(world.store);
    shell(world.scratch.path, "mkdir -p quarantine/01BX5ZZKBKACTAV9WEVGEMMVS0");
    shell(world.scratch.path, "mkdir -p quarantine/lost+found");
    shell(world.scratch.path, "mkdir -p quarantine/01BX5ZZKBKACTAV9WEVGEMMVS1");
    shell(world.scratch.path,
          "echo replaced by block X > quarantine/01BX5ZZKBKACTAV9WEVGEMMVS1.reason");
    world.store = store_test_open(&world.scratch, NULL);
    for (unsigned hour = 0; hour < 3; hour++)
        expect(&world, hour, 1, 20);
    world_end(&world);
}

static void test_many_in_quarantine_are_told_of_in_few_warnings(void **state)
{
    (void)state;
    struct world world;
    world_make(&world);
    store_test_close(world.store);
    shell(world.scratch.path, "mkdir -p quarantine");
    shell(world.scratch.path, "for i in 0 1 2 3 4 5 6 7 8 9; do for k in 0 1 2 3 4 5 6 7 8 9; do "
                              "mkdir quarantine/01BX5ZZKBKACTAV9WEVGEMMV$i$k; done; done");
    world.store = store_test_open(&world.scratch, NULL);
    struct block_snapshot blocks;
    block_list_snapshot(world.store->blocks, INT64_MIN, INT64_MAX, &blocks);
    assert_int_equal(blocks.absent_count, BLOCKS_ABSENT_MAX);
    block_snapshot_end(&blocks);
    expect(&world, 0, 5, 20);
    world_end(&world);
}

static void delete_pod(struct world *world, nx_code expected)
{
    struct matcher matcher;
    assert_int_equal(
        matcher_init(&matcher, MATCHER_EQUAL, NX_STR("pod"), NX_STR("pod-1"), &world->err), NX_OK);
    struct matcher *list = &matcher;
    size_t count = 1;
    const struct store_delete what = {
        .lists = &list,
        .matcher_counts = &count,
        .list_count = 1,
        .min_ms = TWIN_START_MS,
        .max_ms = TWIN_START_MS + 10,
    };
    struct store_delete_result result;
    assert_int_equal(store_delete(world->store, &what, &result, &world->err), expected);
    matcher_deinit(&matcher);
}

static void test_a_block_that_cannot_be_read_at_start_comes_back(void **state)
{
    (void)state;
    struct world world;
    world_make(&world);
    delete_pod(&world, NX_OK); /* series 1, 9, 17 of the first hour; flushes the head */
    expect(&world, 0, 0, 17);
    store_test_close(world.store);
    char part[80];
    snprintf(part, sizeof(part), "blocks/%s/block.meta", world.ulid[0]);
    world.bad.part = part;
    for (unsigned again = 0; again < 2; again++) { /* a start changes nothing */
        world.store = store_test_open(&world.scratch, NULL);
        assert_true(io_exists(world.path[0]));
        assert_int_equal(stats_of(&world).unreadable_blocks, 1);
        assert_int_equal(stats_of(&world).quarantined_blocks, 0);
        expect(&world, 0, 1, 0);
        expect(&world, 1, 0, 20);
        expect(&world, 2, 0, 20);
        assert_int_equal(block_list_retry(world.store->blocks), 1);
        delete_pod(&world, NX_E_IO); /* it would come back with the block */
        assert_int_equal(store_merge(world.store, true, &world.err), NX_OK);
        if (again == 0)
            store_test_close(world.store);
    }
    world.bad.part = NULL;
    assert_int_equal(block_list_retry(world.store->blocks), 0);
    expect(&world, 0, 0, 17); /* what was deleted is so still */
    assert_int_equal(stats_of(&world).unreadable_blocks, 0);
    for (unsigned hour = 1; hour < 3; hour++) {
        int64_t min_ms, max_ms;
        hour_range(hour, &min_ms, &max_ms);
        store_test_compare(world.store, &world.twin[hour], min_ms, max_ms);
    }
    world_end(&world);
}

static void test_a_block_that_turns_out_damaged_goes_to_quarantine(void **state)
{
    (void)state;
    struct world world;
    world_make(&world);
    store_test_close(world.store);
    char part[80];
    snprintf(part, sizeof(part), "blocks/%s/block.meta", world.ulid[0]);
    world.bad.part = part;
    world.store = store_test_open(&world.scratch, NULL);
    expect(&world, 0, 1, 0);
    shell(world.path[0], "echo broken > block.meta");
    world.bad.part = NULL;
    assert_int_equal(block_list_retry(world.store->blocks), 0);
    assert_false(io_exists(world.path[0]));
    assert_int_equal(stats_of(&world).quarantined_blocks, 1);
    expect(&world, 0, 1, 0);
    expect(&world, 1, 0, 20);
    world_end(&world);
}

/* The journal's slots are in the newest one: a start without it would lose what the journal holds. */
static void test_there_is_no_start_without_the_newest_block(void **state)
{
    (void)state;
    struct world world;
    world_make(&world);
    struct block *newest = block_list_newest_flush(world.store->blocks);
    assert_string_equal(block_meta(newest)->ulid, world.ulid[1]);
    block_unref(newest);
    struct store_scratch copied;
    store_scratch_make(&copied);
    char command[1400];
    snprintf(command, sizeof(command), "cp -r %s/. %s", world.scratch.path, copied.path);
    assert_int_equal(system(command), 0);
    copied.io = &world.bad.io;
    copied.options = world.scratch.options;
    copied.options.data_dir = copied.path;
    copied.options.clock = &copied.clock.clock;
    char part[80];
    snprintf(part, sizeof(part), "blocks/%s/block.meta", world.ulid[1]);
    world.bad.part = part;
    struct store *store = NULL;
    struct store_open_result result;
    assert_int_equal(store_open(&store, &copied.options, &result, &world.err), NX_E_IO);
    assert_non_null(strstr(world.err.msg, world.ulid[1]));
    world.bad.part = NULL;
    store = store_test_open(&copied, &result);
    assert_int_equal(result.unknown_samples, 0);
    assert_int_equal(result.quarantined_blocks, 0);
    for (unsigned hour = 0; hour < 3; hour++) {
        int64_t min_ms, max_ms;
        hour_range(hour, &min_ms, &max_ms);
        store_test_compare(store, &world.twin[hour], min_ms, max_ms);
    }
    store_test_close(store);
    store_scratch_remove(&copied);
    world_end(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_tell_of_quarantine_until_the_directory_goes),
        cmocka_unit_test(test_quarantine_without_a_range_is_told_of_in_every_answer),
        cmocka_unit_test(test_many_in_quarantine_are_told_of_in_few_warnings),
        cmocka_unit_test(test_a_block_that_cannot_be_read_at_start_comes_back),
        cmocka_unit_test(test_a_block_that_turns_out_damaged_goes_to_quarantine),
        cmocka_unit_test(test_there_is_no_start_without_the_newest_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
