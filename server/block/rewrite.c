/* SPDX-License-Identifier: Apache-2.0 */
/* rewrite.c - one block becomes the same block without what is deleted of it.
 *
 *   series without tombstones   chunks copied as bytes
 *   others                      decoded, filtered, encoded; without a sample left they go, or, in the newest level-0
 *                               block, keep their first sample under a tombstone, since their slots are in use
 *
 * Level and commits stay, so its place in the order of precedence stays: a merge takes level-0 blocks in the order of
 * their commits, and a rewritten one must not jump that queue. The ulid is new, with the time of the old one, which
 * decides between blocks of equal commits.
 */
#include "narthex/base/mem.h"
#include "narthex/block/block_delete.h"

#include "merge_internal.h"

#include <stdatomic.h>

#define REWRITE_POLL_SERIES 64u

struct rewrite {
    struct block_list *list;
    struct block *block;
    struct tombstones *tombstones; /* of the snapshot: what is applied */
    bool keeps_series;
    bool is_passed_over;
    struct block_reader *reader;
    struct block_writer *writer;
    char ulid[ULID_TEXT_LEN + 1];
    struct nx_buf ranges, chunks, times, values, histograms, exemplars; /* of the series at hand */
    struct arena arena; /* its histograms and exemplars */
    struct nx_buf kept; /* uint32_t: ranks, in the new block, of series that live on */
    uint32_t written;   /* series */
};

static void rewrite_deinit(struct rewrite *rewrite)
{
    block_reader_free(rewrite->reader);
    block_writer_free(rewrite->writer);
    nx_buf_deinit(&rewrite->ranges);
    nx_buf_deinit(&rewrite->chunks);
    nx_buf_deinit(&rewrite->times);
    nx_buf_deinit(&rewrite->values);
    nx_buf_deinit(&rewrite->histograms);
    nx_buf_deinit(&rewrite->exemplars);
    arena_deinit(&rewrite->arena);
    nx_buf_deinit(&rewrite->kept);
}

/* The exemplars of the series at hand, those that are deleted left out, into rewrite->exemplars. */
static nx_code read_exemplars(struct rewrite *rewrite, uint32_t rank, struct nx_err *err)
{
    nx_buf_reset(&rewrite->exemplars);
    arena_reset(&rewrite->arena);
    return block_reader_exemplars(rewrite->reader, rank, INT64_MIN, INT64_MAX, &rewrite->arena,
                                  &rewrite->exemplars, err);
}

static nx_code copy_series(struct rewrite *rewrite, uint32_t rank, struct labels labels,
                           uint32_t slot, struct nx_err *err)
{
    nx_buf_reset(&rewrite->chunks);
    nx_code code = block_reader_chunks(rewrite->reader, rank, &rewrite->chunks, err);
    if (code == NX_OK)
        code = block_writer_begin_series(rewrite->writer, labels, slot, err);
    const struct block_chunk *chunks =
        (const struct block_chunk *)(const void *)rewrite->chunks.data;
    for (size_t i = 0; code == NX_OK && i < rewrite->chunks.len / sizeof(*chunks); i++) {
        const int64_t *times = NULL;
        struct nx_bytes bytes = {0};
        code = block_reader_chunk(rewrite->reader, &chunks[i], &times, &bytes, err);
        if (code == NX_OK)
            code = block_writer_put_chunk(rewrite->writer, times, chunks[i].count, bytes, err);
    }
    if (code == NX_OK)
        code = read_exemplars(rewrite, rank, err);
    if (code == NX_OK)
        code = block_writer_add_exemplars(
            rewrite->writer, (const struct exemplar *)(const void *)rewrite->exemplars.data,
            rewrite->exemplars.len / sizeof(struct exemplar), err);
    rewrite->written++;
    return code;
}

/* What a series has, decoded. */
struct contents {
    int64_t *times;
    double *values;
    struct histogram_sample *histograms;
    struct exemplar *exemplars;
    size_t floats, histogram_count, exemplar_count;
};

static nx_code read_series(struct rewrite *rewrite, uint32_t rank, struct contents *out,
                           struct nx_err *err)
{
    nx_buf_reset(&rewrite->times);
    nx_buf_reset(&rewrite->values);
    nx_buf_reset(&rewrite->histograms);
    nx_code code = read_exemplars(rewrite, rank, err); /* resets the arena */
    if (code == NX_OK)
        code = block_reader_samples(rewrite->reader, rank, INT64_MIN, INT64_MAX, &rewrite->times,
                                    &rewrite->values, err);
    if (code == NX_OK)
        code = block_reader_histograms(rewrite->reader, rank, INT64_MIN, INT64_MAX, &rewrite->arena,
                                       &rewrite->histograms, err);
    *out = (struct contents){
        .times = (int64_t *)(void *)rewrite->times.data,
        .values = (double *)(void *)rewrite->values.data,
        .histograms = (struct histogram_sample *)(void *)rewrite->histograms.data,
        .exemplars = (struct exemplar *)(void *)rewrite->exemplars.data,
        .floats = rewrite->times.len / sizeof(int64_t),
        .histogram_count = rewrite->histograms.len / sizeof(struct histogram_sample),
        .exemplar_count = rewrite->exemplars.len / sizeof(struct exemplar),
    };
    return code;
}

