/* SPDX-License-Identifier: Apache-2.0 */
/* test_block_delete.c - over merges, rewrites, restarts: what is deleted stays so, what comes later is kept. */
#include "narthex/base/mem.h"
#include "narthex/base/regex.h"
#include "narthex/block/block_delete.h"
#include "narthex/block/merge.h"

#include "merge_internal.h"
#include "tests/unit/block/twin_support.h"
#include "tests/unit/codec/histogram_support.h"

#define DAY_0  (20000 * DAY_MS)
#define SERIES 40u

/* A directory, a list over it, and its twin. */
struct world {
    char *dir;
    struct block_list *list;
    struct twin twin;
    struct rand_state rand;
    const struct io *io;
};

static void world_make(struct world *world, uint64_t seed, const struct io *io)
{
    *world = (struct world){.dir = temp_dir_new(), .io = io};
    rand_seed(&world->rand, seed);
    twin_init(&world->twin, SERIES);
    world->list = open_list(io, world->dir, DAY_0);
}

static void world_reopen(struct world *world)
{
    block_list_close(world->list);
    world->list = open_list(world->io, world->dir, DAY_0);
}

static void world_end(struct world *world)
{
    block_list_close(world->list);
    twin_deinit(&world->twin);
    temp_dir_free(world->dir);
}

static void add_flush(struct world *world, int64_t min_ms, int64_t max_ms)
{
    const struct twin_flush flush = {
        .min_ms = min_ms, .max_ms = max_ms, .samples_max = 80, .step_ms = 60000};
    struct nx_err err;
    assert_int_equal(twin_flush(&world->twin, world->list, world->io, &world->rand, &flush, &err),
                     NX_OK);
}

/* Deletes {name="value"} in the range from the list, and returns how many series it named. */
static uint64_t delete_from_list(struct block_list *list, const char *name, const char *value,
                                 int64_t min_ms, int64_t max_ms)
{
    struct matcher matcher;
    struct matcher *lists[1] = {&matcher};
    const size_t counts[1] = {1};
    struct nx_err err;
    assert_int_equal(
        matcher_init(&matcher, MATCHER_REGEX, nx_str_from(name), nx_str_from(value), &err), NX_OK);
    const struct block_delete what = {.lists = lists,
                                      .matcher_counts = counts,
                                      .list_count = 1,
                                      .min_ms = min_ms,
                                      .max_ms = max_ms};
    struct block_delete_result result;
    nx_code code = block_list_delete(list, &what, &result, &err);
    if (code != NX_OK)
        fail_msg("delete: %s", err.msg);
    matcher_deinit(&matcher);
    return result.series;
}

static void delete_from_twin(struct twin *twin, const char *name, const char *value, int64_t min_ms,
                             int64_t max_ms)
{
    struct regex *regex = NULL;
    struct nx_err err;
    assert_int_equal(regex_compile(&regex, nx_str_from(value), &err), NX_OK);
    for (size_t i = 0; i < twin->series_count; i++) {
        struct twin_series *series = &twin->series[i];
        size_t kept = 0;
        if (!regex_matches(regex, labels_get(series->labels, nx_str_from(name))))
            continue;
        for (size_t k = 0; k < series->count; k++)
            if (series->samples[k].time_ms < min_ms || series->samples[k].time_ms > max_ms)
                series->samples[kept++] = series->samples[k];
        series->count = kept;
    }
    regex_free(regex);
}

static void delete_both(struct world *world, const char *name, const char *value, int64_t min_ms,
                        int64_t max_ms)
{
    delete_from_list(world->list, name, value, min_ms, max_ms);
    delete_from_twin(&world->twin, name, value, min_ms, max_ms);
}

/* ---- comparing ---- */

static struct twin_series *find_series(const struct twin *twin, struct labels labels)
{
    for (size_t i = 0; i < twin->series_count; i++)
        if (labels_equal(twin->series[i].labels, labels))
            return &twin->series[i];
    return NULL;
}

