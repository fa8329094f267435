/* SPDX-License-Identifier: Apache-2.0 */
/* merge.c - runs one merge: k-way over the sources' series, chunk by chunk within a series.
 *
 *   heap of sources by (labels, precedence)
 *     -> all sources of one label set -> their chunks, by first time
 *        -> clusters of chunks that overlap in time
 *             of one source: copied as bytes when long enough, else decoded
 *             of several:    decoded and merged by time; of equal times the source of the earlier commit wins
 *             Deleted samples leave a source's chunks before they meet others; wholly deleted chunks are not read
 *        -> merge_write: partitions
 *
 * Memory: the decoded chunks of one cluster, a reader per source, and what the open outputs hold.
 * A walk's groups do not enter the shared cache; time vectors do, they are few and shared.
 */
#include "narthex/block/merge.h"

#include "narthex/base/mem.h"
#include "narthex/codec/chunk.h"
#include "narthex/codec/histogram_chunk.h"

#include "block_exemplars.h"
#include "merge_internal.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>

/* Left free for journal and catalog: the smaller of the two. Writes are put off long before. */
#define MERGE_RESERVE_BYTES ((uint64_t)16 << 20)
#define MERGE_RESERVE_PARTS 64u /* of the volume: one */
#define MERGE_POLL_SERIES   64u

struct merge_source {
    struct block *block;
    struct tombstones *tombstones; /* of the snapshot; NULL: none */
    struct block_reader *reader;
    uint32_t rank, series_count;
    struct labels labels;
};

/* A chunk of the series at hand, and whose. */
struct merge_chunk {
    struct block_chunk at;
    uint32_t source;
};

/* Decoded samples of one kind; of one source within a cluster, or merged. */
struct merge_column {
    struct nx_buf times, cells;
    size_t next;
};

struct merge {
    struct merge_source sources[MERGE_SOURCES_MAX];
    uint32_t source_count;
    uint32_t heap[MERGE_SOURCES_MAX];
    uint32_t heap_count;
    struct merge_outputs outputs;
    struct nx_buf chunks; /* struct merge_chunk of the series at hand */
    struct nx_buf found;  /* struct block_chunk, scratch */
    struct merge_column columns[MERGE_SOURCES_MAX][MERGE_KINDS];
    struct merge_column merged[MERGE_KINDS]; /* of a cluster */
    struct arena arena;                      /* histograms of a cluster, exemplars of a series */
    bool is_alone;                  /* the series at hand has no samples: exemplars alone */
    struct nx_buf exemplars, homes; /* struct exemplar, int64_t: of the series at hand */
    struct nx_buf deleted[MERGE_SOURCES_MAX]; /* struct time_range: of the series at hand */
    uint64_t duplicates;
    uint32_t failed_source; /* whose bytes were bad; UINT32_MAX: none */
    _Atomic bool *is_stopping;
};

/* ---- heap of sources ---- */

static bool source_is_before(const struct merge *merge, uint32_t a, uint32_t b)
{
    int order = labels_compare(merge->sources[a].labels, merge->sources[b].labels);
    return order != 0 ? order < 0 : a < b;
}

static void heap_push(struct merge *merge, uint32_t source)
{
    uint32_t at = merge->heap_count++;
    while (at > 0 && source_is_before(merge, source, merge->heap[(at - 1) / 2])) {
        merge->heap[at] = merge->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    merge->heap[at] = source;
}

static uint32_t heap_pop(struct merge *merge)
{
    uint32_t top = merge->heap[0], moved = merge->heap[--merge->heap_count], at = 0;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= merge->heap_count)
            break;
        if (child + 1 < merge->heap_count &&
            source_is_before(merge, merge->heap[child + 1], merge->heap[child]))
            child++;
        if (!source_is_before(merge, merge->heap[child], moved))
            break;
        merge->heap[at] = merge->heap[child];
        at = child;
    }
    merge->heap[at] = moved;
    return top;
}

