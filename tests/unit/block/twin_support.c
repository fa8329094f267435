/* SPDX-License-Identifier: Apache-2.0 */
/* twin_support.c - the slow store beside a block list. */
#include "tests/unit/block/twin_support.h"

#include "narthex/base/mem.h"

#include <stdlib.h>

static int twin_compare(const void *left, const void *right)
{
    const struct twin_series *a = left, *b = right;
    return labels_compare(a->labels, b->labels);
}

void twin_init(struct twin *twin, size_t series_count)
{
    *twin = (struct twin){.series_count = series_count, .next_commit = 1};
    arena_init(&twin->arena, 0);
    twin->series = nx_calloc(series_count, sizeof(*twin->series));
    for (size_t i = 0; i < series_count; i++) {
        struct label *items = arena_calloc(&twin->arena, 3, sizeof(*items));
        items[0] = (struct label){NX_STR("__name__"),
                                  arena_printf(&twin->arena, "metric_%d", (int)(i % 7))};
        items[1] =
            (struct label){NX_STR("instance"), arena_printf(&twin->arena, "host-%d", (int)i)};
        items[2] =
            (struct label){NX_STR("job"), arena_printf(&twin->arena, "job-%d", (int)(i % 3))};
        twin->series[i].labels = (struct labels){items, i % 5 == 4 ? 2 : 3};
    }
    qsort(twin->series, series_count, sizeof(*twin->series), twin_compare);
}

void twin_deinit(struct twin *twin)
{
    for (size_t i = 0; i < twin->series_count; i++)
        nx_free(twin->series[i].samples);
    nx_free(twin->series);
    arena_deinit(&twin->arena);
}

bool twin_add(struct twin_series *series, int64_t time_ms, double value)
{
    size_t low = 0, high = series->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (series->samples[middle].time_ms < time_ms)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < series->count && series->samples[low].time_ms == time_ms)
        return false;
    if (series->count == series->cap) {
        series->cap = series->cap == 0 ? 16 : series->cap * 2;
        series->samples = nx_realloc_array(series->samples, series->cap, sizeof(*series->samples));
    }
    memmove(series->samples + low + 1, series->samples + low,
            (series->count - low) * sizeof(*series->samples));
    series->samples[low] = (struct twin_sample){time_ms, value};
    series->count++;
    return true;
}

uint64_t twin_samples(const struct twin *twin)
{
    uint64_t count = 0;
    for (size_t i = 0; i < twin->series_count; i++)
        count += twin->series[i].count;
    return count;
}

/* ---- writing ---- */

static int time_compare(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

static size_t random_times(struct rand_state *rand, const struct twin_flush *flush, int64_t *times)
{
    size_t count = 1 + (size_t)rand_below(rand, flush->samples_max), unique = 0;
    for (size_t i = 0; i < count; i++) {
        times[i] = flush->min_ms +
                   (int64_t)rand_below(rand, (uint64_t)(flush->max_ms - flush->min_ms) + 1);
        if (flush->late_days > 0 && rand_below(rand, 8) == 0)
            times[i] -= (int64_t)rand_below(rand, flush->late_days + 1) * 24 * 3600 * 1000;
        times[i] -= times[i] % flush->step_ms;
    }
    qsort(times, count, sizeof(*times), time_compare);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || times[i] != times[unique - 1])
            times[unique++] = times[i];
    return unique;
}

/* All series' samples first: what is published is added to the twin, else nothing is. */
struct pending {
    size_t series, count;
    int64_t *times;
    double *values;
};

nx_code twin_flush(struct twin *twin, struct block_list *list, const struct io *io,
                   struct rand_state *rand, const struct twin_flush *flush, struct nx_err *err)
{
    struct pending *pending = nx_calloc(twin->series_count, sizeof(*pending));
    size_t pending_count = 0;
    for (size_t i = 0; i < twin->series_count; i++) {
        if (rand_below(rand, 4) == 0 && !(i + 1 == twin->series_count && pending_count == 0))
            continue;
        struct pending *one = &pending[pending_count++];
        one->series = i;
        one->times = nx_alloc(flush->samples_max * sizeof(int64_t));
        one->values = nx_alloc(flush->samples_max * sizeof(double));
        one->count = random_times(rand, flush, one->times);
        for (size_t j = 0; j < one->count; j++)
            one->values[j] = (double)rand_below(rand, 1000) / 8;
    }

