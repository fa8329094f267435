/* SPDX-License-Identifier: Apache-2.0 */
/* block_read.c - readers that walk a block's series.
 *
 * A group is read by one pread, checked, unpacked and parsed, and goes parsed into the group cache. A reader keeps what
 * its next call is likely to need: its place in a series page, the chunk group at hand, and the vector groups of the
 * last scrapes' times.
 */
#include "narthex/base/mem.h"
#include "narthex/codec/chunk.h"
#include "narthex/codec/histogram_chunk.h"

#include "block_exemplars.h"
#include "block_files.h"
#include "block_internal.h"

#include <inttypes.h>
#include <stdatomic.h>

/* A stored group is never longer than its raw bytes and a header: packing is dropped when it does not help. */
#define GROUP_STORED_BYTES_MAX (GROUP_RAW_BYTES_MAX + GROUP_HEADER_BYTES)
#define READER_VECTOR_HOLDS    64u

/* ---- reader: life ---- */

struct vector_hold {
    struct group_cache_entry *entry; /* NULL: none */
    uint32_t group;
};

struct block_reader {
    struct block *block; /* referenced */
    const struct block_index *index;
    bool is_walk;

    struct series_cursor cursor;
    bool has_row;      /* the cursor stands on a series */
    bool is_resolved;  /* labels[] are those of the cursor's series */
    bool is_new_shape; /* since labels[] were resolved */
    uint64_t changed;
    uint32_t page_end; /* first rank behind the page */
    struct label *labels;
    const struct index_name **names; /* of each label */
    uint32_t label_cap;

    uint32_t group_at; /* which group is held */
    struct index_group_row group_row;
    const struct chunk_group *group; /* NULL: none */
    struct group_cache_entry *entry; /* holds it, unless this is a walk */
    struct chunk_group *own_group;   /* that of a walk */

    struct vector_hold holds[READER_VECTOR_HOLDS];
    const struct vector_group *vectors; /* the last used; one of the holds */
    struct nx_buf stored, raw;
};

static nx_code reader_new(struct block *block, bool is_walk, struct block_reader **out_reader,
                          struct nx_err *err)
{
    const struct block_index *index = NULL;
    nx_code code = block_index_of(block, &index, err);
    if (code != NX_OK)
        return code;
    struct block_reader *reader = nx_calloc(1, sizeof(*reader));
    reader->block = block_ref(block);
    reader->index = index;
    reader->is_walk = is_walk;
    *out_reader = reader;
    return NX_OK;
}

nx_code block_reader_new(struct block *block, struct block_reader **out_reader, struct nx_err *err)
{
    return reader_new(block, false, out_reader, err);
}

nx_code block_reader_new_walk(struct block *block, struct block_reader **out_reader,
                              struct nx_err *err)
{
    return reader_new(block, true, out_reader, err);
}

static void reader_drop_group(struct block_reader *reader)
{
    if (reader->entry != NULL)
        group_cache_release(reader->block->cache, reader->entry);
    nx_free(reader->own_group);
    reader->entry = NULL;
    reader->own_group = NULL;
    reader->group = NULL;
}

void block_reader_free(struct block_reader *reader)
{
    if (reader == NULL)
        return;
    reader_drop_group(reader);
    for (unsigned i = 0; i < READER_VECTOR_HOLDS; i++)
        if (reader->holds[i].entry != NULL)
            group_cache_release(reader->block->cache, reader->holds[i].entry);
    series_cursor_deinit(&reader->cursor);
    nx_free(reader->labels);
    nx_free(reader->names);
    nx_buf_deinit(&reader->stored);
    nx_buf_deinit(&reader->raw);
    block_unref(reader->block);
    nx_free(reader);
}

static nx_code index_damaged(const struct block_reader *reader, const char *what,
                             struct nx_err *err)
{
    return nx_err_set(err, NX_E_CORRUPT, "block %s: %s: %s", reader->block->file.meta.ulid,
                      BLOCK_INDEX_NAME, what);
}

static nx_code group_damaged(const struct block_reader *reader, uint64_t offset, struct nx_err *err)
{
    atomic_store_explicit(&reader->block->is_damaged, true, memory_order_relaxed);
    return nx_err_set(err, NX_E_CORRUPT, "block %s: %s: group at offset %" PRIu64 " is damaged",
                      reader->block->file.meta.ulid, BLOCK_CHUNKS_NAME, offset);
}

