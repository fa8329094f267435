/* SPDX-License-Identifier: Apache-2.0 */
/* test_merge_histogram.c - merges of series that have floats, native histograms and exemplars: nothing is lost, of
 * equal times the earlier commit stays whatever its kind, and equal exemplars are kept once.
 *
 * A sample is told by a number: a float is the number, a histogram has it in its buckets.
 */
#include "narthex/base/mem.h"
#include "narthex/block/merge.h"

#include "merge_internal.h"
#include "tests/unit/block/twin_support.h"

#include <stdlib.h>

#define DAY_0   (20000 * DAY_MS)
#define SERIES  12u
#define BUCKETS 6u

struct twin_exemplar {
    int64_t time_ms;
    uint64_t id;
};

/* The twin's samples are ids; those above HISTOGRAM_IDS are histograms. */
#define HISTOGRAM_IDS 1e9

struct world {
    char *dir;
    struct block_list *list;
    struct twin twin;
    struct nx_buf exemplars[SERIES]; /* struct twin_exemplar, no two equal */
    uint64_t next_id;
    uint64_t duplicates; /* dropped by merges */
    bool has_floats;
};

static void make_histogram(uint64_t id, struct arena *arena, struct histogram *out)
{
    struct histogram_span *span = arena_calloc(arena, 1, sizeof(*span));
    uint64_t *counts = arena_calloc(arena, BUCKETS, sizeof(*counts));
    *out = (struct histogram){.schema = id % 50 == 0 ? 1 : 0, .sum = (double)id / 4};
    *span = (struct histogram_span){.offset = (int32_t)(id % 5 == 0), .length = BUCKETS};
    for (size_t b = 0; b < BUCKETS; b++)
        counts[b] = id + b;
    out->sides[HISTOGRAM_POSITIVE] = (struct histogram_side){
        .spans = span, .buckets = counts, .span_count = 1, .bucket_count = BUCKETS};
    out->count = histogram_total(out);
}

static struct exemplar make_exemplar(const struct twin_exemplar *from, struct arena *arena)
{
    struct label *label = arena_calloc(arena, 1, sizeof(*label));
    *label = (struct label){NX_STR("trace_id"),
                            arena_printf(arena, "%016llx", (unsigned long long)from->id * 7919)};
    return (struct exemplar){
        .labels = {label, 1}, .value = (double)from->id, .time_ms = from->time_ms};
}

static void world_init(struct world *world, bool has_floats)
{
    *world = (struct world){.next_id = 1, .has_floats = has_floats};
    world->dir = temp_dir_new();
    twin_init(&world->twin, SERIES);
    world->list = open_list(io_real(), world->dir, DAY_0);
}

static void world_deinit(struct world *world)
{
    block_list_close(world->list);
    twin_deinit(&world->twin);
    for (size_t s = 0; s < SERIES; s++)
        nx_buf_deinit(&world->exemplars[s]);
    temp_dir_free(world->dir);
}