/* Reads the labels of the source's series at hand and puts it into the heap; nothing at its end. */
static nx_code source_enter(struct merge *merge, uint32_t index, struct nx_err *err)
{
    struct merge_source *source = &merge->sources[index];
    if (source->rank == source->series_count)
        return NX_OK;
    nx_code code = block_reader_labels(source->reader, source->rank, &source->labels, NULL, err);
    if (code != NX_OK) {
        merge->failed_source = index;
        return code;
    }
    heap_push(merge, index);
    return NX_OK;
}

/* ---- chunks of one series ---- */

static int chunk_compare(const void *left, const void *right)
{
    const struct merge_chunk *a = left, *b = right;
    if (a->at.first_ms != b->at.first_ms)
        return a->at.first_ms < b->at.first_ms ? -1 : 1;
    if (a->source != b->source)
        return a->source < b->source ? -1 : 1;
    return a->at.is_histogram - b->at.is_histogram;
}

static const struct time_range *deleted_ranges(const struct merge *merge, uint32_t source,
                                               size_t *out_count)
{
    *out_count = merge->deleted[source].len / sizeof(struct time_range);
    return (const struct time_range *)(const void *)merge->deleted[source].data;
}

/* What is deleted of the series at hand in one source. */
static void load_deleted(struct merge *merge, uint32_t index)
{
    const struct merge_source *source = &merge->sources[index];
    nx_buf_reset(&merge->deleted[index]);
    if (tombstones_has(source->tombstones, source->rank))
        tombstones_ranges(source->tombstones, source->rank, &merge->deleted[index]);
}

static bool chunk_is_gone(const struct merge *merge, const struct merge_chunk *chunk)
{
    size_t count;
    const struct time_range *ranges = deleted_ranges(merge, chunk->source, &count);
    return time_ranges_cover(ranges, count, chunk->at.first_ms, chunk->at.last_ms);
}

static bool chunk_is_touched(const struct merge *merge, const struct merge_chunk *chunk)
{
    size_t count;
    const struct time_range *ranges = deleted_ranges(merge, chunk->source, &count);
    return time_ranges_overlap(ranges, count, chunk->at.first_ms, chunk->at.last_ms);
}

/* Takes the deleted samples out of the chunk's own, which end the columns. */
static void filter_tail(const struct merge *merge, const struct merge_chunk *chunk,
                        struct nx_buf *times, struct nx_buf *cells)
{
    size_t range_count, cut = chunk->at.count;
    const struct time_range *ranges = deleted_ranges(merge, chunk->source, &range_count);
    int64_t *tail_times = (int64_t *)(void *)(times->data + times->len) - cut;
    void *tail_cells = cells->data + cells->len - cut * sizeof(double);
    cut -= time_ranges_filter(ranges, range_count, tail_times, tail_cells, chunk->at.count);
    times->len -= cut * sizeof(*tail_times);
    cells->len -= cut * sizeof(double);
}

static nx_code collect_chunks(struct merge *merge, const uint32_t *with, uint32_t with_count,
                              struct nx_err *err)
{
    nx_buf_reset(&merge->chunks);
    merge->is_alone = true;
    for (uint32_t i = 0; i < with_count; i++) {
        struct merge_source *source = &merge->sources[with[i]];
        nx_buf_reset(&merge->found);
        load_deleted(merge, with[i]);
        nx_code code = block_reader_chunks(source->reader, source->rank, &merge->found, err);
        if (code != NX_OK) {
            merge->failed_source = with[i];
            return code;
        }
        merge->is_alone &= merge->found.len == 0;
        const struct block_chunk *found =
            (const struct block_chunk *)(const void *)merge->found.data;
        for (size_t j = 0; j < merge->found.len / sizeof(*found); j++) {
            struct merge_chunk chunk = {.at = found[j], .source = with[i]};
            if (!chunk_is_gone(merge, &chunk))
                nx_buf_append(&merge->chunks, &chunk, sizeof(chunk));
        }
    }
    if (merge->chunks.len > 0) /* nothing: all is deleted */
        qsort(merge->chunks.data, merge->chunks.len / sizeof(struct merge_chunk),
              sizeof(struct merge_chunk), chunk_compare);
    return NX_OK;
}