static void read_masked(struct block *block, const struct tombstones *tombstones,
                        const struct twin *twin, struct twin *seen)
{
    struct block_reader *reader = NULL;
    struct nx_buf times = {0}, values = {0}, ranges = {0};
    struct nx_err err;
    assert_int_equal(block_reader_new(block, &reader, &err), NX_OK);
    for (uint32_t rank = 0; rank < block_meta(block)->series_count; rank++) {
        struct labels labels;
        nx_buf_reset(&times);
        nx_buf_reset(&values);
        nx_buf_reset(&ranges);
        assert_int_equal(block_reader_labels(reader, rank, &labels, NULL, &err), NX_OK);
        const struct twin_series *known = find_series(twin, labels);
        assert_non_null(known);
        assert_int_equal(
            block_reader_samples(reader, rank, INT64_MIN, INT64_MAX, &times, &values, &err), NX_OK);
        if (tombstones_has(tombstones, rank))
            tombstones_ranges(tombstones, rank, &ranges);
        int64_t *at = (int64_t *)(void *)times.data;
        double *value = (double *)(void *)values.data;
        size_t left = time_ranges_filter((const struct time_range *)(const void *)ranges.data,
                                         ranges.len / sizeof(struct time_range), at, value,
                                         times.len / sizeof(*at));
        for (size_t i = 0; i < left; i++)
            twin_add(&seen->series[known - twin->series], at[i], value[i]);
    }
    block_reader_free(reader);
    nx_buf_deinit(&times);
    nx_buf_deinit(&values);
    nx_buf_deinit(&ranges);
}

static void assert_same(const struct world *world)
{
    struct twin seen = {.series_count = world->twin.series_count};
    struct block_snapshot snapshot;
    arena_init(&seen.arena, 0);
    seen.series = nx_calloc(seen.series_count, sizeof(*seen.series));
    block_list_snapshot(world->list, INT64_MIN, INT64_MAX, &snapshot);
    for (size_t i = 0; i < snapshot.count; i++)
        read_masked(snapshot.blocks[i], snapshot.tombstones[i], &world->twin, &seen);
    block_snapshot_end(&snapshot);
    for (size_t i = 0; i < seen.series_count; i++) {
        assert_int_equal(seen.series[i].count, world->twin.series[i].count);
        if (seen.series[i].count > 0)
            assert_memory_equal(seen.series[i].samples, world->twin.series[i].samples,
                                seen.series[i].count * sizeof(struct twin_sample));
    }
    twin_deinit(&seen);
}

static struct block_list_stats stats_of(const struct world *world)
{
    struct block_list_stats stats;
    block_list_stats(world->list, &stats);
    return stats;
}

static uint64_t merge_all(struct world *world, int64_t now_ms)
{
    uint64_t deleted = 0;
    for (;;) {
        bool has_worked = false;
        struct merge_result result;
        struct nx_err err;
        nx_code code = merge_run(world->list, now_ms, true, NULL, &has_worked, &result, &err);
        if (code != NX_OK)
            fail_msg("merge: %s", err.msg);
        if (!has_worked)
            return deleted;
        deleted += result.deleted;
    }
}

static unsigned rewrite_all(struct world *world)
{
    for (unsigned count = 0;; count++) {
        bool has_worked = false;
        struct block_rewrite_result result;
        struct nx_err err;
        nx_code code = block_list_rewrite(world->list, NULL, &has_worked, &result, &err);
        if (code != NX_OK)
            fail_msg("rewrite: %s", err.msg);
        if (!has_worked)
            return count;
        assert_true(result.samples_out <= result.samples_in);
        assert_true(count < 1000);
    }
}

/* ---- tests ---- */

static void test_delete_masks_at_once_and_after_a_restart(void **state)
{
    (void)state;
    struct world world;
    world_make(&world, 1, io_real());
    add_flush(&world, DAY_0 - 2 * PARTITION_MS, DAY_0);
    add_flush(&world, DAY_0 - PARTITION_MS, DAY_0);
    assert_int_equal(delete_from_list(world.list, "job", "nothing", INT64_MIN, INT64_MAX), 0);
    assert_int_equal(stats_of(&world).tombstones, 0);
    delete_both(&world, "job", "job-1", INT64_MIN, INT64_MAX);
    delete_both(&world, "instance", "host-1.*", DAY_0 - PARTITION_MS, DAY_0 - PARTITION_MS / 2);
    assert_same(&world);
    assert_int_equal(stats_of(&world).tombstones, 4);
    world_reopen(&world);
    assert_same(&world);
    assert_int_equal(stats_of(&world).tombstones, 4);
    /* The same again changes nothing. */
    delete_both(&world, "job", "job-1", INT64_MIN, INT64_MAX);
    assert_int_equal(stats_of(&world).tombstones, 4);
    world_end(&world);
}