/* ---- reader: labels ---- */

/* Moves the cursor to `rank`, remembering what changed since labels[] were made. */
static nx_code reader_seek(struct block_reader *reader, uint32_t rank)
{
    struct series_cursor *cursor = &reader->cursor;
    if (reader->has_row && cursor->rank == rank)
        return NX_OK;
    uint32_t pair_bound = block_index_pair_count(reader->index);
    if (!reader->has_row || rank < cursor->rank || rank >= reader->page_end) {
        struct nx_bytes page = {0};
        reader->has_row = false;
        nx_code code = block_index_series_page(reader->index, rank, &page);
        if (code == NX_OK)
            code = series_cursor_begin(cursor, page);
        if (code != NX_OK)
            return code;
        reader->page_end = cursor->next_rank + cursor->left;
    }
    do {
        nx_code code = series_cursor_next(cursor, pair_bound);
        if (code != NX_OK) {
            reader->has_row = false;
            return NX_E_CORRUPT;
        }
        reader->has_row = true;
        reader->is_resolved = false;
        reader->is_new_shape |= cursor->is_new_shape;
        reader->changed |= cursor->changed;
    } while (cursor->rank < rank);
    return NX_OK;
}

static nx_code resolve_all(struct block_reader *reader)
{
    const struct series_cursor *cursor = &reader->cursor;
    if (cursor->count > reader->label_cap) {
        reader->label_cap = cursor->cap;
        reader->labels =
            nx_realloc_array(reader->labels, reader->label_cap, sizeof(*reader->labels));
        reader->names =
            nx_realloc_array(reader->names, reader->label_cap, sizeof(const struct index_name *));
    }
    for (uint32_t i = 0; i < cursor->count; i++) {
        const struct index_name *name = block_index_name_of(reader->index, cursor->pairs[i]);
        if (i > 0 && name == reader->names[i - 1])
            return NX_E_CORRUPT;
        reader->names[i] = name;
        reader->labels[i].name = name->text;
        nx_code code = block_index_value(reader->index, cursor->pairs[i], &reader->labels[i].value);
        if (code != NX_OK)
            return code;
    }
    return NX_OK;
}

static nx_code resolve_changed(struct block_reader *reader)
{
    const struct series_cursor *cursor = &reader->cursor;
    for (uint64_t rest = reader->changed; rest != 0; rest &= rest - 1) {
        unsigned i = (unsigned)__builtin_ctzll(rest);
        uint32_t pair = cursor->pairs[i];
        if (pair < reader->names[i]->first_pair || pair >= reader->names[i]->end_pair)
            return NX_E_CORRUPT;
        nx_code code = block_index_value(reader->index, pair, &reader->labels[i].value);
        if (code != NX_OK)
            return code;
    }
    return NX_OK;
}

nx_code block_reader_labels(struct block_reader *reader, uint32_t rank, struct labels *out_labels,
                            uint32_t *out_slot, struct nx_err *err)
{
    nx_code code = reader_seek(reader, rank);
    if (code == NX_OK && !reader->is_resolved)
        code = reader->is_new_shape ? resolve_all(reader) : resolve_changed(reader);
    if (code != NX_OK) {
        reader->has_row = false;
        return index_damaged(reader, "a series is damaged", err);
    }
    reader->is_resolved = true;
    reader->is_new_shape = false;
    reader->changed = 0;
    *out_labels = (struct labels){reader->labels, reader->cursor.count};
    if (out_slot != NULL)
        *out_slot = reader->cursor.slot;
    return NX_OK;
}

/* ---- reader: groups ---- */

/* Reads and unpacks a stored group; *out_raw lies in the reader. */
static nx_code read_group(struct block_reader *reader, enum group_kind kind, uint64_t offset,
                          uint32_t stored_bytes, uint32_t first, struct nx_bytes *out_raw,
                          struct nx_err *err)
{
    const struct block *block = reader->block;
    if (stored_bytes <= GROUP_HEADER_BYTES || stored_bytes > GROUP_STORED_BYTES_MAX ||
        offset > block->file.meta.chunks_bytes ||
        stored_bytes > block->file.meta.chunks_bytes - offset)
        return index_damaged(reader, "a group is out of bounds", err);
    nx_buf_reset(&reader->stored);
    uint8_t *stored = nx_buf_extend(&reader->stored, stored_bytes);
    nx_code code = file_read_at(block->io, block->chunks_fd, offset, stored, stored_bytes, err);
    if (code != NX_OK)
        return nx_err_wrap(err, "block %s: %s", block->file.meta.ulid, BLOCK_CHUNKS_NAME);
    code = group_unpack(nx_buf_bytes(&reader->stored), offset, kind, first, &reader->raw, out_raw);
    return code == NX_OK ? NX_OK : group_damaged(reader, offset, err);
}