/* Times and bytes of a chunk. */
static nx_code chunk_load(struct merge *merge, const struct merge_chunk *chunk,
                          const int64_t **out_times_ms, struct nx_bytes *out_bytes,
                          struct nx_err *err)
{
    struct merge_source *source = &merge->sources[chunk->source];
    nx_code code = block_reader_chunk(source->reader, &chunk->at, out_times_ms, out_bytes, err);
    if (code != NX_OK)
        merge->failed_source = chunk->source;
    return code;
}

/* The partitions of what is left of a chunk learn of its commits. */
static nx_code chunk_note(struct merge *merge, const struct merge_chunk *chunk,
                          const int64_t *times_ms, size_t count, struct nx_err *err)
{
    return merge_outputs_note(&merge->outputs, times_ms, count,
                              block_meta(merge->sources[chunk->source].block), err);
}

static enum merge_kind chunk_kind(const struct merge_chunk *chunk)
{
    return chunk->at.is_histogram ? MERGE_HISTOGRAMS : MERGE_FLOATS;
}

/* Appends the cells of the chunk; histograms are in merge->arena. */
static nx_code chunk_decode_into(struct merge *merge, const struct merge_chunk *chunk,
                                 struct nx_bytes bytes, struct nx_buf *cells, struct nx_err *err)
{
    uint32_t count = chunk->at.count;
    uint64_t *out = (uint64_t *)(void *)nx_buf_extend(cells, count * sizeof(uint64_t));
    nx_code code = NX_OK;
    if (chunk_kind(chunk) == MERGE_FLOATS) {
        code = chunk_decode(bytes, count, out);
    } else {
        struct histogram *histograms = arena_alloc(&merge->arena, count * sizeof(*histograms));
        NX_ASSERT(histograms != NULL);
        code = histogram_chunk_decode(bytes, count, &merge->arena, histograms);
        for (uint32_t i = 0; i < count; i++) {
            const struct histogram *cell = &histograms[i];
            memcpy(&out[i], &cell, sizeof(cell));
        }
    }
    if (code == NX_OK)
        return NX_OK;
    merge->failed_source = chunk->source;
    return nx_err_set(err, code, "block %s: a chunk is damaged",
                      block_meta(merge->sources[chunk->source].block)->ulid);
}

static void column_reset(struct merge_column *column)
{
    nx_buf_reset(&column->times);
    nx_buf_reset(&column->cells);
    column->next = 0;
}

/* A chunk that overlaps no other, but has deleted samples. */
static nx_code merge_touched(struct merge *merge, const struct merge_chunk *chunk,
                             const int64_t *times, struct nx_bytes bytes, struct nx_err *err)
{
    struct merge_column *left = &merge->merged[chunk_kind(chunk)];
    column_reset(left);
    arena_reset(&merge->arena);
    nx_buf_append(&left->times, times, chunk->at.count * sizeof(*times));
    nx_code code = chunk_decode_into(merge, chunk, bytes, &left->cells, err);
    if (code != NX_OK)
        return code;
    filter_tail(merge, chunk, &left->times, &left->cells);
    const int64_t *left_ms = (const int64_t *)(const void *)left->times.data;
    size_t count = left->times.len / sizeof(*left_ms);
    code = chunk_note(merge, chunk, left_ms, count, err);
    if (code != NX_OK)
        return code;
    return merge_outputs_samples(&merge->outputs, chunk_kind(chunk), left_ms, left->cells.data,
                                 count, err);
}