static void test_delete_never_touches_what_comes_later(void **state)
{
    (void)state;
    struct world world;
    world_make(&world, 2, io_real());
    add_flush(&world, DAY_0 - PARTITION_MS, DAY_0);
    delete_both(&world, "job", "job-.*", INT64_MIN, INT64_MAX);
    add_flush(&world, DAY_0 - PARTITION_MS, DAY_0); /* the same series, mostly the same times */
    assert_same(&world);
    add_flush(&world, DAY_0, DAY_0 + 60000);
    assert_true(merge_all(&world, DAY_0 + DAY_MS) > 0);
    assert_same(&world);
    world_reopen(&world);
    assert_same(&world);
    world_end(&world);
}

static void test_merge_drops_what_is_deleted(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct world world;
        world_make(&world, seed, io_real());
        for (unsigned i = 0; i < 6; i++) {
            add_flush(&world, DAY_0 - (int64_t)(6 - i) * PARTITION_MS, DAY_0);
            if (i % 2 == 1)
                delete_both(&world, "__name__", i == 3 ? "metric_[0-3]" : "metric_5",
                            DAY_0 - 4 * PARTITION_MS, DAY_0 - PARTITION_MS);
        }
        delete_both(&world, "job", "job-2", INT64_MIN, INT64_MAX);
        add_flush(&world, DAY_0, DAY_0 + 60000);
        assert_same(&world);
        assert_true(merge_all(&world, DAY_0 + 2 * DAY_MS) > 0);
        assert_same(&world);
        assert_int_equal(stats_of(&world).tombstones, 0);
        /* Label values of what is gone are gone. */
        struct block_snapshot snapshot;
        block_list_snapshot(world.list, INT64_MIN, DAY_0 - 1, &snapshot);
        for (size_t i = 0; i < snapshot.count; i++) {
            struct arena arena;
            struct nx_str *values;
            size_t count;
            struct nx_err err;
            arena_init(&arena, 0);
            assert_int_equal(block_label_values(snapshot.blocks[i], NX_STR("job"), &arena, &values,
                                                &count, &err),
                             NX_OK);
            for (size_t k = 0; block_meta(snapshot.blocks[i])->level > 0 && k < count; k++)
                assert_false(nx_str_eq(values[k], NX_STR("job-2")));
            arena_deinit(&arena);
        }
        block_snapshot_end(&snapshot);
        world_end(&world);
    }
}

static void test_merge_of_what_is_wholly_deleted_leaves_nothing(void **state)
{
    (void)state;
    struct world world;
    world_make(&world, 3, io_real());
    add_flush(&world, DAY_0 - 3 * PARTITION_MS, DAY_0 - 1);
    add_flush(&world, DAY_0 - 3 * PARTITION_MS, DAY_0 - 1);
    delete_both(&world, "__name__", ".+", INT64_MIN, INT64_MAX);
    add_flush(&world, DAY_0, DAY_0 + 60000);
    merge_all(&world, DAY_0 + DAY_MS);
    assert_int_equal(stats_of(&world).blocks, 1);
    assert_same(&world);
    world_end(&world);
}

static void test_wholly_deleted_blocks_are_dropped(void **state)
{
    (void)state;
    struct world world;
    struct nx_err err;
    unsigned removed = 9;
    world_make(&world, 4, io_real());
    add_flush(&world, DAY_0 - PARTITION_MS, DAY_0 - 1);
    add_flush(&world, DAY_0 - PARTITION_MS, DAY_0 - 1);
    assert_int_equal(block_list_drop_deleted(world.list, &removed, &err), NX_OK);
    assert_int_equal(removed, 0);
    delete_both(&world, "__name__", ".+", INT64_MIN, INT64_MAX);
    assert_int_equal(block_list_drop_deleted(world.list, &removed, &err), NX_OK);
    assert_int_equal(removed, 1); /* the newest flush keeps the journal's slots */
    assert_int_equal(stats_of(&world).blocks, 1);
    assert_same(&world);
    world_reopen(&world);
    assert_same(&world);
    world_end(&world);
}