/* Takes out what is deleted. */
static void filter_contents(const struct nx_buf *deleted, struct contents *contents)
{
    const struct time_range *ranges = (const struct time_range *)(const void *)deleted->data;
    size_t range_count = deleted->len / sizeof(*ranges), kept = 0;
    contents->floats = time_ranges_filter(ranges, range_count, contents->times, contents->values,
                                          contents->floats);
    for (size_t i = 0; i < contents->histogram_count; i++) {
        int64_t time_ms = contents->histograms[i].time_ms;
        if (!time_ranges_cover(ranges, range_count, time_ms, time_ms))
            contents->histograms[kept++] = contents->histograms[i];
    }
    contents->histogram_count = kept;
    contents->exemplar_count = time_ranges_filter_exemplars(
        ranges, range_count, contents->exemplars, contents->exemplar_count);
}

static nx_code put_contents(struct rewrite *rewrite, struct labels labels, uint32_t slot,
                            const struct contents *contents, struct nx_err *err)
{
    rewrite->written++;
    nx_code code = block_writer_begin_series(rewrite->writer, labels, slot, err);
    if (code == NX_OK && contents->floats > 0)
        code = block_writer_put_samples(rewrite->writer, contents->times, contents->values,
                                        contents->floats, err);
    if (code == NX_OK && contents->histogram_count > 0)
        code = block_writer_add_histograms(rewrite->writer, contents->histograms,
                                           contents->histogram_count, err);
    if (code == NX_OK)
        code = block_writer_add_exemplars(rewrite->writer, contents->exemplars,
                                          contents->exemplar_count, err);
    return code;
}

static nx_code filter_series(struct rewrite *rewrite, uint32_t rank, struct labels labels,
                             uint32_t slot, struct nx_err *err)
{
    struct contents contents;
    nx_buf_reset(&rewrite->ranges);
    tombstones_ranges(rewrite->tombstones, rank, &rewrite->ranges);
    nx_code code = read_series(rewrite, rank, &contents, err);
    if (code != NX_OK)
        return code;
    struct contents all = contents;
    filter_contents(&rewrite->ranges, &contents);
    if (contents.floats + contents.histogram_count + contents.exemplar_count > 0)
        return put_contents(rewrite, labels, slot, &contents, err);
    if (!rewrite->keeps_series)
        return NX_OK;
    /* Filtering moved nothing, since nothing stayed: the first of what there was is where it was. */
    nx_buf_append(&rewrite->kept, &rewrite->written, sizeof(rewrite->written));
    contents.floats = all.floats > 0;
    contents.histogram_count = contents.floats == 0 && all.histogram_count > 0;
    contents.exemplar_count = contents.floats + contents.histogram_count == 0;
    return put_contents(rewrite, labels, slot, &contents, err);
}

static nx_code write_all(struct rewrite *rewrite, const _Atomic bool *is_stopping,
                         struct nx_err *err)
{
    uint32_t count = (uint32_t)block_meta(rewrite->block)->series_count;
    nx_code code = NX_OK;
    for (uint32_t rank = 0; code == NX_OK && rank < count; rank++) {
        struct labels labels;
        uint32_t slot;
        if (rank % REWRITE_POLL_SERIES == 0 && is_stopping != NULL &&
            atomic_load_explicit(is_stopping, memory_order_relaxed))
            return nx_err_set(err, NX_E_CANCELLED, "clean_tombstones: stopping");
        code = block_reader_labels(rewrite->reader, rank, &labels, &slot, err);
        if (code != NX_OK)
            return code;
        code = tombstones_has(rewrite->tombstones, rank)
                   ? filter_series(rewrite, rank, labels, slot, err)
                   : copy_series(rewrite, rank, labels, slot, err);
    }
    return code;
}

static nx_code begin_output(struct rewrite *rewrite, struct nx_err *err)
{
    const struct block_meta *meta = block_meta(rewrite->block);
    const char *source = meta->ulid;
    struct nx_buf dir = {0};
    nx_code code = block_list_begin_like(rewrite->list, source, rewrite->ulid, &dir, err);
    if (code != NX_OK) {
        nx_buf_deinit(&dir);
        return code;
    }
    const struct block_writer_options options = {
        .io = block_list_io(rewrite->list),
        .dir = (const char *)dir.data,
        .ulid = rewrite->ulid,
        .level = meta->level,
        .commit_min = meta->commit_min,
        .commit_max = meta->commit_max,
        .zstd_level = meta->level >= 2 ? 3 : 1,
        .pace = block_list_pace(rewrite->list),
        .sources = &source,
        .source_count = 1,
    };
    code = block_writer_new(&rewrite->writer, &options, err);
    nx_buf_deinit(&dir);
    if (code != NX_OK)
        block_list_abandon(rewrite->list, rewrite->ulid);
    return code;
}

