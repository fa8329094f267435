/* SPDX-License-Identifier: Apache-2.0 */
/* block_support.c - directories and made-up series for the block tests. */
#include "tests/unit/block/block_support.h"

#include "narthex/base/assert.h"
#include "narthex/base/hash.h"
#include "narthex/base/mem.h"
#include "narthex/model/staleness.h"

#include "tests/unit/codec/histogram_support.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

char *temp_dir_new(void)
{
    hash_secret_init();
    const char *parent = getenv("TMPDIR");
    char path[512];
    int length =
        snprintf(path, sizeof(path), "%s/narthex-block-XXXXXX", parent != NULL ? parent : "/tmp");
    NX_ASSERT(length > 0 && (size_t)length < sizeof(path));
    NX_ASSERT(mkdtemp(path) != NULL);
    return nx_strdup(path);
}

void temp_dir_free(char *dir)
{
    struct nx_err err;
    assert_int_equal(io_remove_tree(io_real(), dir, &err), NX_OK);
    nx_free(dir);
}

char *path_of(const char *dir, const char *name)
{
    size_t bytes = strlen(dir) + strlen(name) + 2;
    char *path = nx_alloc(bytes);
    snprintf(path, bytes, "%s/%s", dir, name);
    return path;
}

void file_flip(const char *path, uint64_t bit)
{
    int fd = open(path, O_RDWR);
    NX_ASSERT(fd >= 0);
    uint8_t byte;
    NX_ASSERT(pread(fd, &byte, 1, (off_t)(bit / 8)) == 1);
    byte ^= (uint8_t)(1u << (bit % 8));
    NX_ASSERT(pwrite(fd, &byte, 1, (off_t)(bit / 8)) == 1);
    close(fd);
}

uint64_t file_bytes(const char *path)
{
    struct stat status;
    NX_ASSERT(stat(path, &status) == 0);
    return (uint64_t)status.st_size;
}

/* ---- models ---- */

static struct label *label_put(struct model *model, struct label *at, const char *name,
                               struct nx_str value)
{
    at->name = arena_strdup(&model->arena, nx_str_from(name));
    at->value = value;
    return at + 1;
}

static struct labels make_labels(struct model *model, struct rand_state *rand, uint64_t kinds)
{
    struct arena *arena = &model->arena;
    struct label *items = arena_calloc(arena, 8, sizeof(*items)), *at = items;
    static const char *const metrics[] = {"go_goroutines", "http_requests_total",
                                          "process_cpu_seconds_total", "up"};
    uint64_t job = rand_below(rand, 4), instance = rand_below(rand, kinds);
    at = label_put(model, at, "__name__", nx_str_from(metrics[rand_below(rand, 4)]));
    if (rand_below(rand, 4) != 0)
        at = label_put(model, at, "code",
                       arena_printf(arena, "%d", (int)(200 + rand_below(rand, 5) * 100)));
    at = label_put(model, at, "instance",
                   arena_printf(arena, "10.0.%d.%d:9100", (int)job, (int)instance));
    at = label_put(model, at, "job", arena_printf(arena, "job-%d", (int)job));
    if (rand_below(rand, 3) == 0)
        at = label_put(model, at, "note",
                       arena_printf(arena, "%0*d", (int)(1 + rand_below(rand, 60)),
                                    (int)rand_below(rand, kinds)));
    if (rand_below(rand, 10) == 0)
        at = label_put(model, at, "zone", NX_STR("eu \"quoted\"\n\xc3\xa9"));
    return (struct labels){items, (size_t)(at - items)};
}

static int series_compare(const void *left, const void *right)
{
    const struct model_series *a = left, *b = right;
    return labels_compare(a->labels, b->labels);
}

static double make_value(struct rand_state *rand, unsigned kind, double last, bool has_odd_values)
{
    if (has_odd_values && rand_below(rand, 40) == 0) {
        static const uint64_t odd[] = {STALE_NAN_BITS,
                                       ORDINARY_NAN_BITS,
                                       0xfff8000000001234ULL,
                                       0x8000000000000000ULL,
                                       0x7ff0000000000000ULL,
                                       0xfff0000000000000ULL,
                                       1};
        return float_from_bits(odd[rand_below(rand, NX_ARRAY_LEN(odd))]);
    }
    switch (kind) {
    case 0:
        return 1;
    case 1:
        return isfinite(last) ? last + (double)rand_below(rand, 20) : 7;
    case 2:
        return (double)rand_below(rand, 100000) / 1000;
    default:
        return rand_unit(rand) * 1e9 - 5e8;
    }
}