static int compare_times(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

static bool has_exemplar(const struct nx_buf *all, const struct twin_exemplar *one)
{
    const struct twin_exemplar *at = (const struct twin_exemplar *)(const void *)all->data;
    for (size_t i = 0; i < all->len / sizeof(*at); i++)
        if (at[i].time_ms == one->time_ms && at[i].id == one->id)
            return true;
    return false;
}

/* Some new, some that were there before. */
static void add_exemplars(struct world *world, size_t s, struct block_writer *writer,
                          struct rand_state *rand, int64_t min_ms, int64_t max_ms, size_t at_least)
{
    struct exemplar made[8];
    struct arena arena;
    struct nx_err err;
    size_t count = at_least + (size_t)rand_below(rand, 8 - at_least);
    struct nx_buf *all = &world->exemplars[s];
    arena_init(&arena, 0);
    for (size_t i = 0; i < count; i++) {
        struct twin_exemplar one = {
            .time_ms = min_ms + (int64_t)rand_below(rand, (uint64_t)(max_ms - min_ms)),
            .id = world->next_id++};
        if (all->len > 0 && rand_below(rand, 3) == 0) {
            size_t at = (size_t)rand_below(rand, all->len / sizeof(one));
            memcpy(&one, all->data + at * sizeof(one), sizeof(one));
        }
        if (!has_exemplar(all, &one))
            nx_buf_append(all, &one, sizeof(one));
        made[i] = make_exemplar(&one, &arena);
    }
    assert_int_equal(block_writer_add_exemplars(writer, made, count, &err), NX_OK);
    arena_deinit(&arena);
}

/* Samples of both kinds, no two of one time. */
static void add_series(struct world *world, size_t s, struct block_writer *writer,
                       struct rand_state *rand, int64_t min_ms, int64_t max_ms, size_t count)
{
    int64_t *times = nx_alloc(count * sizeof(*times));
    int64_t *float_times = nx_alloc(count * sizeof(*float_times));
    double *floats = nx_alloc(count * sizeof(*floats));
    struct histogram *histograms = nx_alloc(count * sizeof(*histograms));
    struct histogram_sample *samples = nx_alloc(count * sizeof(*samples));
    size_t float_count = 0, histogram_count = 0;
    struct arena arena;
    struct nx_err err;
    arena_init(&arena, 0);
    for (size_t i = 0; i < count; i++) {
        times[i] = min_ms + (int64_t)rand_below(rand, (uint64_t)(max_ms - min_ms));
        times[i] -= times[i] % 5000;
    }
    qsort(times, count, sizeof(*times), compare_times);
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && times[i] == times[i - 1])
            continue;
        uint64_t id = world->next_id++;
        bool is_float = world->has_floats && (s % 3 == 0 ? id % 2 == 0 : id % 100 == 0);
        if (is_float) {
            float_times[float_count] = times[i];
            floats[float_count++] = (double)id;
        } else {
            make_histogram(id, &arena, &histograms[histogram_count]);
            samples[histogram_count] = (struct histogram_sample){
                .time_ms = times[i], .histogram = &histograms[histogram_count]};
            histogram_count++;
        }
        twin_add(&world->twin.series[s], times[i],
                 is_float ? (double)id : HISTOGRAM_IDS + (double)id);
        world->twin.written++;
    }
    assert_int_equal(block_writer_add(writer, world->twin.series[s].labels, (uint32_t)s,
                                      float_times, floats, float_count, &err),
                     NX_OK);
    /* In two calls: chunks may be cut anywhere. */
    size_t half = histogram_count / 2;
    assert_int_equal(block_writer_add_histograms(writer, samples, half, &err), NX_OK);
    assert_int_equal(
        block_writer_add_histograms(writer, samples + half, histogram_count - half, &err), NX_OK);
    arena_deinit(&arena);
    nx_free(times);
    nx_free(float_times);
    nx_free(floats);
    nx_free(histograms);
    nx_free(samples);
}

static void world_flush(struct world *world, struct rand_state *rand, int64_t min_ms,
                        int64_t max_ms, size_t samples_max)
{
    char ulid[ULID_TEXT_LEN + 1];
    struct nx_buf dir = {0};
    struct block_writer *writer = NULL;
    struct block_meta meta;
    struct nx_err err;
    uint64_t commit = world->twin.next_commit++;
    assert_int_equal(block_list_begin(world->list, ulid, &dir, &err), NX_OK);
    const struct block_writer_options options = {.io = io_real(),
                                                 .dir = (const char *)dir.data,
                                                 .ulid = ulid,
                                                 .level = 0,
                                                 .commit_min = commit,
                                                 .commit_max = commit,
                                                 .zstd_level = 1};
    assert_int_equal(block_writer_new(&writer, &options, &err), NX_OK);
    for (size_t s = 0; s < SERIES; s++) {
        if (s == SERIES - 2 || (s > 0 && rand_below(rand, 4) == 0)) {
            /* Exemplars alone; one series never has anything else. */
            if (rand_below(rand, 2) == 0)
                continue;
            assert_int_equal(block_writer_add(writer, world->twin.series[s].labels, (uint32_t)s,
                                              NULL, NULL, 0, &err),
                             NX_OK);
            add_exemplars(world, s, writer, rand, min_ms - 20000, max_ms + 20000, 1);
            continue;
        }
        add_series(world, s, writer, rand, min_ms, max_ms,
                   1 + (size_t)rand_below(rand, samples_max));
        add_exemplars(world, s, writer, rand, min_ms - 20000, max_ms + 20000, 0);
    }
    assert_int_equal(block_writer_finish(writer, &meta, &err), NX_OK);
    block_writer_free(writer);
    assert_int_equal(block_list_publish(world->list, &meta, 1, NULL, 0, &err), NX_OK);
    nx_buf_deinit(&dir);
}