/* ---- a delete while a merge runs ---- */

struct meddling_io {
    struct io io; /* first */
    struct world *world;
    const char *point;
    unsigned done;
};

static void meddle(const struct io *io, const char *name)
{
    struct meddling_io *meddling = (struct meddling_io *)(uintptr_t)io;
    if (meddling->world == NULL || strcmp(name, meddling->point) != 0 || meddling->done > 0)
        return;
    meddling->done++;
    delete_both(meddling->world, "job", "job-0", INT64_MIN, DAY_0 - PARTITION_MS / 2);
    delete_both(meddling->world, "__name__", "metric_[0-2]", DAY_0 - 2 * PARTITION_MS, INT64_MAX);
}

static void test_delete_during_a_merge_is_carried_over(void **state)
{
    (void)state;
    static const char *const points[] = {"flush_encoded", "flush_sealed"};
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct world world;
        struct meddling_io meddling = {.io = *io_real(), .point = points[seed % 2]};
        meddling.io.crash_point = meddle;
        world_make(&world, seed, &meddling.io);
        for (unsigned i = 0; i < 5; i++) {
            add_flush(&world, DAY_0 - (int64_t)(6 - i) * PARTITION_MS, DAY_0);
            /* An older delete of the same series, and samples of the same times behind it: those stay. */
            if (i == 2)
                delete_both(&world, "job", "job-.*", INT64_MIN, DAY_0 - PARTITION_MS);
        }
        meddling.world = &world;
        merge_all(&world, DAY_0 + 2 * DAY_MS);
        assert_int_equal(meddling.done, 1);
        assert_same(&world);
        assert_true(stats_of(&world).tombstones > 0);
        world_reopen(&world);
        assert_same(&world);
        add_flush(&world, DAY_0 - 3 * PARTITION_MS, DAY_0);
        merge_all(&world, DAY_0 + 2 * DAY_MS);
        rewrite_all(&world);
        assert_same(&world);
        world_end(&world);
    }
}

/* ---- rewrites ---- */

static nx_code note_slot(void *context, uint32_t rank, uint32_t slot, struct labels labels,
                         struct nx_err *err)
{
    (void)rank;
    (void)err;
    nx_buf_printf(context, "%u", slot);
    for (size_t i = 0; i < labels.count; i++)
        nx_buf_printf(context, " %.*s", (int)labels.items[i].value.len, labels.items[i].value.data);
    nx_buf_append_byte(context, '\n');
    return NX_OK;
}

static void slots_of_newest(const struct world *world, struct nx_buf *out)
{
    struct block *newest = block_list_newest_flush(world->list);
    struct nx_err err;
    assert_int_equal(block_each_series(newest, note_slot, out, &err), NX_OK);
    block_unref(newest);
}

static void test_rewrite_keeps_the_slots_of_the_newest_flush(void **state)
{
    (void)state;
    struct world world;
    struct nx_buf before = {0}, after = {0};
    world_make(&world, 5, io_real());
    add_flush(&world, DAY_0 - PARTITION_MS, DAY_0 - 1);
    slots_of_newest(&world, &before);
    uint64_t samples = stats_of(&world).samples;
    delete_both(&world, "job", "job-1", INT64_MIN, INT64_MAX);
    delete_both(&world, "job", "job-2", INT64_MIN, DAY_0 - PARTITION_MS / 2);
    assert_int_equal(rewrite_all(&world), 1);
    assert_same(&world);
    slots_of_newest(&world, &after);
    assert_int_equal(before.len, after.len);
    assert_memory_equal(before.data, after.data, before.len);
    assert_true(stats_of(&world).samples < samples);
    assert_int_equal(stats_of(&world).tombstones, 1); /* one sample of each series that is gone */
    world_reopen(&world);
    assert_same(&world);
    assert_int_equal(rewrite_all(&world), 0);
    /* Another delete of it makes it worth a rewrite again. */
    delete_both(&world, "job", "job-0", INT64_MIN, INT64_MAX);
    assert_int_equal(rewrite_all(&world), 1);
    assert_same(&world);
    /* With a newer flush nothing is kept for it. */
    add_flush(&world, DAY_0, DAY_0 + 60000);
    assert_int_equal(rewrite_all(&world), 1);
    assert_same(&world);
    assert_int_equal(stats_of(&world).tombstones, 0);
    nx_buf_deinit(&before);
    nx_buf_deinit(&after);
    world_end(&world);
}

