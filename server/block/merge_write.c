/* SPDX-License-Identifier: Apache-2.0 */
/* merge_write.c - routes merged samples to the block of their partition.
 *
 *   samples -> partition of each -> run of one series and partition -> chunks of that partition's writer
 *
 * A partition is met for the first time when one of its samples comes; its writer then stays open to the pass' end.
 * While MERGE_OUTPUTS_MAX are open, samples of others are passed over, and has_skipped asks for another pass, which
 * passes over what is done. So each partition is written whole in one pass, however many there are.
 */
#include "narthex/base/mem.h"
#include "narthex/codec/chunk.h"
#include "narthex/codec/histogram_chunk.h"

#include "merge_internal.h"

/* A chunk this long is copied, unless a run worth joining waits before it. */
#define CHUNK_COPY_SAMPLES (CHUNK_SAMPLES_CUT * 3 / 4)
#define RUN_JOIN_SAMPLES   (CHUNK_SAMPLES_CUT / 2)
/* Runs are flushed at this length, so that a series of any length fits. */
#define RUN_SAMPLES_MAX (CHUNK_SAMPLES_CUT * 64u)
/* Histograms: a chunk of so many bytes is long enough, however few they are, and a run of so many is flushed. */
#define CHUNK_COPY_BYTES (16u << 10)
#define RUN_BYTES_MAX    (16u << 20)

struct merge_span {
    int64_t start_ms, last_ms;
};

void merge_outputs_init(struct merge_outputs *outputs, struct block_list *list)
{
    *outputs = (struct merge_outputs){.list = list};
    arena_init(&outputs->run_arena, 0);
}

void merge_outputs_deinit(struct merge_outputs *outputs)
{
    for (size_t i = 0; i < outputs->open_count; i++) {
        block_writer_free(outputs->open[i].writer);
        block_list_abandon(outputs->list, outputs->open[i].ulid);
    }
    const struct block_meta *metas = (const struct block_meta *)(const void *)outputs->metas.data;
    for (size_t i = 0; i < outputs->metas.len / sizeof(*metas); i++)
        block_list_abandon(outputs->list, metas[i].ulid);
    outputs->open_count = 0;
    nx_buf_deinit(&outputs->done);
    nx_buf_deinit(&outputs->metas);
    for (size_t kind = 0; kind < MERGE_KINDS; kind++) {
        nx_buf_deinit(&outputs->runs[kind].times);
        nx_buf_deinit(&outputs->runs[kind].cells);
    }
    arena_deinit(&outputs->run_arena);
}

/* ---- partitions ---- */

static struct merge_span span_of(const struct merge_outputs *outputs, int64_t time_ms)
{
    int64_t size_ms = time_ms < outputs->day_before_ms ? DAY_MS : PARTITION_MS;
    struct merge_span span = {.start_ms = time_floor(time_ms, size_ms)};
    if (__builtin_add_overflow(span.start_ms, size_ms - 1, &span.last_ms))
        span.last_ms = INT64_MAX;
    /* INT64_MIN stands for a floor below it: its span ends where the first whole one begins. */
    if (span.start_ms == INT64_MIN)
        span.last_ms = time_ms - time_ms % size_ms - 1;
    return span;
}

static nx_code output_open(struct merge_outputs *outputs, struct merge_span span,
                           struct merge_output **out_output, struct nx_err *err)
{
    struct nx_buf dir = {0};
    struct merge_output *output = &outputs->open[outputs->open_count];
    *output = (struct merge_output){.start_ms = span.start_ms,
                                    .last_ms = span.last_ms,
                                    .commit_min = UINT64_MAX,
                                    .commit_max = 0};
    nx_code code = block_list_begin(outputs->list, output->ulid, &dir, err);
    if (code != NX_OK) {
        nx_buf_deinit(&dir);
        return code;
    }
    bool is_day = span.start_ms < outputs->day_before_ms;
    const struct block_writer_options options = {
        .io = block_list_io(outputs->list),
        .dir = (const char *)dir.data,
        .ulid = output->ulid,
        .level = is_day ? 2 : 1,
        .zstd_level = is_day ? 3 : 1,
        .pace = block_list_pace(outputs->list),
        .sources = outputs->sources,
        .source_count = outputs->source_count,
    };
    code = block_writer_new(&output->writer, &options, err);
    nx_buf_deinit(&dir);
    if (code != NX_OK) {
        block_list_abandon(outputs->list, output->ulid);
        return code;
    }
    outputs->open_count++;
    *out_output = output;
    return NX_OK;
}