static void world_merge(struct world *world, int64_t now_ms)
{
    for (unsigned jobs = 0;; jobs++) {
        bool has_worked = false;
        struct merge_result result;
        struct nx_err err;
        nx_code code = merge_run(world->list, now_ms, false, NULL, &has_worked, &result, &err);
        if (code != NX_OK)
            fail_msg("merge: %s", err.msg);
        if (!has_worked)
            return;
        assert_true(result.histograms <= result.samples);
        world->duplicates += result.duplicates;
        assert_true(jobs < 1000);
    }
}

/* The samples of one series in one block, into `seen` where no earlier block had one of that time. */
static void read_series(struct block_reader *reader, uint32_t rank, struct twin_series *seen,
                        uint64_t *samples)
{
    struct nx_buf times = {0}, values = {0}, histograms = {0};
    struct arena arena;
    struct nx_err err;
    arena_init(&arena, 0);
    assert_int_equal(
        block_reader_samples(reader, rank, INT64_MIN, INT64_MAX, &times, &values, &err), NX_OK);
    assert_int_equal(
        block_reader_histograms(reader, rank, INT64_MIN, INT64_MAX, &arena, &histograms, &err),
        NX_OK);
    for (size_t i = 0; i < times.len / sizeof(int64_t); i++)
        twin_add(seen, ((const int64_t *)(const void *)times.data)[i],
                 ((const double *)(const void *)values.data)[i]);
    const struct histogram_sample *got =
        (const struct histogram_sample *)(const void *)histograms.data;
    for (size_t i = 0; i < histograms.len / sizeof(*got); i++) {
        struct histogram expected;
        uint64_t id = got[i].histogram->sides[HISTOGRAM_POSITIVE].buckets[0];
        make_histogram(id, &arena, &expected);
        assert_true(histogram_equal(&expected, got[i].histogram));
        twin_add(seen, got[i].time_ms, HISTOGRAM_IDS + (double)id);
    }
    *samples += times.len / sizeof(int64_t) + histograms.len / sizeof(*got);
    nx_buf_deinit(&times);
    nx_buf_deinit(&values);
    nx_buf_deinit(&histograms);
    arena_deinit(&arena);
}

/* Exemplars of one series in one block; all of them are the world's. */
static void read_exemplars(const struct world *world, size_t s, struct block_reader *reader,
                           uint32_t rank, struct nx_buf *seen)
{
    struct nx_buf found = {0};
    struct arena arena;
    struct nx_err err;
    arena_init(&arena, 0);
    assert_int_equal(
        block_reader_exemplars(reader, rank, INT64_MIN, INT64_MAX, &arena, &found, &err), NX_OK);
    const struct exemplar *got = (const struct exemplar *)(const void *)found.data;
    for (size_t i = 0; i < found.len / sizeof(*got); i++) {
        struct twin_exemplar one = {.time_ms = got[i].time_ms, .id = (uint64_t)got[i].value};
        struct exemplar expected = make_exemplar(&one, &arena);
        assert_true(exemplar_equal(&got[i], &expected));
        assert_true(has_exemplar(&world->exemplars[s], &one));
        if (!has_exemplar(seen, &one))
            nx_buf_append(seen, &one, sizeof(one));
    }
    nx_buf_deinit(&found);
    arena_deinit(&arena);
}