/* Three flushes hold other values for the same times; the middle one is rewritten, then all are merged. */
static void test_rewrite_keeps_the_order_of_precedence(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct world world;
        world_make(&world, seed, io_real());
        for (unsigned i = 0; i < 4; i++)
            add_flush(&world, DAY_0 - PARTITION_MS, DAY_0 - PARTITION_MS / 2);
        delete_both(&world, "job", "job-1", INT64_MIN, INT64_MAX);
        for (unsigned i = 0; i < 3; i++)
            add_flush(&world, DAY_0 - PARTITION_MS, DAY_0 - PARTITION_MS / 2);
        assert_int_equal(rewrite_all(&world), 4);
        assert_same(&world);
        world_reopen(&world);
        assert_same(&world);
        merge_all(&world, DAY_0 + DAY_MS);
        assert_same(&world);
        delete_both(&world, "job", "job-[02]", DAY_0 - PARTITION_MS, DAY_0 - PARTITION_MS * 3 / 4);
        rewrite_all(&world);
        assert_same(&world);
        struct block_snapshot snapshot;
        block_list_snapshot(world.list, INT64_MIN, INT64_MAX, &snapshot);
        for (size_t i = 0; i < snapshot.count; i++)
            assert_int_equal(block_scrub(snapshot.blocks[i], &(struct nx_err){0}), NX_OK);
        block_snapshot_end(&snapshot);
        world_end(&world);
    }
}

static void test_rewrite_of_what_is_wholly_deleted_leaves_nothing(void **state)
{
    (void)state;
    struct world world;
    world_make(&world, 6, io_real());
    add_flush(&world, DAY_0 - PARTITION_MS, DAY_0 - 1);
    delete_both(&world, "__name__", ".+", INT64_MIN, INT64_MAX);
    add_flush(&world, DAY_0, DAY_0 + 60000);
    assert_int_equal(rewrite_all(&world), 1);
    assert_int_equal(stats_of(&world).blocks, 1);
    assert_same(&world);
    world_end(&world);
}

static void test_delete_during_a_rewrite_is_carried_over(void **state)
{
    (void)state;
    struct world world;
    struct meddling_io meddling = {.io = *io_real(), .point = "flush_sealed"};
    meddling.io.crash_point = meddle;
    world_make(&world, 7, &meddling.io);
    add_flush(&world, DAY_0 - 3 * PARTITION_MS, DAY_0);
    add_flush(&world, DAY_0 - 3 * PARTITION_MS, DAY_0);
    delete_both(&world, "job", "job-1", INT64_MIN, DAY_0 - PARTITION_MS);
    meddling.world = &world;
    struct block_rewrite_result result;
    struct nx_err err;
    bool has_worked = false;
    assert_int_equal(block_list_rewrite(world.list, NULL, &has_worked, &result, &err), NX_OK);
    assert_true(has_worked && meddling.done == 1);
    assert_same(&world);
    world_reopen(&world);
    assert_same(&world);
    rewrite_all(&world);
    assert_same(&world);
    world_end(&world);
}

static void test_delete_of_a_damaged_block_sets_it_aside(void **state)
{
    (void)state;
    struct world world;
    world_make(&world, 8, io_real());
    add_flush(&world, DAY_0 - PARTITION_MS, DAY_0 - 1);
    struct block *first = block_list_newest_flush(world.list);
    char *index = path_of(block_dir(first), "index.mdb");
    block_unref(first);
    file_flip(index, 5000 * 8 + 3);
    nx_free(index);
    add_flush(&world, DAY_0, DAY_0 + 3600000);
    delete_from_list(world.list, "job", "job-1", INT64_MIN, INT64_MAX);
    assert_int_equal(stats_of(&world).quarantined, 1);
    assert_int_equal(stats_of(&world).blocks, 1);
    assert_int_equal(stats_of(&world).tombstones, 1);
    world_end(&world);
}