/* The tombstones that hide what was kept for its slots; NULL when nothing was. */
static nx_code make_settled(const struct rewrite *rewrite, const struct block_meta *meta,
                            struct tombstones **out, struct nx_err *err)
{
    struct tombstones *made = NULL;
    size_t count = rewrite->kept.len / sizeof(uint32_t);
    if (count == 0)
        return NX_OK;
    nx_code code = tombstones_add(NULL, (uint32_t)meta->series_count,
                                  (const uint32_t *)(const void *)rewrite->kept.data, count,
                                  INT64_MIN, INT64_MAX, &made, err);
    if (code != NX_OK)
        return code;
    *out = tombstones_settled(made);
    tombstones_unref(made);
    return NX_OK;
}

static nx_code publish_output(struct rewrite *rewrite, struct block_meta *meta, struct nx_err *err)
{
    struct tombstones *made = NULL;
    nx_code code = NX_OK;
    bool has_block = block_writer_has_samples(rewrite->writer);
    if (has_block) {
        code = block_writer_finish(rewrite->writer, meta, err);
        if (code == NX_OK)
            code = make_settled(rewrite, meta, &made, err);
    }
    block_writer_free(rewrite->writer);
    rewrite->writer = NULL;
    if (code != NX_OK || !has_block)
        block_list_abandon(rewrite->list, rewrite->ulid);
    /* Exemplars alone make no block, and the slots of this one are in use: it stays as it is. */
    rewrite->is_passed_over = !has_block && rewrite->keeps_series;
    if (code != NX_OK || rewrite->is_passed_over)
        return code;
    const struct block_publish publish = {
        .live = meta,
        .live_count = has_block ? 1 : 0,
        .retired = &rewrite->block,
        .retired_count = 1,
        .applied = &rewrite->tombstones,
        .made = &made,
    };
    code = block_list_publish_merged(rewrite->list, &publish, err);
    tombstones_unref(made);
    return code;
}

static nx_code rewrite_block(struct rewrite *rewrite, const _Atomic bool *is_stopping,
                             struct block_rewrite_result *result, struct nx_err *err)
{
    const struct block_meta *meta = block_meta(rewrite->block);
    struct block_meta made = {0};
    uint64_t bytes = meta->index_bytes + meta->chunks_bytes;
    nx_code code = merge_check_space(rewrite->list, bytes, err);
    if (code == NX_OK)
        code = block_reader_new_walk(rewrite->block, &rewrite->reader, err);
    if (code == NX_OK)
        code = begin_output(rewrite, err);
    if (code != NX_OK)
        return code;
    code = write_all(rewrite, is_stopping, err);
    if (code != NX_OK) {
        block_writer_free(rewrite->writer);
        rewrite->writer = NULL;
        block_list_abandon(rewrite->list, rewrite->ulid);
        return code;
    }
    code = publish_output(rewrite, &made, err);
    *result = (struct block_rewrite_result){
        .samples_in = meta->sample_count,
        .samples_out = made.sample_count,
        .bytes_in = bytes,
        .bytes_out = made.index_bytes + made.chunks_bytes,
    };
    return code;
}

static void set_aside(struct block_list *list, struct block *block, const struct nx_err *why)
{
    struct nx_err ignored;
    if (block_verify(block, &ignored) == NX_E_CORRUPT)
        nx_ignore(block_list_quarantine(list, block, why->msg, &ignored));
    else
        atomic_store_explicit(&block->is_damaged, true, memory_order_relaxed);
}

nx_code block_list_rewrite(struct block_list *list, _Atomic bool *is_stopping, bool *out_worked,
                           struct block_rewrite_result *out_result, struct nx_err *err)
{
    struct block_snapshot snapshot;
    struct block *newest = block_list_newest_flush(list);
    struct rewrite rewrite = {.list = list};
    nx_code code = NX_OK;
    arena_init(&rewrite.arena, 0);
    block_list_snapshot(list, INT64_MIN, INT64_MAX, &snapshot);
    for (size_t i = 0; rewrite.block == NULL && i < snapshot.count; i++) {
        struct block *block = snapshot.blocks[i];
        struct tombstones *tombstones = snapshot.tombstones[i];
        if (tombstones == NULL || (block == newest && tombstones_is_settled(tombstones)) ||
            atomic_load_explicit(&block->is_damaged, memory_order_relaxed))
            continue;
        rewrite.block = block;
        rewrite.tombstones = tombstones;
        rewrite.keeps_series = block == newest;
    }
    if (rewrite.block != NULL) {
        code = rewrite_block(&rewrite, is_stopping, out_result, err);
        if (code == NX_E_CORRUPT)
            set_aside(list, rewrite.block, err);
    }
    rewrite_deinit(&rewrite);
    bool has_worked = rewrite.block != NULL && !rewrite.is_passed_over;
    block_snapshot_end(&snapshot);
    block_unref(newest);
    if (has_worked && code == NX_OK)
        block_list_sweep(list);
    if (code == NX_OK)
        *out_worked = has_worked;
    return code;
}