/* A chunk whose samples are nobody else's. */
static nx_code merge_single(struct merge *merge, const struct merge_chunk *chunk,
                            struct nx_err *err)
{
    const int64_t *times = NULL;
    struct nx_bytes bytes = {0};
    bool is_taken = false;
    nx_code code = chunk_load(merge, chunk, &times, &bytes, err);
    if (code == NX_OK && chunk_is_touched(merge, chunk))
        return merge_touched(merge, chunk, times, bytes, err);
    if (code == NX_OK)
        code = chunk_note(merge, chunk, times, chunk->at.count, err);
    if (code == NX_OK)
        code = merge_outputs_chunk(&merge->outputs, times, chunk->at.count, bytes, &is_taken, err);
    if (code != NX_OK || is_taken)
        return code;
    struct nx_buf *cells = &merge->merged[chunk_kind(chunk)].cells;
    nx_buf_reset(cells);
    arena_reset(&merge->arena);
    code = chunk_decode_into(merge, chunk, bytes, cells, err);
    if (code == NX_OK)
        code = merge_outputs_samples(&merge->outputs, chunk_kind(chunk), times, cells->data,
                                     chunk->at.count, err);
    return code;
}

/* Whether this pass writes samples of that time: a duplicate is counted in one pass only. */
static nx_code count_duplicate(struct merge *merge, int64_t time_ms, struct nx_err *err)
{
    struct merge_output *output = NULL;
    nx_code code = merge_outputs_find(&merge->outputs, time_ms, &output, err);
    merge->duplicates += code == NX_OK && output != NULL;
    return code;
}

/* The time of the next sample of a column; false at its end. */
static bool column_time(const struct merge_column *column, int64_t *out_ms)
{
    if (column->next * sizeof(int64_t) == column->times.len)
        return false;
    *out_ms = ((const int64_t *)(const void *)column->times.data)[column->next];
    return true;
}

/* Columns into merge->merged. Sources ascend by precedence, so of equal times the first is right; a float precedes a
 * histogram of its own source. */
static nx_code merge_columns(struct merge *merge, const uint32_t *with, uint32_t with_count,
                             struct nx_err *err)
{
    for (size_t kind = 0; kind < MERGE_KINDS; kind++)
        column_reset(&merge->merged[kind]);
    for (;;) {
        struct merge_column *best = NULL;
        struct merge_column *to = NULL;
        int64_t best_ms = 0;
        int64_t time_ms;
        for (size_t i = 0; i < (size_t)with_count * MERGE_KINDS; i++) {
            struct merge_column *column = &merge->columns[with[i / MERGE_KINDS]][i % MERGE_KINDS];
            if (!column_time(column, &time_ms) || (best != NULL && time_ms >= best_ms))
                continue;
            best = column;
            best_ms = time_ms;
            to = &merge->merged[i % MERGE_KINDS];
        }
        if (best == NULL)
            return NX_OK;
        nx_buf_append(&to->times, &best_ms, sizeof(best_ms));
        nx_buf_append(&to->cells, best->cells.data + best->next * sizeof(double), sizeof(double));
        best->next++;
        for (size_t i = 0; i < (size_t)with_count * MERGE_KINDS; i++) {
            struct merge_column *other = &merge->columns[with[i / MERGE_KINDS]][i % MERGE_KINDS];
            if (!column_time(other, &time_ms) || time_ms != best_ms)
                continue;
            other->next++;
            nx_code code = count_duplicate(merge, best_ms, err);
            if (code != NX_OK)
                return code;
        }
    }
}