nx_code merge_outputs_find(struct merge_outputs *outputs, int64_t time_ms,
                           struct merge_output **out_output, struct nx_err *err)
{
    *out_output = outputs->last;
    if (outputs->last != NULL && time_ms >= outputs->last->start_ms &&
        time_ms <= outputs->last->last_ms)
        return NX_OK;
    for (size_t i = 0; i < outputs->open_count; i++) {
        if (time_ms < outputs->open[i].start_ms || time_ms > outputs->open[i].last_ms)
            continue;
        *out_output = outputs->last = &outputs->open[i];
        return NX_OK;
    }
    *out_output = NULL;
    const struct merge_span *done = (const struct merge_span *)(const void *)outputs->done.data;
    for (size_t i = 0; i < outputs->done.len / sizeof(*done); i++)
        if (time_ms >= done[i].start_ms && time_ms <= done[i].last_ms)
            return NX_OK;
    if (outputs->open_count == MERGE_OUTPUTS_MAX) {
        outputs->has_skipped = true;
        return NX_OK;
    }
    nx_code code = output_open(outputs, span_of(outputs, time_ms), out_output, err);
    if (code == NX_OK)
        outputs->last = *out_output;
    return code;
}

/* How many of the times lie in the partition of the first. */
static size_t span_length(const struct merge_outputs *outputs, const int64_t *times_ms,
                          size_t count)
{
    int64_t last_ms = span_of(outputs, times_ms[0]).last_ms;
    if (times_ms[count - 1] <= last_ms)
        return count;
    size_t low = 1, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (times_ms[middle] <= last_ms)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

nx_code merge_outputs_note(struct merge_outputs *outputs, const int64_t *times_ms, size_t count,
                           const struct block_meta *source, struct nx_err *err)
{
    while (count > 0) {
        size_t part = span_length(outputs, times_ms, count);
        struct merge_output *output = NULL;
        nx_code code = merge_outputs_find(outputs, times_ms[0], &output, err);
        if (code != NX_OK)
            return code;
        if (output != NULL && source->commit_min < output->commit_min)
            output->commit_min = source->commit_min;
        if (output != NULL && source->commit_max > output->commit_max)
            output->commit_max = source->commit_max;
        times_ms += part;
        count -= part;
    }
    return NX_OK;
}

/* ---- samples ---- */

static nx_code output_begin_series(struct merge_outputs *outputs, struct merge_output *output,
                                   struct nx_err *err)
{
    if (output->series == outputs->series)
        return NX_OK;
    output->series = outputs->series;
    return block_writer_begin_series(output->writer, outputs->labels, BLOCK_SLOT_NONE, err);
}

static size_t run_length(const struct merge_run *run)
{
    return run->times.len / sizeof(int64_t);
}

static nx_code run_flush(struct merge_outputs *outputs, enum merge_kind kind, struct nx_err *err)
{
    struct merge_run *run = &outputs->runs[kind];
    size_t count = run_length(run);
    if (count == 0)
        return NX_OK;
    const int64_t *times = (const int64_t *)(const void *)run->times.data;
    const void *cells = run->cells.data;
    struct merge_output *output = NULL;
    nx_code code = merge_outputs_find(outputs, times[0], &output, err);
    NX_ASSERT(code != NX_OK || output != NULL);
    if (code == NX_OK)
        code = output_begin_series(outputs, output, err);
    if (code == NX_OK && kind == MERGE_FLOATS)
        code = block_writer_put_samples(output->writer, times, cells, count, err);
    if (code == NX_OK && kind == MERGE_HISTOGRAMS)
        code = block_writer_put_histograms(output->writer, times, cells, count, err);
    nx_buf_reset(&run->times);
    nx_buf_reset(&run->cells);
    if (kind == MERGE_HISTOGRAMS)
        arena_reset(&outputs->run_arena);
    return code;
}

static nx_code runs_flush(struct merge_outputs *outputs, struct nx_err *err)
{
    nx_code code = run_flush(outputs, MERGE_FLOATS, err);
    return code == NX_OK ? run_flush(outputs, MERGE_HISTOGRAMS, err) : code;
}

nx_code merge_outputs_series(struct merge_outputs *outputs, struct labels labels,
                             struct nx_err *err)
{
    nx_code code = runs_flush(outputs, err);
    outputs->series++;
    outputs->labels = labels;
    return code;
}

/* Histograms are copied: the run lives longer than what it is made from. */
static void run_add(struct merge_outputs *outputs, enum merge_kind kind, const int64_t *times_ms,
                    const void *cells, size_t count)
{
    struct merge_run *run = &outputs->runs[kind];
    nx_buf_append(&run->times, times_ms, count * sizeof(*times_ms));
    if (kind == MERGE_FLOATS) {
        nx_buf_append(&run->cells, cells, count * sizeof(double));
        return;
    }
    const struct histogram *const *histograms = cells;
    for (size_t i = 0; i < count; i++) {
        const struct histogram *copy = histogram_copy(&outputs->run_arena, histograms[i]);
        NX_ASSERT(copy != NULL);
        nx_buf_append(&run->cells, &copy, sizeof(copy));
    }
}

nx_code merge_outputs_samples(struct merge_outputs *outputs, enum merge_kind kind,
                              const int64_t *times_ms, const void *cells, size_t count,
                              struct nx_err *err)
{
    const uint8_t *cell = cells;
    struct merge_run *run = &outputs->runs[kind];
    while (count > 0) {
        size_t part = span_length(outputs, times_ms, count);
        size_t waiting = run_length(run);
        bool is_full =
            waiting >= RUN_SAMPLES_MAX ||
            (kind == MERGE_HISTOGRAMS && arena_usage(&outputs->run_arena) > RUN_BYTES_MAX);
        struct merge_output *output = NULL;
        nx_code code = merge_outputs_find(outputs, times_ms[0], &output, err);
        if (code == NX_OK && output != NULL && waiting > 0 &&
            (run->start_ms != output->start_ms || is_full))
            code = run_flush(outputs, kind, err);
        if (code != NX_OK)
            return code;
        if (output != NULL) {
            run->start_ms = output->start_ms;
            run_add(outputs, kind, times_ms, cell, part);
        }
        times_ms += part;
        cell += part * sizeof(double);
        count -= part;
    }
    return NX_OK;
}

nx_code merge_outputs_chunk(struct merge_outputs *outputs, const int64_t *times_ms, uint32_t count,
                            struct nx_bytes chunk, bool *out_taken, struct nx_err *err)
{
    *out_taken = false;
    enum merge_kind kind = chunk_is_histogram(chunk) ? MERGE_HISTOGRAMS : MERGE_FLOATS;
    size_t waiting = run_length(&outputs->runs[kind]);
    bool is_long =
        count >= CHUNK_COPY_SAMPLES || (kind == MERGE_HISTOGRAMS && chunk.len >= CHUNK_COPY_BYTES);
    if (!is_long || (waiting > 0 && waiting < RUN_JOIN_SAMPLES) ||
        span_length(outputs, times_ms, count) != count)
        return NX_OK;
    struct merge_output *output = NULL;
    nx_code code = run_flush(outputs, kind, err);
    if (code == NX_OK)
        code = merge_outputs_find(outputs, times_ms[0], &output, err);
    if (code == NX_OK && output != NULL)
        code = output_begin_series(outputs, output, err);
    if (code == NX_OK && output != NULL)
        code = block_writer_put_chunk(output->writer, times_ms, count, chunk, err);
    *out_taken = code == NX_OK;
    return code;
}

/* The output for exemplars near a sample of that time. *out_output NULL: not in this pass, or the samples are gone:
 * they were deleted, and what they were examples of with them. */
static nx_code find_home(struct merge_outputs *outputs, int64_t home_ms, bool is_alone,
                         struct merge_output **out_output, struct nx_err *err)
{
    *out_output = NULL;
    if (is_alone) {
        nx_code code = merge_outputs_find(outputs, home_ms, out_output, err);
        if (code == NX_OK && *out_output != NULL)
            code = output_begin_series(outputs, *out_output, err);
        return code;
    }
    for (size_t i = 0; i < outputs->open_count; i++) {
        struct merge_output *output = &outputs->open[i];
        if (home_ms >= output->start_ms && home_ms <= output->last_ms &&
            output->series == outputs->series)
            *out_output = output;
    }
    return NX_OK;
}

nx_code merge_outputs_exemplars(struct merge_outputs *outputs, const int64_t *homes_ms,
                                const struct exemplar *exemplars, size_t count, bool is_alone,
                                struct nx_err *err)
{
    nx_code code = runs_flush(outputs, err);
    while (code == NX_OK && count > 0) {
        size_t part = span_length(outputs, homes_ms, count);
        struct merge_output *output = NULL;
        code = find_home(outputs, homes_ms[0], is_alone, &output, err);
        if (code == NX_OK && output != NULL)
            code = block_writer_add_exemplars(output->writer, exemplars, part, err);
        homes_ms += part;
        exemplars += part;
        count -= part;
    }
    return code;
}

nx_code merge_outputs_finish(struct merge_outputs *outputs, struct nx_err *err)
{
    nx_code code = runs_flush(outputs, err);
    for (size_t i = 0; code == NX_OK && i < outputs->open_count; i++) {
        struct merge_output *output = &outputs->open[i];
        struct block_meta meta;
        bool has_samples = block_writer_has_samples(output->writer);
        if (has_samples) {
            block_writer_set_commits(output->writer, output->commit_min, output->commit_max);
            code = block_writer_finish(output->writer, &meta, err);
        }
        if (code != NX_OK)
            return code;
        block_writer_free(output->writer);
        output->writer = NULL;
        if (has_samples)
            nx_buf_append(&outputs->metas, &meta, sizeof(meta));
        else
            block_list_abandon(outputs->list, output->ulid);
        struct merge_span span = {output->start_ms, output->last_ms};
        nx_buf_append(&outputs->done, &span, sizeof(span));
    }
    if (code == NX_OK) {
        outputs->open_count = 0;
        outputs->last = NULL;
    }
    return code;
}