/* ---- histograms and exemplars ---- */

#define MIXED_SAMPLES 20

/* host-0 with floats, host-1 with histograms, host-2 with exemplars alone: one a minute each, exemplars everywhere. */
static void add_mixed(struct world *world, uint64_t commit)
{
    char ulid[ULID_TEXT_LEN + 1];
    struct nx_buf dir = {0};
    struct block_writer *writer = NULL;
    struct block_meta meta;
    struct nx_err err;
    struct rand_state rand;
    struct arena arena;
    int64_t times[MIXED_SAMPLES];
    double values[MIXED_SAMPLES];
    struct histogram_sample histograms[MIXED_SAMPLES];
    struct exemplar exemplars[MIXED_SAMPLES];
    rand_seed(&rand, commit);
    arena_init(&arena, 0);
    for (unsigned i = 0; i < MIXED_SAMPLES; i++) {
        times[i] = DAY_0 - PARTITION_MS + (int64_t)i * 60000;
        values[i] = i;
        histograms[i] = (struct histogram_sample){.time_ms = times[i],
                                                  .histogram = histogram_any(&rand, &arena)};
        exemplars[i] = (struct exemplar){.value = i, .time_ms = times[i]};
    }
    assert_int_equal(block_list_begin(world->list, ulid, &dir, &err), NX_OK);
    const struct block_writer_options options = {.io = world->io,
                                                 .dir = (const char *)dir.data,
                                                 .ulid = ulid,
                                                 .commit_min = commit,
                                                 .commit_max = commit,
                                                 .zstd_level = 1};
    assert_int_equal(block_writer_new(&writer, &options, &err), NX_OK);
    for (unsigned i = 0; i < 3; i++) {
        struct label items[] = {{NX_STR("__name__"), NX_STR("mixed")},
                                {NX_STR("instance"), arena_printf(&arena, "host-%u", i)}};
        assert_int_equal(block_writer_add(writer, (struct labels){items, 2}, i, times, values,
                                          i == 0 ? MIXED_SAMPLES : 0, &err),
                         NX_OK);
        if (i == 1)
            assert_int_equal(block_writer_add_histograms(writer, histograms, MIXED_SAMPLES, &err),
                             NX_OK);
        assert_int_equal(block_writer_add_exemplars(writer, exemplars, MIXED_SAMPLES, &err), NX_OK);
    }
    assert_int_equal(block_writer_finish(writer, &meta, &err), NX_OK);
    block_writer_free(writer);
    assert_int_equal(block_list_publish(world->list, &meta, 1, NULL, 0, &err), NX_OK);
    nx_buf_deinit(&dir);
    arena_deinit(&arena);
}

/* Of all blocks but the newest flush. */
static void assert_counts(const struct world *world, uint64_t samples, uint64_t histograms,
                          uint64_t exemplars)
{
    struct block_snapshot snapshot;
    struct block *newest = block_list_newest_flush(world->list);
    uint64_t found[3] = {0};
    block_list_snapshot(world->list, INT64_MIN, INT64_MAX, &snapshot);
    for (size_t i = 0; i < snapshot.count; i++) {
        const struct block_meta *meta = block_meta(snapshot.blocks[i]);
        assert_int_equal(block_scrub(snapshot.blocks[i], &(struct nx_err){0}), NX_OK);
        if (snapshot.blocks[i] == newest)
            continue;
        found[0] += meta->sample_count;
        found[1] += meta->histogram_count;
        found[2] += meta->exemplar_count;
    }
    block_snapshot_end(&snapshot);
    block_unref(newest);
    assert_int_equal(found[0], samples);
    assert_int_equal(found[1], histograms);
    assert_int_equal(found[2], exemplars);
}