/* Both kinds share a cache; a key tells them apart, so that no index can make one pass for the other. */
static uint64_t group_cache_key(enum group_kind kind, uint64_t offset)
{
    return offset << 1 | (kind == GROUP_KIND_VECTORS);
}

static nx_code reader_load_group(struct block_reader *reader, uint32_t at, struct nx_err *err)
{
    if (reader->group != NULL && reader->group_at == at)
        return NX_OK;
    reader_drop_group(reader);
    struct index_group_row *row = &reader->group_row;
    block_index_group(reader->index, at, row);
    struct group_cache *cache = reader->block->cache;
    uint64_t key = group_cache_key(GROUP_KIND_CHUNKS, row->offset);
    reader->entry = group_cache_get(cache, reader->block->id, key);
    if (reader->entry == NULL) {
        struct nx_bytes raw = {0};
        struct chunk_group *group = NULL;
        size_t bytes = 0;
        nx_code code = read_group(reader, GROUP_KIND_CHUNKS, row->offset, row->stored_bytes,
                                  row->first_rank, &raw, err);
        if (code != NX_OK)
            return code;
        if (chunk_group_parse(raw, row->first_rank, row->last_rank, &group, &bytes) != NX_OK)
            return group_damaged(reader, row->offset, err);
        if (reader->is_walk)
            reader->own_group = group;
        else
            reader->entry = group_cache_put(cache, reader->block->id, key, (uint8_t *)group, bytes);
    }
    reader->group =
        reader->own_group != NULL
            ? reader->own_group
            : (const struct chunk_group *)(const void *)group_cache_data(reader->entry).data;
    reader->group_at = at;
    if (reader->group->chunks[0].rank == row->first_rank &&
        reader->group->chunks[reader->group->chunk_count - 1].rank == row->last_rank)
        return NX_OK;
    reader_drop_group(reader);
    return index_damaged(reader, "two groups at one place", err);
}

static bool vectors_have(const struct vector_group *group, uint32_t vector)
{
    return group != NULL && vector >= group->first && vector - group->first < group->count;
}

static nx_code reader_load_vectors(struct block_reader *reader, uint32_t vector, struct nx_err *err)
{
    uint32_t at = 0;
    if (block_index_vectors_find(reader->index, vector, &at) != NX_OK)
        return index_damaged(reader, "a time vector is out of bounds", err);
    struct vector_hold *hold = &reader->holds[at % READER_VECTOR_HOLDS];
    struct index_vector_row row;
    block_index_vectors(reader->index, at, &row);
    if (hold->entry == NULL || hold->group != at) {
        struct group_cache *cache = reader->block->cache;
        uint64_t key = group_cache_key(GROUP_KIND_VECTORS, row.offset);
        struct group_cache_entry *entry = group_cache_get(cache, reader->block->id, key);
        if (entry == NULL) {
            struct nx_bytes raw = {0};
            struct vector_group *group = NULL;
            size_t bytes = 0;
            nx_code code = read_group(reader, GROUP_KIND_VECTORS, row.offset, row.stored_bytes,
                                      row.first_vector, &raw, err);
            if (code != NX_OK)
                return code;
            if (vector_group_parse(raw, row.first_vector, row.vector_count, &group, &bytes) !=
                NX_OK)
                return group_damaged(reader, row.offset, err);
            entry = group_cache_put(cache, reader->block->id, key, (uint8_t *)group, bytes);
        }
        if (hold->entry != NULL)
            group_cache_release(cache, hold->entry);
        *hold = (struct vector_hold){.entry = entry, .group = at};
    }
    reader->vectors = (const struct vector_group *)(const void *)group_cache_data(hold->entry).data;
    if (!vectors_have(reader->vectors, vector)) {
        reader->vectors = NULL;
        return index_damaged(reader, "two vector groups at one place", err);
    }
    return NX_OK;
}