static size_t series_of(const struct world *world, struct labels labels)
{
    for (size_t s = 0; s < SERIES; s++)
        if (labels_equal(world->twin.series[s].labels, labels))
            return s;
    fail_msg("a series that nobody wrote");
    return SERIES;
}

/* All that is in the blocks is the twin's. Returns the exemplars, equal ones of several blocks counted each. */
static uint64_t assert_world(const struct world *world)
{
    struct twin_series seen[SERIES] = {0};
    struct nx_buf exemplars[SERIES] = {0};
    struct block_snapshot snapshot;
    uint64_t samples = 0, exemplar_count = 0;
    struct nx_err err;
    block_list_snapshot(world->list, INT64_MIN, INT64_MAX, &snapshot);
    for (size_t i = 0; i < snapshot.count; i++) {
        struct block_reader *reader = NULL;
        const struct block_meta *meta = block_meta(snapshot.blocks[i]);
        uint64_t before = samples;
        if (block_scrub(snapshot.blocks[i], &err) != NX_OK)
            fail_msg("scrub: %s", err.msg);
        assert_int_equal(block_reader_new(snapshot.blocks[i], &reader, &err), NX_OK);
        for (uint32_t rank = 0; rank < meta->series_count; rank++) {
            struct labels labels;
            assert_int_equal(block_reader_labels(reader, rank, &labels, NULL, &err), NX_OK);
            size_t s = series_of(world, labels);
            read_series(reader, rank, &seen[s], &samples);
            read_exemplars(world, s, reader, rank, &exemplars[s]);
        }
        assert_int_equal(samples - before, meta->sample_count);
        exemplar_count += meta->exemplar_count;
        block_reader_free(reader);
    }
    for (size_t s = 0; s < SERIES; s++) {
        const struct twin_series *twin = &world->twin.series[s];
        assert_int_equal(seen[s].count, twin->count);
        if (twin->count > 0)
            assert_memory_equal(seen[s].samples, twin->samples,
                                twin->count * sizeof(*twin->samples));
        assert_int_equal(exemplars[s].len, world->exemplars[s].len);
        nx_free(seen[s].samples);
        nx_buf_deinit(&exemplars[s]);
    }
    assert_int_equal(samples + world->duplicates, world->twin.written);
    block_snapshot_end(&snapshot);
    return exemplar_count;
}

static uint64_t world_exemplars(const struct world *world)
{
    uint64_t count = 0;
    for (size_t s = 0; s < SERIES; s++)
        count += world->exemplars[s].len / sizeof(struct twin_exemplar);
    return count;
}

static void test_merges_keep_floats_histograms_and_exemplars(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct world world;
        struct rand_state rand;
        rand_seed(&rand, seed);
        world_init(&world, seed != 2);
        int64_t now_ms = DAY_0;
        for (unsigned i = 0; i < 24; i++) {
            int64_t early_ms = seed == 3 && i % 4 == 0 ? DAY_MS : 0; /* late data */
            world_flush(&world, &rand, now_ms - 40 * 60 * 1000 - early_ms, now_ms - early_ms,
                        seed == 4 ? 900 : 60);
            now_ms += 30 * 60 * 1000;
            if (i % 3 == 2)
                world_merge(&world, now_ms);
            if (i % 8 == 7)
                assert_world(&world);
        }
        world_merge(&world, now_ms + 3 * DAY_MS);
        assert_world(&world);
        assert_true(world.duplicates > 0);
        block_list_close(world.list);
        world.list = open_list(io_real(), world.dir, now_ms);
        assert_world(&world);
        world_deinit(&world);
    }
}