/* Chunks that overlap in time, of several sources. */
static nx_code merge_overlapping(struct merge *merge, const struct merge_chunk *chunks,
                                 size_t count, const uint32_t *with, uint32_t with_count,
                                 struct nx_err *err)
{
    for (uint32_t i = 0; i < with_count; i++)
        for (size_t kind = 0; kind < MERGE_KINDS; kind++)
            column_reset(&merge->columns[with[i]][kind]);
    arena_reset(&merge->arena);
    /* Of one source, chunks of a kind come ascending: their order by first time is their order. */
    for (size_t i = 0; i < count; i++) {
        const int64_t *times = NULL;
        struct nx_bytes bytes = {0};
        struct merge_column *column = &merge->columns[chunks[i].source][chunk_kind(&chunks[i])];
        nx_code code = chunk_load(merge, &chunks[i], &times, &bytes, err);
        if (code == NX_OK)
            code = chunk_decode_into(merge, &chunks[i], bytes, &column->cells, err);
        if (code != NX_OK)
            return code;
        size_t before = column->times.len / sizeof(*times);
        nx_buf_append(&column->times, times, chunks[i].at.count * sizeof(*times));
        if (chunk_is_touched(merge, &chunks[i]))
            filter_tail(merge, &chunks[i], &column->times, &column->cells);
        code = chunk_note(merge, &chunks[i],
                          (const int64_t *)(const void *)column->times.data + before,
                          column->times.len / sizeof(*times) - before, err);
        if (code != NX_OK)
            return code;
    }
    nx_code code = merge_columns(merge, with, with_count, err);
    for (size_t kind = 0; code == NX_OK && kind < MERGE_KINDS; kind++) {
        const struct merge_column *merged = &merge->merged[kind];
        code = merge_outputs_samples(&merge->outputs, (enum merge_kind)kind,
                                     (const int64_t *)(const void *)merged->times.data,
                                     merged->cells.data, merged->times.len / sizeof(int64_t), err);
    }
    return code;
}

/* Of one source no two samples have one time, of whatever kind they are. */
static nx_code merge_cluster(struct merge *merge, const struct merge_chunk *chunks, size_t count,
                             const uint32_t *with, uint32_t with_count, struct nx_err *err)
{
    for (size_t i = 1; i < count; i++)
        if (chunks[i].source != chunks[0].source)
            return merge_overlapping(merge, chunks, count, with, with_count, err);
    nx_code code = NX_OK;
    for (size_t i = 0; code == NX_OK && i < count; i++)
        code = merge_single(merge, &chunks[i], err);
    return code;
}

/* ---- exemplars of one series ---- */

/* The first chunk from `at` on whose first sample stays. */
static size_t next_whole(const struct merge *merge, size_t at)
{
    const struct merge_chunk *chunks = (const struct merge_chunk *)(const void *)merge->chunks.data;
    size_t count = merge->chunks.len / sizeof(*chunks);
    while (at < count && chunk_is_touched(merge, &chunks[at]))
        at++;
    return at;
}

/* A sample near each exemplar, which every pass finds the same: the first of the last chunk that begins before it, or
 * of all chunks; for a series that has none anywhere, one at `alone_ms`. Chunks with deleted samples do not count. */
static void find_homes(struct merge *merge, const struct exemplar *exemplars, size_t count,
                       int64_t alone_ms)
{
    const struct merge_chunk *chunks = (const struct merge_chunk *)(const void *)merge->chunks.data;
    size_t chunk_count = merge->chunks.len / sizeof(*chunks);
    size_t at = next_whole(merge, 0), next;
    merge->is_alone |= at == chunk_count;
    nx_buf_reset(&merge->homes);
    for (size_t i = 0; i < count; i++) {
        if (merge->is_alone) {
            nx_buf_append(&merge->homes, &alone_ms, sizeof(alone_ms));
            continue;
        }
        while ((next = next_whole(merge, at + 1)) < chunk_count &&
               chunks[next].at.first_ms <= exemplars[i].time_ms)
            at = next;
        nx_buf_append(&merge->homes, &chunks[at].at.first_ms, sizeof(int64_t));
    }
}

/* Takes those of one source, which begin at byte `from`, out where they are deleted. */
static void filter_exemplars(struct merge *merge, uint32_t source, size_t from)
{
    size_t range_count;
    const struct time_range *ranges = deleted_ranges(merge, source, &range_count);
    if (range_count > 0)
        merge->exemplars.len = from + time_ranges_filter_exemplars(
                                          ranges, range_count,
                                          (struct exemplar *)(void *)(merge->exemplars.data + from),
                                          (merge->exemplars.len - from) / sizeof(struct exemplar)) *
                                          sizeof(struct exemplar);
}