static void test_histograms_and_exemplars_are_deleted_with_their_series(void **state)
{
    (void)state;
    for (unsigned by_merge = 0; by_merge < 2; by_merge++) {
        struct world world;
        world_make(&world, 10, io_real());
        add_mixed(&world, 1);
        /* Minutes 5 to 9 of all, and the first six of the histograms. */
        delete_from_list(world.list, "__name__", "mixed", DAY_0 - PARTITION_MS + 5 * 60000,
                         DAY_0 - PARTITION_MS + 9 * 60000);
        delete_from_list(world.list, "instance", "host-1", INT64_MIN,
                         DAY_0 - PARTITION_MS + 5 * 60000);
        add_mixed(&world, 2); /* of the same times: untouched */
        if (by_merge == 1)
            merge_all(&world, DAY_0 + DAY_MS);
        else
            assert_int_equal(rewrite_all(&world), 1);
        assert_counts(&world, 15 + 10, 10, 15 + 10 + 15);
        assert_int_equal(stats_of(&world).tombstones, 0);
        delete_from_list(world.list, "__name__", "mixed", INT64_MIN, INT64_MAX);
        assert_true(rewrite_all(&world) > 0);
        assert_counts(&world, 0, 0, 0);
        world_end(&world);
    }
}

/* ---- retention by size ---- */

static void test_retention_by_size_counts_all_files_and_drops_the_oldest(void **state)
{
    (void)state;
    struct world world;
    struct nx_err err;
    unsigned removed = 0;
    world_make(&world, 9, io_real());
    for (int64_t i = 0; i < 4; i++)
        add_flush(&world, DAY_0 + i * PARTITION_MS, DAY_0 + (i + 1) * PARTITION_MS - 1);
    uint64_t bytes = 0, last_bytes = 0;
    struct block_snapshot snapshot;
    block_list_snapshot(world.list, INT64_MIN, INT64_MAX, &snapshot);
    for (size_t i = 0; i < snapshot.count; i++) {
        static const char *const names[] = {"index.mdb", "chunks.nxc", "block.meta"};
        last_bytes = 0;
        for (unsigned k = 0; k < 3; k++) {
            char *path = path_of(block_dir(snapshot.blocks[i]), names[k]);
            last_bytes += file_bytes(path);
            nx_free(path);
        }
        bytes += last_bytes;
    }
    block_snapshot_end(&snapshot);
    assert_int_equal(stats_of(&world).bytes, bytes);
    assert_int_equal(retention_run_bytes(world.list, bytes, &removed, &err), NX_OK);
    assert_int_equal(removed, 0);
    assert_int_equal(retention_run_bytes(world.list, bytes - 1, &removed, &err), NX_OK);
    assert_int_equal(removed, 1);
    block_list_snapshot(world.list, INT64_MIN, INT64_MAX, &snapshot);
    for (size_t i = 0; i < snapshot.count; i++)
        assert_true(block_meta(snapshot.blocks[i])->min_time_ms >= DAY_0 + PARTITION_MS);
    block_snapshot_end(&snapshot);
    assert_int_equal(retention_run_bytes(world.list, 1, &removed, &err), NX_OK);
    assert_int_equal(removed, 2); /* the newest flush stays, whatever it takes */
    assert_int_equal(stats_of(&world).bytes, last_bytes);
    world_end(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_delete_masks_at_once_and_after_a_restart),
        cmocka_unit_test(test_delete_never_touches_what_comes_later),
        cmocka_unit_test(test_merge_drops_what_is_deleted),
        cmocka_unit_test(test_merge_of_what_is_wholly_deleted_leaves_nothing),
        cmocka_unit_test(test_wholly_deleted_blocks_are_dropped),
        cmocka_unit_test(test_delete_during_a_merge_is_carried_over),
        cmocka_unit_test(test_rewrite_keeps_the_slots_of_the_newest_flush),
        cmocka_unit_test(test_rewrite_keeps_the_order_of_precedence),
        cmocka_unit_test(test_rewrite_of_what_is_wholly_deleted_leaves_nothing),
        cmocka_unit_test(test_delete_during_a_rewrite_is_carried_over),
        cmocka_unit_test(test_delete_of_a_damaged_block_sets_it_aside),
        cmocka_unit_test(test_histograms_and_exemplars_are_deleted_with_their_series),
        cmocka_unit_test(test_retention_by_size_counts_all_files_and_drops_the_oldest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