static void fill_samples(struct model *model, struct model_series *series, struct rand_state *rand,
                         const struct model_options *options)
{
    size_t count = 1 + (size_t)rand_below(rand, options->samples_max);
    series->times_ms = arena_alloc(&model->arena, count * sizeof(int64_t));
    series->values = arena_alloc(&model->arena, count * sizeof(double));
    series->count = count;
    unsigned kind = (unsigned)rand_below(rand, 4);
    int64_t time_ms = options->start_ms;
    struct rand_state clock;
    /* Series of one instance draw the same jitter, so they share their times. */
    struct nx_str instance = labels_get(series->labels, NX_STR("instance"));
    rand_seed(&clock,
              options->is_shared_time ? nx_hash64(instance.data, instance.len, 7) : rand_u64(rand));
    for (size_t i = 0; i < count; i++) {
        time_ms += options->step_ms + (int64_t)rand_below(&clock, 5);
        series->times_ms[i] = time_ms;
        series->values[i] =
            make_value(rand, kind, i == 0 ? 0 : series->values[i - 1], options->has_odd_values);
    }
}

/* Behind the floats, if any; and some exemplars around. */
static void fill_histograms(struct model *model, struct model_series *series,
                            struct rand_state *rand, const struct model_options *options)
{
    struct arena *arena = &model->arena;
    int64_t time_ms = options->start_ms;
    if (rand_below(rand, 3) == 0)
        series->count = 0;
    else
        time_ms = series->times_ms[series->count - 1];
    series->histogram_count = 1 + (size_t)rand_below(rand, options->samples_max);
    series->histograms = arena_calloc(arena, series->histogram_count, sizeof(*series->histograms));
    series->exemplars = arena_calloc(arena, 20, sizeof(*series->exemplars));
    for (size_t i = 0; i < series->histogram_count; i++) {
        time_ms += options->step_ms + (int64_t)rand_below(rand, 3);
        series->histograms[i].time_ms = time_ms;
        series->histograms[i].histogram =
            i == 0 ? histogram_any(rand, arena)
                   : histogram_any_next(rand, arena, series->histograms[i - 1].histogram);
    }
    for (size_t i = 0; i < 20 && rand_below(rand, 8) != 0; i++) {
        struct label *items = arena_calloc(arena, 1, sizeof(*items));
        items[0].name = NX_STR("trace_id");
        items[0].value = arena_printf(arena, "%016llx", (unsigned long long)rand_u64(rand));
        series->exemplars[series->exemplar_count++] =
            (struct exemplar){.labels = {items, 1},
                              .value = rand_unit(rand),
                              .time_ms = options->start_ms + (int64_t)i * options->step_ms};
    }
}

void model_init(struct model *model, struct rand_state *rand, const struct model_options *options)
{
    *model = (struct model){0};
    arena_init(&model->arena, 0);
    model->series = arena_calloc(&model->arena, options->series_max, sizeof(*model->series));
    for (size_t i = 0; i < options->series_max; i++)
        model->series[i].labels = make_labels(model, rand, 1 + options->series_max / 8);
    qsort(model->series, options->series_max, sizeof(*model->series), series_compare);
    for (size_t i = 0; i < options->series_max; i++) {
        if (i > 0 && labels_equal(model->series[model->count - 1].labels, model->series[i].labels))
            continue;
        struct model_series *series = &model->series[model->count++];
        series->labels = model->series[i].labels;
        series->slot =
            rand_below(rand, 20) == 0 ? BLOCK_SLOT_NONE : (uint32_t)rand_below(rand, 1u << 30);
        fill_samples(model, series, rand, options);
        if (options->has_histograms && rand_below(rand, 3) == 0)
            fill_histograms(model, series, rand, options);
    }
}

void model_deinit(struct model *model)
{
    arena_deinit(&model->arena);
}

void model_range(const struct model *model, int64_t *out_min_ms, int64_t *out_max_ms)
{
    *out_min_ms = INT64_MAX;
    *out_max_ms = INT64_MIN;
    for (size_t i = 0; i < model->count; i++) {
        const struct model_series *series = &model->series[i];
        if (series->times_ms[0] < *out_min_ms)
            *out_min_ms = series->times_ms[0];
        if (series->times_ms[series->count - 1] > *out_max_ms)
            *out_max_ms = series->times_ms[series->count - 1];
    }
}

void model_write(const struct model *model, const struct io *io, const char *dir, const char *ulid,
                 uint32_t level, uint64_t commit_min, uint64_t commit_max,
                 struct block_meta *out_meta)
{
    struct block_writer *writer = NULL;
    struct nx_err err;
    const struct block_writer_options options = {.io = io,
                                                 .dir = dir,
                                                 .ulid = ulid,
                                                 .level = level,
                                                 .commit_min = commit_min,
                                                 .commit_max = commit_max,
                                                 .zstd_level = 1};
    assert_int_equal(block_writer_new(&writer, &options, &err), NX_OK);
    for (size_t i = 0; i < model->count; i++) {
        const struct model_series *series = &model->series[i];
        assert_int_equal(block_writer_add(writer, series->labels, series->slot, series->times_ms,
                                          series->values, series->count, &err),
                         NX_OK);
        assert_int_equal(
            block_writer_add_histograms(writer, series->histograms, series->histogram_count, &err),
            NX_OK);
        assert_int_equal(
            block_writer_add_exemplars(writer, series->exemplars, series->exemplar_count, &err),
            NX_OK);
    }
    nx_code code = block_writer_finish(writer, out_meta, &err);
    if (code != NX_OK)
        fail_msg("finish: %s", err.msg);
    block_writer_free(writer);
}