static nx_code merge_exemplars(struct merge *merge, const uint32_t *with, uint32_t with_count,
                               struct nx_err *err)
{
    nx_buf_reset(&merge->exemplars);
    arena_reset(&merge->arena);
    for (uint32_t i = 0; i < with_count; i++) {
        struct merge_source *source = &merge->sources[with[i]];
        size_t before = merge->exemplars.len;
        nx_code code = block_reader_exemplars(source->reader, source->rank, INT64_MIN, INT64_MAX,
                                              &merge->arena, &merge->exemplars, err);
        if (code != NX_OK) {
            merge->failed_source = with[i];
            return code;
        }
        filter_exemplars(merge, with[i], before);
    }
    if (merge->exemplars.len == 0 || (merge->chunks.len == 0 && !merge->is_alone))
        return NX_OK;
    struct exemplar *exemplars = (struct exemplar *)(void *)merge->exemplars.data;
    size_t count = exemplars_sort(exemplars, merge->exemplars.len / sizeof(*exemplars));
    find_homes(merge, exemplars, count, block_meta(merge->sources[with[0]].block)->min_time_ms);
    return merge_outputs_exemplars(&merge->outputs,
                                   (const int64_t *)(const void *)merge->homes.data, exemplars,
                                   count, merge->is_alone, err);
}

static nx_code merge_series(struct merge *merge, const uint32_t *with, uint32_t with_count,
                            struct nx_err *err)
{
    nx_code code = merge_outputs_series(&merge->outputs, merge->sources[with[0]].labels, err);
    if (code == NX_OK)
        code = collect_chunks(merge, with, with_count, err);
    const struct merge_chunk *chunks = (const struct merge_chunk *)(const void *)merge->chunks.data;
    size_t count = merge->chunks.len / sizeof(*chunks);
    for (size_t first = 0, end; code == NX_OK && first < count; first = end) {
        int64_t last_ms = chunks[first].at.last_ms;
        for (end = first + 1; end < count && chunks[end].at.first_ms <= last_ms; end++)
            if (chunks[end].at.last_ms > last_ms)
                last_ms = chunks[end].at.last_ms;
        code = merge_cluster(merge, chunks + first, end - first, with, with_count, err);
    }
    return code == NX_OK ? merge_exemplars(merge, with, with_count, err) : code;
}

/* ---- passes ---- */

static bool merge_is_stopping(const struct merge *merge)
{
    return merge->is_stopping != NULL &&
           atomic_load_explicit(merge->is_stopping, memory_order_relaxed);
}

/* Once over all series of all sources. */
static nx_code merge_pass(struct merge *merge, struct nx_err *err)
{
    nx_code code = NX_OK;
    merge->heap_count = 0;
    merge->outputs.has_skipped = false;
    for (uint32_t i = 0; code == NX_OK && i < merge->source_count; i++) {
        merge->sources[i].rank = 0;
        code = source_enter(merge, i, err);
    }
    for (uint64_t n = 0; code == NX_OK && merge->heap_count > 0; n++) {
        uint32_t with[MERGE_SOURCES_MAX];
        uint32_t with_count = 0;
        if (n % MERGE_POLL_SERIES == 0 && merge_is_stopping(merge))
            return nx_err_set(err, NX_E_CANCELLED, "merge: stopping");
        do
            with[with_count++] = heap_pop(merge);
        while (merge->heap_count > 0 &&
               labels_equal(merge->sources[merge->heap[0]].labels, merge->sources[with[0]].labels));
        code = merge_series(merge, with, with_count, err);
        /* The last run of the series refers to its labels until the next series begins: end it before they move. */
        if (code == NX_OK)
            code = merge_outputs_series(&merge->outputs, (struct labels){0}, err);
        for (uint32_t i = 0; code == NX_OK && i < with_count; i++) {
            merge->sources[with[i]].rank++;
            code = source_enter(merge, with[i], err);
        }
    }
    return code == NX_OK ? merge_outputs_finish(&merge->outputs, err) : code;
}