    char ulid[ULID_TEXT_LEN + 1];
    struct nx_buf dir = {0};
    struct block_writer *writer = NULL;
    struct block_meta meta;
    uint64_t commit = twin->next_commit++;
    nx_code code = block_list_begin(list, ulid, &dir, err);
    bool is_begun = code == NX_OK;
    const struct block_writer_options options = {.io = io,
                                                 .dir = (const char *)dir.data,
                                                 .ulid = ulid,
                                                 .level = 0,
                                                 .commit_min = commit,
                                                 .commit_max = commit,
                                                 .zstd_level = 1};
    if (code == NX_OK)
        code = block_writer_new(&writer, &options, err);
    for (size_t i = 0; code == NX_OK && i < pending_count; i++)
        code = block_writer_add(writer, twin->series[pending[i].series].labels,
                                (uint32_t)pending[i].series, pending[i].times, pending[i].values,
                                pending[i].count, err);
    if (code == NX_OK)
        code = block_writer_finish(writer, &meta, err);
    block_writer_free(writer);
    bool is_finished = code == NX_OK;
    if (is_finished)
        code = block_list_publish(list, &meta, 1, NULL, 0, err);
    else if (is_begun)
        block_list_abandon(list, ulid);
    for (size_t i = 0; i < pending_count; i++) {
        for (size_t j = 0; code == NX_OK && j < pending[i].count; j++) {
            twin_add(&twin->series[pending[i].series], pending[i].times[j], pending[i].values[j]);
            twin->written++;
        }
        nx_free(pending[i].times);
        nx_free(pending[i].values);
    }
    nx_free(pending);
    nx_buf_deinit(&dir);
    return code;
}

/* ---- reading ---- */

static struct twin_series *twin_find(const struct twin *twin, struct labels labels)
{
    const struct twin_series key = {.labels = labels};
    return bsearch(&key, twin->series, twin->series_count, sizeof(key), twin_compare);
}

static void read_block(struct block *block, const struct twin *twin, const struct twin *seen)
{
    struct block_reader *reader = NULL;
    struct nx_err err;
    struct nx_buf times = {0}, values = {0};
    nx_code code = block_reader_new(block, &reader, &err);
    if (code != NX_OK)
        fail_msg("reader: %s", err.msg);
    for (uint32_t rank = 0; rank < block_meta(block)->series_count; rank++) {
        struct labels labels;
        assert_int_equal(block_reader_labels(reader, rank, &labels, NULL, &err), NX_OK);
        const struct twin_series *expected = twin_find(twin, labels);
        assert_non_null(expected);
        nx_buf_reset(&times);
        nx_buf_reset(&values);
        code = block_reader_samples(reader, rank, INT64_MIN, INT64_MAX, &times, &values, &err);
        if (code != NX_OK)
            fail_msg("samples: %s", err.msg);
        const int64_t *at = (const int64_t *)(const void *)times.data;
        const double *value = (const double *)(const void *)values.data;
        for (size_t i = 0; i < times.len / sizeof(*at); i++) {
            assert_true(at[i] >= block_meta(block)->min_time_ms &&
                        at[i] <= block_meta(block)->max_time_ms);
            twin_add(&seen->series[expected - twin->series], at[i], value[i]);
        }
    }
    block_reader_free(reader);
    nx_buf_deinit(&times);
    nx_buf_deinit(&values);
}

uint64_t assert_list_is_twin(struct block_list *list, const struct twin *twin)
{
    struct twin seen = {.series_count = twin->series_count};
    struct block_snapshot snapshot;
    uint64_t samples = 0;
    arena_init(&seen.arena, 0);
    seen.series = nx_calloc(twin->series_count, sizeof(*seen.series));
    block_list_snapshot(list, INT64_MIN, INT64_MAX, &snapshot);
    for (size_t i = 0; i < snapshot.count; i++) {
        read_block(snapshot.blocks[i], twin, &seen);
        samples += block_meta(snapshot.blocks[i])->sample_count;
    }
    for (size_t i = 0; i < twin->series_count; i++) {
        assert_int_equal(seen.series[i].count, twin->series[i].count);
        if (seen.series[i].count > 0)
            assert_memory_equal(seen.series[i].samples, twin->series[i].samples,
                                seen.series[i].count * sizeof(struct twin_sample));
    }
    block_snapshot_end(&snapshot);
    twin_deinit(&seen);
    return samples;
}

struct block_list *open_list(const struct io *io, const char *data_dir, int64_t now_ms)
{
    static struct clock_manual clock;
    struct block_list *list = NULL;
    struct nx_err err;
    clock_manual_init(&clock, now_ms);
    const struct block_list_options options = {
        .io = io, .clock = &clock.clock, .data_dir = data_dir, .cache_bytes = 1 << 20};
    nx_code code = block_list_open(&list, &options, &err);
    if (code != NX_OK)
        fail_msg("open: %s", err.msg);
    return list;
}