/* ---- comparison ---- */

static bool is_within(int64_t time_ms, int64_t min_ms, int64_t max_ms)
{
    return time_ms >= min_ms && time_ms <= max_ms;
}

/* Returns how many there are. */
static size_t assert_histograms(struct block_reader *reader, uint32_t rank,
                                const struct model_series *series, int64_t min_ms, int64_t max_ms)
{
    struct nx_buf out = {0};
    struct arena arena;
    struct nx_err err;
    arena_init(&arena, 0);
    nx_code code = block_reader_histograms(reader, rank, min_ms, max_ms, &arena, &out, &err);
    if (code != NX_OK)
        fail_msg("histograms: %s", err.msg);
    const struct histogram_sample *got = (const struct histogram_sample *)(const void *)out.data;
    size_t count = 0;
    for (size_t i = 0; i < series->histogram_count; i++) {
        if (!is_within(series->histograms[i].time_ms, min_ms, max_ms))
            continue;
        assert_true((count + 1) * sizeof(*got) <= out.len);
        assert_int_equal(got[count].time_ms, series->histograms[i].time_ms);
        assert_true(histogram_equal(got[count].histogram, series->histograms[i].histogram));
        count++;
    }
    assert_int_equal(out.len, count * sizeof(*got));
    nx_buf_deinit(&out);
    arena_deinit(&arena);
    return count;
}

static void assert_exemplars(struct block_reader *reader, uint32_t rank,
                             const struct model_series *series, int64_t min_ms, int64_t max_ms)
{
    struct nx_buf out = {0};
    struct arena arena;
    struct nx_err err;
    arena_init(&arena, 0);
    nx_code code = block_reader_exemplars(reader, rank, min_ms, max_ms, &arena, &out, &err);
    if (code != NX_OK)
        fail_msg("exemplars: %s", err.msg);
    const struct exemplar *got = (const struct exemplar *)(const void *)out.data;
    size_t count = 0;
    for (size_t i = 0; i < series->exemplar_count; i++) {
        if (!is_within(series->exemplars[i].time_ms, min_ms, max_ms))
            continue;
        assert_true((count + 1) * sizeof(*got) <= out.len);
        assert_true(exemplar_equal(&got[count], &series->exemplars[i]));
        count++;
    }
    assert_int_equal(out.len, count * sizeof(*got));
    nx_buf_deinit(&out);
    arena_deinit(&arena);
}

void assert_samples(struct block_reader *reader, uint32_t rank, const struct model_series *series,
                    int64_t min_ms, int64_t max_ms)
{
    struct nx_buf times = {0}, values = {0};
    struct nx_err err;
    nx_code code = block_reader_samples(reader, rank, min_ms, max_ms, &times, &values, &err);
    if (code != NX_OK)
        fail_msg("samples: %s", err.msg);
    size_t first = 0, end = series->count;
    while (first < end && series->times_ms[first] < min_ms)
        first++;
    while (end > first && series->times_ms[end - 1] > max_ms)
        end--;
    assert_int_equal(times.len, (end - first) * sizeof(int64_t));
    assert_int_equal(values.len, times.len);
    if (times.len > 0) {
        assert_memory_equal(times.data, series->times_ms + first, times.len);
        assert_memory_equal(values.data, series->values + first, values.len);
    }
    size_t histograms = assert_histograms(reader, rank, series, min_ms, max_ms);
    assert_exemplars(reader, rank, series, min_ms, max_ms);
    bool overlaps = false;
    assert_int_equal(block_reader_overlaps(reader, rank, min_ms, max_ms, &overlaps, &err), NX_OK);
    assert_int_equal(overlaps, end > first || histograms > 0);
    nx_buf_deinit(&times);
    nx_buf_deinit(&values);
}

void assert_block_is_model(struct block *block, const struct model *model)
{
    struct block_reader *reader = NULL;
    struct nx_err err;
    nx_code code = block_reader_new(block, &reader, &err);
    if (code != NX_OK)
        fail_msg("reader: %s", err.msg);
    assert_int_equal(block_meta(block)->series_count, model->count);
    for (uint32_t rank = 0; rank < model->count; rank++) {
        struct labels labels;
        uint32_t slot = 0;
        assert_int_equal(block_reader_labels(reader, rank, &labels, &slot, &err), NX_OK);
        assert_true(labels_equal(labels, model->series[rank].labels));
        assert_int_equal(slot, block_meta(block)->level == 0 ? model->series[rank].slot
                                                             : BLOCK_SLOT_NONE);
        assert_samples(reader, rank, &model->series[rank], INT64_MIN, INT64_MAX);
    }
    block_reader_free(reader);
}