nx_code merge_check_space(struct block_list *list, uint64_t bytes, struct nx_err *err)
{
    uint64_t available = 0;
    uint64_t volume = 0;
    nx_code code = io_volume_bytes(block_list_tmp_dir(list), &available, &volume, err);
    if (code != NX_OK)
        return code;
    uint64_t reserve = volume / MERGE_RESERVE_PARTS;
    if (reserve > MERGE_RESERVE_BYTES)
        reserve = MERGE_RESERVE_BYTES;
    if (available < bytes + reserve)
        return nx_err_set(err, NX_E_FULL, "needs %" PRIu64 " bytes, %" PRIu64 " are free",
                          bytes + reserve, available);
    return NX_OK;
}

static nx_code merge_blocks(struct merge *merge, struct block_list *list,
                            struct merge_result *result, struct nx_err *err)
{
    struct block *blocks[MERGE_SOURCES_MAX];
    struct tombstones *applied[MERGE_SOURCES_MAX];
    uint64_t bytes = 0;
    uint64_t samples = 0;
    for (uint32_t i = 0; i < merge->source_count; i++) {
        const struct block_meta *meta = block_meta(merge->sources[i].block);
        blocks[i] = merge->sources[i].block;
        applied[i] = merge->sources[i].tombstones;
        samples += meta->sample_count;
        bytes += meta->index_bytes + meta->chunks_bytes;
    }
    nx_code code = merge_check_space(list, bytes, err);
    for (uint32_t i = 0; code == NX_OK && i < merge->source_count; i++) {
        struct merge_source *source = &merge->sources[i];
        code = block_reader_new_walk(source->block, &source->reader, err);
        if (code != NX_OK)
            merge->failed_source = i;
        source->series_count = (uint32_t)block_meta(source->block)->series_count;
    }
    do {
        if (code == NX_OK)
            code = merge_pass(merge, err);
    } while (code == NX_OK && merge->outputs.has_skipped);
    if (code != NX_OK)
        return code;
    const struct block_meta *metas =
        (const struct block_meta *)(const void *)merge->outputs.metas.data;
    size_t count = merge->outputs.metas.len / sizeof(*metas);
    *result = (struct merge_result){.duplicates = merge->duplicates,
                                    .bytes_in = bytes,
                                    .sources = merge->source_count,
                                    .outputs = (unsigned)count};
    for (size_t i = 0; i < count; i++) {
        result->samples += metas[i].sample_count;
        result->histograms += metas[i].histogram_count;
        result->exemplars += metas[i].exemplar_count;
        result->bytes_out += metas[i].index_bytes + metas[i].chunks_bytes;
    }
    result->deleted = samples - result->samples - merge->duplicates;
    const struct block_publish publish = {.live = metas,
                                          .live_count = count,
                                          .retired = blocks,
                                          .retired_count = merge->source_count,
                                          .applied = applied};
    code = block_list_publish_merged(list, &publish, err);
    /* Published or not: what becomes of the outputs is decided there. */
    nx_buf_reset(&merge->outputs.metas);
    return code;
}

/* A source whose index is bad goes to quarantine; one with a bad group stays, and is not merged again. */
static void set_aside(struct merge *merge, struct block_list *list, const struct nx_err *why)
{
    if (why->code != NX_E_CORRUPT || merge->failed_source == UINT32_MAX)
        return;
    struct block *block = merge->sources[merge->failed_source].block;
    struct nx_err ignored;
    if (block_verify(block, &ignored) == NX_E_CORRUPT)
        nx_ignore(block_list_quarantine(list, block, why->msg, &ignored));
    else
        atomic_store_explicit(&block->is_damaged, true, memory_order_relaxed);
}

static void column_deinit(struct merge_column *column)
{
    nx_buf_deinit(&column->times);
    nx_buf_deinit(&column->cells);
}