/* More partitions than are written at once: each exemplar is written in one pass. */
static void test_merge_in_several_passes_writes_exemplars_once(void **state)
{
    (void)state;
    struct world world;
    struct rand_state rand;
    rand_seed(&rand, 11);
    world_init(&world, true);
    for (unsigned i = 0; i < 3; i++)
        world_flush(&world, &rand, DAY_0 - 40 * DAY_MS, DAY_0, 200);
    uint64_t before = assert_world(&world);
    assert_true(before > world_exemplars(&world)); /* some in several blocks */
    bool has_worked = false;
    struct merge_result result;
    struct nx_err err;
    assert_int_equal(merge_run(world.list, DAY_0 + DAY_MS, true, NULL, &has_worked, &result, &err),
                     NX_OK);
    assert_true(has_worked && result.outputs > 2 * MERGE_OUTPUTS_MAX);
    world.duplicates += result.duplicates;
    uint64_t left = before - assert_world(&world);
    assert_true(left > 0 && result.exemplars + left <= before);
    world_deinit(&world);
}

/* A day of one block each two hours: chunks are copied, and the few floats between them disturb nothing. */
static void test_merge_copies_long_histogram_chunks(void **state)
{
    (void)state;
    struct world world;
    struct arena arena;
    struct nx_err err;
    world_init(&world, true);
    arena_init(&arena, 0);
    for (unsigned part = 0; part < 13; part++) {
        char ulid[ULID_TEXT_LEN + 1];
        struct nx_buf dir = {0};
        struct block_writer *writer = NULL;
        struct block_meta meta;
        assert_int_equal(block_list_begin(world.list, ulid, &dir, &err), NX_OK);
        const struct block_writer_options options = {.io = io_real(),
                                                     .dir = (const char *)dir.data,
                                                     .ulid = ulid,
                                                     .level = part < 12 ? 1 : 0,
                                                     .commit_min = part,
                                                     .commit_max = part,
                                                     .zstd_level = 1};
        assert_int_equal(block_writer_new(&writer, &options, &err), NX_OK);
        struct histogram *histograms = arena_alloc(&arena, 480 * sizeof(*histograms));
        struct histogram_sample *samples = arena_alloc(&arena, 480 * sizeof(*samples));
        int64_t float_time = DAY_0 + part * PARTITION_MS + 480 * 15000 - 7;
        double stale = 5;
        for (unsigned i = 0; i < 480; i++) {
            make_histogram(part * 480 + i + 1, &arena, &histograms[i]);
            samples[i] = (struct histogram_sample){
                .time_ms = DAY_0 + part * PARTITION_MS + i * 15000, .histogram = &histograms[i]};
            twin_add(&world.twin.series[0], samples[i].time_ms, HISTOGRAM_IDS + part * 480 + i + 1);
        }
        twin_add(&world.twin.series[0], float_time, stale);
        world.twin.written += 481;
        assert_int_equal(
            block_writer_add(writer, world.twin.series[0].labels, 5, &float_time, &stale, 1, &err),
            NX_OK);
        assert_int_equal(block_writer_add_histograms(writer, samples, 480, &err), NX_OK);
        assert_int_equal(block_writer_finish(writer, &meta, &err), NX_OK);
        assert_int_equal(meta.chunk_count, 2);
        assert_int_equal(meta.histogram_count, 480);
        block_writer_free(writer);
        assert_int_equal(block_list_publish(world.list, &meta, 1, NULL, 0, &err), NX_OK);
        nx_buf_deinit(&dir);
    }
    world_merge(&world, DAY_0 + 2 * DAY_MS);
    assert_world(&world);
    struct block_snapshot snapshot;
    block_list_snapshot(world.list, DAY_0, DAY_0 + DAY_MS - 1, &snapshot);
    assert_int_equal(snapshot.count, 1);
    assert_int_equal(block_meta(snapshot.blocks[0])->chunk_count, 12 + 1);
    assert_int_equal(block_meta(snapshot.blocks[0])->histogram_count, 12 * 480);
    block_snapshot_end(&snapshot);
    arena_deinit(&arena);
    world_deinit(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merges_keep_floats_histograms_and_exemplars),
        cmocka_unit_test(test_merge_in_several_passes_writes_exemplars_once),
        cmocka_unit_test(test_merge_copies_long_histogram_chunks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