/* The times of a vector; valid until another is asked for. */
static nx_code reader_times(struct block_reader *reader, uint32_t vector,
                            const int64_t **out_times_ms, uint32_t *out_count, struct nx_err *err)
{
    if (!vectors_have(reader->vectors, vector)) {
        nx_code code = reader_load_vectors(reader, vector, err);
        if (code != NX_OK)
            return code;
    }
    *out_times_ms = vector_group_times(reader->vectors, vector, out_count);
    return NX_OK;
}

/* The first group with chunks of `rank`: the one at hand or its successor, mostly. */
static uint32_t reader_first_group(const struct block_reader *reader, uint32_t rank)
{
    if (reader->group != NULL && rank > reader->group_row.first_rank &&
        rank <= reader->group_row.last_rank)
        return reader->group_at;
    return block_index_group_find(reader->index, rank);
}

/* ---- reader: samples ---- */

/* Index of the first time that is not below `time_ms`. */
static uint32_t times_lower_bound(const int64_t *times_ms, uint32_t count, int64_t time_ms)
{
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (times_ms[middle] < time_ms)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static uint32_t times_upper_bound(const int64_t *times_ms, uint32_t count, int64_t time_ms)
{
    return time_ms == INT64_MAX ? count : times_lower_bound(times_ms, count, time_ms + 1);
}

static nx_code append_chunk(struct block_reader *reader, uint32_t chunk, int64_t min_ms,
                            int64_t max_ms, struct nx_buf *times_ms, struct nx_buf *values,
                            struct nx_err *err)
{
    const int64_t *times = NULL;
    uint32_t count = 0;
    nx_code code = reader_times(reader, reader->group->chunks[chunk].vector, &times, &count, err);
    if (code != NX_OK)
        return code;
    uint32_t first = times_lower_bound(times, count, min_ms);
    uint32_t end = times_upper_bound(times, count, max_ms);
    if (first >= end)
        return NX_OK;
    /* Decoded in place; what lies before the range is shifted out. */
    size_t values_before = values->len;
    double *out = (double *)(void *)nx_buf_extend(values, count * sizeof(double));
    if (chunk_decode(chunk_group_bytes(reader->group, chunk), count, (uint64_t *)(void *)out) !=
        NX_OK) {
        values->len = values_before;
        return group_damaged(reader, reader->group_row.offset, err);
    }
    if (first > 0)
        memmove(out, out + first, (end - first) * sizeof(double));
    values->len = values_before + (end - first) * sizeof(double);
    nx_buf_append(times_ms, times + first, (end - first) * sizeof(int64_t));
    return NX_OK;
}

/* Calls for each chunk of the series whose group may overlap the range. */
typedef nx_code (*chunk_fn)(struct block_reader *reader, uint32_t chunk, void *context,
                            struct nx_err *err);

static nx_code each_chunk(struct block_reader *reader, uint32_t rank, int64_t min_ms,
                          int64_t max_ms, chunk_fn each, void *context, struct nx_err *err)
{
    if (rank >= block_index_series_count(reader->index))
        return nx_err_set(err, NX_E_INVALID, "block %s: no series %" PRIu32,
                          reader->block->file.meta.ulid, rank);
    uint32_t group_count = block_index_group_count(reader->index);
    for (uint32_t at = reader_first_group(reader, rank); at < group_count; at++) {
        struct index_group_row row;
        block_index_group(reader->index, at, &row);
        if (row.first_rank > rank)
            break;
        if (row.min_ms > max_ms || row.max_ms < min_ms)
            continue;
        nx_code code = reader_load_group(reader, at, err);
        if (code != NX_OK)
            return code;
        for (uint32_t i = chunk_group_find(reader->group, rank);
             i < reader->group->chunk_count && reader->group->chunks[i].rank == rank; i++) {
            if (!chunk_group_may_overlap(reader->group, i, min_ms, max_ms))
                continue;
            code = each(reader, i, context, err);
            if (code != NX_OK)
                return code;
        }
    }
    return NX_OK;
}

struct samples_context {
    int64_t min_ms, max_ms;
    struct nx_buf *times_ms, *values;
};

static nx_code samples_each(struct block_reader *reader, uint32_t chunk, void *context,
                            struct nx_err *err)
{
    struct samples_context *samples = context;
    size_t before = samples->times_ms->len;
    if (chunk_is_histogram(chunk_group_bytes(reader->group, chunk)))
        return NX_OK;
    nx_code code = append_chunk(reader, chunk, samples->min_ms, samples->max_ms, samples->times_ms,
                                samples->values, err);
    if (code != NX_OK || before == 0 || samples->times_ms->len == before)
        return code;
    /* Chunks of a series follow each other in time. */
    const uint8_t *seam = samples->times_ms->data + before;
    if ((int64_t)load_u64(seam - 8) >= (int64_t)load_u64(seam))
        return group_damaged(reader, reader->group_row.offset, err);
    return NX_OK;
}

nx_code block_reader_samples(struct block_reader *reader, uint32_t rank, int64_t min_ms,
                             int64_t max_ms, struct nx_buf *times_ms, struct nx_buf *values,
                             struct nx_err *err)
{
    size_t times_before = times_ms->len, values_before = values->len;
    struct nx_buf own_times = {0};
    /* The seam check must not look at what the caller had in the buffer before. */
    struct samples_context context = {min_ms, max_ms, times_before == 0 ? times_ms : &own_times,
                                      values};
    nx_code code = each_chunk(reader, rank, min_ms, max_ms, samples_each, &context, err);
    if (code != NX_OK) {
        times_ms->len = times_before;
        values->len = values_before;
    } else if (times_before != 0) {
        nx_buf_append(times_ms, own_times.data, own_times.len);
    }
    nx_buf_deinit(&own_times);
    return code;
}

/* ---- reader: histograms and exemplars ---- */

static nx_code no_memory(const struct block_reader *reader, struct nx_err *err)
{
    return nx_err_set(err, NX_E_LIMIT, "block %s: no memory left for what was asked",
                      reader->block->file.meta.ulid);
}

struct histograms_context {
    int64_t min_ms, max_ms;
    struct arena *arena;
    struct nx_buf *out;
    size_t count; /* appended */
};

static nx_code histograms_each(struct block_reader *reader, uint32_t chunk, void *context,
                               struct nx_err *err)
{
    struct histograms_context *all = context;
    struct nx_bytes bytes = chunk_group_bytes(reader->group, chunk);
    const int64_t *times = NULL;
    uint32_t count = 0;
    if (!chunk_is_histogram(bytes))
        return NX_OK;
    nx_code code = reader_times(reader, reader->group->chunks[chunk].vector, &times, &count, err);
    if (code != NX_OK)
        return code;
    uint32_t first = times_lower_bound(times, count, all->min_ms);
    uint32_t end = times_upper_bound(times, count, all->max_ms);
    if (first >= end)
        return NX_OK;
    struct histogram *decoded = arena_alloc(all->arena, count * sizeof(*decoded));
    if (decoded == NULL)
        return no_memory(reader, err);
    code = histogram_chunk_decode(bytes, count, all->arena, decoded);
    if (code != NX_OK)
        return code == NX_E_LIMIT ? no_memory(reader, err)
                                  : group_damaged(reader, reader->group_row.offset, err);
    for (uint32_t i = first; i < end; i++) {
        struct histogram_sample sample = {.time_ms = times[i], .histogram = &decoded[i]};
        /* Chunks of a series follow each other in time. */
        if (all->count > 0 &&
            (int64_t)load_u64(all->out->data + all->out->len - sizeof(sample) +
                              offsetof(struct histogram_sample, time_ms)) >= sample.time_ms)
            return group_damaged(reader, reader->group_row.offset, err);
        nx_buf_append(all->out, &sample, sizeof(sample));
        all->count++;
    }
    return NX_OK;
}

nx_code block_reader_histograms(struct block_reader *reader, uint32_t rank, int64_t min_ms,
                                int64_t max_ms, struct arena *arena, struct nx_buf *out,
                                struct nx_err *err)
{
    if (reader->block->file.meta.histogram_count == 0)
        return NX_OK;
    size_t before = out->len;
    struct histograms_context context = {min_ms, max_ms, arena, out, 0};
    nx_code code = each_chunk(reader, rank, min_ms, max_ms, histograms_each, &context, err);
    if (code != NX_OK)
        out->len = before;
    return code;
}

nx_code block_reader_exemplars(struct block_reader *reader, uint32_t rank, int64_t min_ms,
                               int64_t max_ms, struct arena *arena, struct nx_buf *out,
                               struct nx_err *err)
{
    const struct block_meta *meta = &reader->block->file.meta;
    struct nx_bytes entry = {0};
    if (meta->exemplar_count == 0 || min_ms > meta->exemplar_max_ms ||
        max_ms < meta->exemplar_min_ms)
        return NX_OK;
    nx_code code = block_index_exemplars(reader->index, rank, &entry);
    if (code == NX_E_NOT_FOUND)
        return NX_OK;
    if (code == NX_OK)
        code = exemplars_unpack(entry, min_ms, max_ms, arena, out);
    if (code == NX_E_CORRUPT)
        return index_damaged(reader, "exemplars are damaged", err);
    return code == NX_E_LIMIT ? no_memory(reader, err) : code;
}

/* ---- reader: chunks ---- */

struct overlap_context {
    int64_t min_ms, max_ms;
    bool overlaps;
};

static nx_code overlap_each(struct block_reader *reader, uint32_t chunk, void *context,
                            struct nx_err *err)
{
    struct overlap_context *overlap = context;
    if (overlap->overlaps ||
        chunk_group_is_inside(reader->group, chunk, overlap->min_ms, overlap->max_ms)) {
        overlap->overlaps = true;
        return NX_OK;
    }
    const int64_t *times = NULL;
    uint32_t count = 0;
    nx_code code = reader_times(reader, reader->group->chunks[chunk].vector, &times, &count, err);
    if (code == NX_OK)
        overlap->overlaps = times_lower_bound(times, count, overlap->min_ms) <
                            times_upper_bound(times, count, overlap->max_ms);
    return code;
}

nx_code block_reader_overlaps(struct block_reader *reader, uint32_t rank, int64_t min_ms,
                              int64_t max_ms, bool *out_overlaps, struct nx_err *err)
{
    const struct block_meta *meta = &reader->block->file.meta;
    struct overlap_context context = {min_ms, max_ms, false};
    /* Every series has samples, but those that have exemplars alone: where the range holds all of the block, there is
     * one. */
    struct nx_bytes ignored;
    if (min_ms <= meta->min_time_ms && max_ms >= meta->max_time_ms &&
        (meta->exemplar_count == 0 ||
         block_index_exemplars(reader->index, rank, &ignored) == NX_E_NOT_FOUND)) {
        *out_overlaps = true;
        return NX_OK;
    }
    nx_code code = each_chunk(reader, rank, min_ms, max_ms, overlap_each, &context, err);
    if (code == NX_OK)
        *out_overlaps = context.overlaps;
    return code;
}

struct chunks_context {
    struct nx_buf *out;
    size_t count[2];    /* floats, histograms */
    int64_t last_ms[2]; /* of the chunk before */
};

static nx_code chunks_each(struct block_reader *reader, uint32_t index, void *context,
                           struct nx_err *err)
{
    struct block_chunk chunk = {
        .group = reader->group_at,
        .index = index,
        .vector = reader->group->chunks[index].vector,
        .is_histogram = chunk_is_histogram(chunk_group_bytes(reader->group, index)),
    };
    const int64_t *times = NULL;
    nx_code code = reader_times(reader, chunk.vector, &times, &chunk.count, err);
    if (code != NX_OK)
        return code;
    chunk.first_ms = times[0];
    chunk.last_ms = times[chunk.count - 1];
    struct chunks_context *chunks = context;
    unsigned kind = chunk.is_histogram;
    if (chunks->count[kind] > 0 && chunk.first_ms <= chunks->last_ms[kind])
        return group_damaged(reader, reader->group_row.offset, err);
    chunks->last_ms[kind] = chunk.last_ms;
    chunks->count[kind]++;
    nx_buf_append(chunks->out, &chunk, sizeof(chunk));
    return NX_OK;
}

nx_code block_reader_chunks(struct block_reader *reader, uint32_t rank, struct nx_buf *out,
                            struct nx_err *err)
{
    struct chunks_context context = {.out = out};
    return each_chunk(reader, rank, INT64_MIN, INT64_MAX, chunks_each, &context, err);
}

nx_code block_reader_chunk(struct block_reader *reader, const struct block_chunk *chunk,
                           const int64_t **out_times_ms, struct nx_bytes *out_bytes,
                           struct nx_err *err)
{
    uint32_t count = 0;
    nx_code code = reader_load_group(reader, chunk->group, err);
    if (code == NX_OK)
        code = reader_times(reader, chunk->vector, out_times_ms, &count, err);
    if (code != NX_OK)
        return code;
    NX_ASSERT(count == chunk->count);
    *out_bytes = chunk_group_bytes(reader->group, chunk->index);
    return NX_OK;
}

/* ---- whole block ---- */

nx_code block_each_series(struct block *block, block_series_fn each, void *context,
                          struct nx_err *err)
{
    struct block_reader *reader = NULL;
    nx_code code = block_reader_new(block, &reader, err);
    if (code != NX_OK)
        return code;
    uint32_t count = block_index_series_count(reader->index);
    for (uint32_t rank = 0; code == NX_OK && rank < count; rank++) {
        struct labels labels;
        uint32_t slot = BLOCK_SLOT_NONE;
        code = block_reader_labels(reader, rank, &labels, &slot, err);
        if (code == NX_OK)
            code = each(context, rank, slot, labels, err);
    }
    block_reader_free(reader);
    return code;
}

static nx_code scrub_no_series(void *context, uint32_t rank, uint32_t slot, struct labels labels,
                               struct nx_err *err)
{
    (void)context, (void)rank, (void)slot, (void)labels, (void)err;
    return NX_OK;
}

/* Whether the chunk decodes. */
static bool scrub_chunk(struct nx_bytes bytes, uint32_t count, struct nx_buf *scratch,
                        struct arena *arena)
{
    size_t bytes_each = chunk_is_histogram(bytes) ? sizeof(struct histogram) : sizeof(uint64_t);
    nx_buf_reset(scratch);
    void *out = nx_buf_extend(scratch, count * bytes_each);
    if (!chunk_is_histogram(bytes))
        return chunk_decode(bytes, count, out) == NX_OK;
    arena_reset(arena);
    return histogram_chunk_decode(bytes, count, arena, out) == NX_OK;
}

static nx_code scrub_exemplars(struct block_reader *reader, uint32_t rank, struct nx_buf *scratch,
                               struct arena *arena, struct nx_err *err)
{
    nx_buf_reset(scratch);
    arena_reset(arena);
    return block_reader_exemplars(reader, rank, INT64_MIN, INT64_MAX, arena, scratch, err);
}

static nx_code scrub_groups(struct block *block, struct nx_err *err)
{
    struct block_reader *reader = NULL;
    struct nx_buf chunks = {0}, scratch = {0};
    struct arena arena;
    nx_code code = block_reader_new_walk(block, &reader, err);
    if (code != NX_OK)
        return code;
    arena_init(&arena, 0);
    uint32_t count = block_index_series_count(reader->index);
    for (uint32_t rank = 0; code == NX_OK && rank < count; rank++) {
        nx_buf_reset(&chunks);
        code = block_reader_chunks(reader, rank, &chunks, err);
        const struct block_chunk *all = (const struct block_chunk *)(const void *)chunks.data;
        for (size_t i = 0; code == NX_OK && i < chunks.len / sizeof(*all); i++) {
            const int64_t *times = NULL;
            struct nx_bytes bytes;
            code = block_reader_chunk(reader, &all[i], &times, &bytes, err);
            if (code == NX_OK && !scrub_chunk(bytes, all[i].count, &scratch, &arena))
                code = group_damaged(reader, reader->group_row.offset, err);
        }
        if (code == NX_OK)
            code = scrub_exemplars(reader, rank, &scratch, &arena, err);
    }
    block_reader_free(reader);
    arena_deinit(&arena);
    nx_buf_deinit(&chunks);
    nx_buf_deinit(&scratch);
    return code;
}

nx_code block_scrub(struct block *block, struct nx_err *err)
{
    nx_code code = block_verify(block, err);
    if (code != NX_OK)
        return code;
    /* The index was verified when it was opened, perhaps long ago. */
    struct nx_buf path = {0};
    code = block_verify_file(block, path_join(&path, block->dir, BLOCK_INDEX_NAME), err);
    nx_buf_deinit(&path);
    if (code == NX_OK)
        code = file_sums_verify(block->io, block->chunks_fd, block->file.meta.chunks_bytes,
                                block->file.chunks_sums, err);
    if (code != NX_OK)
        return nx_err_wrap(err, "block %s", block->file.meta.ulid);
    code = block_each_series(block, scrub_no_series, NULL, err);
    return code == NX_OK ? scrub_groups(block, err) : code;
}