static void merge_deinit(struct merge *merge)
{
    merge_outputs_deinit(&merge->outputs);
    for (uint32_t i = 0; i < MERGE_SOURCES_MAX; i++) {
        block_reader_free(merge->sources[i].reader);
        for (size_t kind = 0; kind < MERGE_KINDS; kind++)
            column_deinit(&merge->columns[i][kind]);
        nx_buf_deinit(&merge->deleted[i]);
    }
    for (size_t kind = 0; kind < MERGE_KINDS; kind++)
        column_deinit(&merge->merged[kind]);
    arena_deinit(&merge->arena);
    nx_buf_deinit(&merge->exemplars);
    nx_buf_deinit(&merge->homes);
    nx_buf_deinit(&merge->chunks);
    nx_buf_deinit(&merge->found);
    nx_free(merge);
}

/* Metas of all blocks that may be merged, and where in the snapshot they are. */
static size_t gather_metas(const struct block_snapshot *snapshot, struct block_meta *metas,
                           size_t *out_at)
{
    size_t count = 0;
    for (size_t i = 0; i < snapshot->count; i++) {
        if (atomic_load_explicit(&snapshot->blocks[i]->is_damaged, memory_order_relaxed))
            continue;
        metas[count] = *block_meta(snapshot->blocks[i]);
        out_at[count++] = i;
    }
    return count;
}

/* A block that cannot be read now may come back, and then its place among the others must be what it was. */
static bool overlaps_unreadable(const struct block_snapshot *snapshot,
                                const struct block_meta *metas, const struct merge_job *job)
{
    for (size_t i = 0; i < snapshot->absent_count; i++)
        for (size_t j = 0; snapshot->absent[i].is_unreadable && j < job->source_count; j++)
            if (snapshot->absent[i].min_ms <= metas[job->source_index[j]].max_time_ms &&
                snapshot->absent[i].max_ms >= metas[job->source_index[j]].min_time_ms)
                return true;
    return false;
}

nx_code merge_run(struct block_list *list, int64_t now_ms, bool force, _Atomic bool *is_stopping,
                  bool *out_worked, struct merge_result *out_result, struct nx_err *err)
{
    struct block_snapshot snapshot;
    block_list_snapshot(list, INT64_MIN, INT64_MAX, &snapshot);
    struct block_meta *metas = nx_calloc(snapshot.count + 1, sizeof(*metas));
    size_t *at = nx_calloc(snapshot.count + 1, sizeof(*at));
    size_t count = gather_metas(&snapshot, metas, at);
    struct merge_job job = {0};
    nx_code code = NX_OK;
    bool is_planned = merge_plan(metas, count, now_ms, block_list_gather(list), force, &job) &&
                      !overlaps_unreadable(&snapshot, metas, &job);
    struct merge *merge = NULL;
    const char *ulids[MERGE_SOURCES_MAX];
    if (is_planned) {
        merge = nx_calloc(1, sizeof(*merge));
        merge->source_count = (uint32_t)job.source_count;
        merge->is_stopping = is_stopping;
        merge->failed_source = UINT32_MAX;
        arena_init(&merge->arena, 0);
        merge_outputs_init(&merge->outputs, list);
        for (uint32_t i = 0; i < merge->source_count; i++) {
            merge->sources[i].block = snapshot.blocks[at[job.source_index[i]]];
            merge->sources[i].tombstones = snapshot.tombstones[at[job.source_index[i]]];
            ulids[i] = block_meta(merge->sources[i].block)->ulid;
        }
        merge->outputs.day_before_ms = job.day_before_ms;
        merge->outputs.sources = ulids;
        merge->outputs.source_count = merge->source_count;
        code = merge_blocks(merge, list, out_result, err);
        if (code != NX_OK)
            set_aside(merge, list, err);
        merge_deinit(merge);
    }
    nx_free(metas);
    nx_free(at);
    block_snapshot_end(&snapshot);
    if (is_planned && code == NX_OK)
        block_list_sweep(list);
    if (code == NX_OK)
        *out_worked = is_planned;
    return code;
}
