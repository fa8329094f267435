/* SPDX-License-Identifier: Apache-2.0 */
/* block_group.c - groups of chunks.nxc: envelope, directory of chunks, time vectors.
 *
 * The directory is stored by columns (all rank steps, all vector numbers, ...): zstd then sees runs of equal bytes, and
 * a constant series costs about one byte of directory. Every read of a column goes through a sticky reader; what is
 * parsed has been checked against the bounds that later code relies on: ranks ascend and lie in the group's range,
 * offsets lie in the bytes, vector counts and times are bounded.
 */
#include "block_group.h"

#include "narthex/base/assert.h"
#include "narthex/base/hash.h"
#include "narthex/base/mem.h"
#include "narthex/codec/chunk.h"
#include "narthex/codec/timevec.h"
#include "narthex/codec/varint.h"
#include "narthex/codec/zstd_block.h"

#include "block_format.h"

/* ---- envelope ---- */

enum {
    GROUP_AT_MAGIC = 0,
    GROUP_AT_KIND = 4,
    GROUP_AT_PACKING = 5,
    GROUP_AT_ZERO = 6,
    GROUP_AT_FIRST = 8,
    GROUP_AT_STORED = 12,
    GROUP_AT_RAW = 16,
    GROUP_AT_ZERO2 = 20,
    GROUP_AT_SUM = 24,
};
static_assert(GROUP_AT_SUM + 8 == GROUP_HEADER_BYTES, "the checksum ends the header");

enum {
    GROUP_PACKING_NONE = 0,
    GROUP_PACKING_ZSTD = 1,
};

/* Over the header up to the sum, then the body; the place in the file is part of it. */
static uint64_t group_sum(const uint8_t *header, struct nx_bytes body, uint64_t file_offset)
{
    return nx_hash64(body.data, body.len, nx_hash64(header, GROUP_AT_SUM, file_offset));
}

void group_pack(enum group_kind kind, uint32_t first, struct nx_bytes raw, int zstd_level,
                uint64_t file_offset, struct nx_buf *out)
{
    NX_ASSERT(raw.len > 0 && raw.len <= GROUP_RAW_BYTES_MAX);
    size_t start = out->len;
    memset(nx_buf_extend(out, GROUP_HEADER_BYTES), 0, GROUP_HEADER_BYTES);
    size_t packed = zstd_pack(raw, zstd_level, out);
    bool is_packed = packed <= raw.len - raw.len / 50 && packed < raw.len;
    if (!is_packed) {
        out->len = start + GROUP_HEADER_BYTES;
        nx_buf_append(out, raw.data, raw.len);
    }
    uint8_t *header = out->data + start;
    struct nx_bytes body = {header + GROUP_HEADER_BYTES, out->len - start - GROUP_HEADER_BYTES};
    store_u32(header + GROUP_AT_MAGIC, GROUP_MAGIC);
    header[GROUP_AT_KIND] = (uint8_t)kind;
    header[GROUP_AT_PACKING] = is_packed ? GROUP_PACKING_ZSTD : GROUP_PACKING_NONE;
    store_u32(header + GROUP_AT_FIRST, first);
    store_u32(header + GROUP_AT_STORED, (uint32_t)body.len);
    store_u32(header + GROUP_AT_RAW, (uint32_t)raw.len);
    store_u64(header + GROUP_AT_SUM, group_sum(header, body, file_offset));
}

nx_code group_unpack(struct nx_bytes stored, uint64_t file_offset, enum group_kind kind,
                     uint32_t first, struct nx_buf *scratch, struct nx_bytes *out_raw)
{
    if (stored.len <= GROUP_HEADER_BYTES)
        return NX_E_CORRUPT;
    const uint8_t *header = stored.data;
    struct nx_bytes body = {header + GROUP_HEADER_BYTES, stored.len - GROUP_HEADER_BYTES};
    if (load_u64(header + GROUP_AT_SUM) != group_sum(header, body, file_offset))
        return NX_E_CORRUPT;
    size_t raw_bytes = load_u32(header + GROUP_AT_RAW);
    if (load_u32(header + GROUP_AT_MAGIC) != GROUP_MAGIC || header[GROUP_AT_KIND] != kind ||
        load_u16(header + GROUP_AT_ZERO) != 0 || load_u32(header + GROUP_AT_ZERO2) != 0 ||
        load_u32(header + GROUP_AT_FIRST) != first ||
        load_u32(header + GROUP_AT_STORED) != body.len || raw_bytes == 0 ||
        raw_bytes > GROUP_RAW_BYTES_MAX)
        return NX_E_CORRUPT;
    if (header[GROUP_AT_PACKING] == GROUP_PACKING_NONE) {
        if (raw_bytes != body.len)
            return NX_E_CORRUPT;
        *out_raw = body;
        return NX_OK;
    }
    if (header[GROUP_AT_PACKING] != GROUP_PACKING_ZSTD)
        return NX_E_CORRUPT;
    nx_buf_reset(scratch);
    uint8_t *raw = nx_buf_extend(scratch, raw_bytes);
    nx_code code = zstd_unpack(body, raw, raw_bytes);
    if (code != NX_OK)
        return code;
    *out_raw = nx_buf_bytes(scratch);
    return NX_OK;
}

/* ---- chunk groups: parse ---- */

#define GROUP_TIME_SHIFT 16 /* 65.5 s: one byte holds a two-hour block's starts */

static size_t chunk_group_size(uint32_t chunk_count, size_t byte_count)
{
    return sizeof(struct chunk_group) + (chunk_count + 1) * sizeof(struct group_chunk) + byte_count;
}

static const uint8_t *chunk_group_data(const struct chunk_group *group)
{
    return (const uint8_t *)(group->chunks + group->chunk_count + 1);
}

/* The five columns; sums of steps are kept in 64 bits and checked once they are complete. */
static nx_code chunk_group_parse_columns(struct byte_reader *in, struct group_chunk *chunks,
                                         uint32_t count, uint32_t first_rank, uint32_t last_rank)
{
    uint64_t rank = first_rank;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t step = byte_reader_varint(in);
        if (step > last_rank - rank)
            return NX_E_CORRUPT;
        rank += step;
        chunks[i].rank = (uint32_t)rank;
    }
    if (chunks[0].rank != first_rank || rank != last_rank)
        return NX_E_CORRUPT;
    uint64_t vector = 0;
    for (uint32_t i = 0; i < count; i++) {
        vector += (uint64_t)byte_reader_varint_signed(in);
        if (vector >= UINT32_MAX)
            return NX_E_CORRUPT;
        chunks[i].vector = (uint32_t)vector;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint64_t start = byte_reader_varint(in);
        if (start > GROUP_SPAN_OPEN)
            return NX_E_CORRUPT;
        chunks[i].start = (uint32_t)start;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint64_t span = byte_reader_varint(in);
        if (span > GROUP_SPAN_OPEN)
            return NX_E_CORRUPT;
        chunks[i].span = (uint32_t)span;
    }
    uint64_t offset = 0;
    for (uint32_t i = 0; i < count; i++) {
        chunks[i].offset = (uint32_t)offset;
        uint64_t bytes = byte_reader_varint(in);
        if (bytes == 0 || bytes > GROUP_RAW_BYTES_MAX - offset)
            return NX_E_CORRUPT;
        offset += bytes;
    }
    chunks[count] = (struct group_chunk){.rank = UINT32_MAX, .offset = (uint32_t)offset};
    return in->is_bad || offset != byte_reader_left(in) ? NX_E_CORRUPT : NX_OK;
}

nx_code chunk_group_parse(struct nx_bytes raw, uint32_t first_rank, uint32_t last_rank,
                          struct chunk_group **out_group, size_t *out_bytes)
{
    struct byte_reader in = byte_reader_of(raw);
    int64_t base_ms = (int64_t)byte_reader_u64(&in);
    uint64_t count = byte_reader_varint(&in);
    if (in.is_bad || count == 0 || count > GROUP_CHUNKS_MAX || last_rank < first_rank)
        return NX_E_CORRUPT;
    /* No chunk bytes can be longer than what is left; the exact number is known after the columns. */
    size_t left = byte_reader_left(&in);
    struct chunk_group *group = nx_alloc(chunk_group_size((uint32_t)count, left));
    group->base_ms = base_ms;
    group->chunk_count = (uint32_t)count;
    nx_code code =
        chunk_group_parse_columns(&in, group->chunks, (uint32_t)count, first_rank, last_rank);
    if (code != NX_OK) {
        nx_free(group);
        return code;
    }
    group->byte_count = (uint32_t)byte_reader_left(&in);
    memcpy((uint8_t *)(group->chunks + count + 1), in.next, group->byte_count);
    *out_group = group;
    *out_bytes = chunk_group_size((uint32_t)count, left);
    return NX_OK;
}

uint32_t chunk_group_find(const struct chunk_group *group, uint32_t rank)
{
    uint32_t low = 0, high = group->chunk_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (group->chunks[middle].rank < rank)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct nx_bytes chunk_group_bytes(const struct chunk_group *group, uint32_t index)
{
    NX_ASSERT(index < group->chunk_count);
    const struct group_chunk *chunk = &group->chunks[index];
    return (struct nx_bytes){chunk_group_data(group) + chunk->offset,
                             chunk[1].offset - chunk->offset};
}

static int64_t add_saturated(int64_t time_ms, uint64_t by)
{
    return by > (uint64_t)INT64_MAX - (uint64_t)time_ms ? INT64_MAX
                                                        : (int64_t)((uint64_t)time_ms + by);
}

static void chunk_bounds(const struct chunk_group *group, uint32_t index, int64_t *out_low,
                         int64_t *out_end)
{
    const struct group_chunk *chunk = &group->chunks[index];
    *out_low = add_saturated(group->base_ms, (uint64_t)chunk->start << GROUP_TIME_SHIFT);
    *out_end = chunk->span == GROUP_SPAN_OPEN
                   ? INT64_MAX
                   : add_saturated(group->base_ms, ((uint64_t)chunk->start + chunk->span + 2)
                                                       << GROUP_TIME_SHIFT);
}

bool chunk_group_may_overlap(const struct chunk_group *group, uint32_t index, int64_t min_ms,
                             int64_t max_ms)
{
    int64_t low, end;
    chunk_bounds(group, index, &low, &end);
    return low <= max_ms && end >= min_ms;
}

bool chunk_group_is_inside(const struct chunk_group *group, uint32_t index, int64_t min_ms,
                           int64_t max_ms)
{
    int64_t low, end;
    chunk_bounds(group, index, &low, &end);
    return min_ms <= low && end <= max_ms;
}

/* ---- chunk groups: build ---- */

struct group_builder_chunk {
    uint32_t rank, vector, bytes;
    int64_t first_ms, last_ms;
};

void group_builder_deinit(struct group_builder *builder)
{
    nx_free(builder->chunks);
    nx_buf_deinit(&builder->bytes);
    nx_buf_deinit(&builder->raw);
    *builder = (struct group_builder){0};
}

void group_builder_add(struct group_builder *builder, uint32_t rank, uint32_t vector,
                       int64_t first_ms, int64_t last_ms, struct nx_bytes chunk)
{
    NX_ASSERT(builder->count < GROUP_CHUNKS_MAX && chunk.len > 0 && first_ms <= last_ms);
    if (builder->count == builder->cap) {
        builder->cap = builder->cap == 0 ? 256 : builder->cap * 2;
        builder->chunks = nx_realloc_array(builder->chunks, builder->cap, sizeof(*builder->chunks));
    }
    if (builder->count == 0) {
        builder->min_ms = first_ms;
        builder->max_ms = last_ms;
    }
    builder->chunks[builder->count++] =
        (struct group_builder_chunk){rank, vector, (uint32_t)chunk.len, first_ms, last_ms};
    if (first_ms < builder->min_ms)
        builder->min_ms = first_ms;
    if (last_ms > builder->max_ms)
        builder->max_ms = last_ms;
    nx_buf_append(&builder->bytes, chunk.data, chunk.len);
}

uint32_t group_builder_first_rank(const struct group_builder *builder)
{
    return builder->chunks[0].rank;
}

uint32_t group_builder_last_rank(const struct group_builder *builder)
{
    return builder->chunks[builder->count - 1].rank;
}

size_t group_builder_size(const struct group_builder *builder)
{
    return builder->bytes.len + 7 * (size_t)builder->count;
}

/* Both saturate: a start too small and an open span only widen what the reader looks at. */
static uint64_t coarse_start(int64_t base_ms, int64_t first_ms)
{
    uint64_t start = ((uint64_t)first_ms - (uint64_t)base_ms) >> GROUP_TIME_SHIFT;
    return start > GROUP_SPAN_OPEN ? GROUP_SPAN_OPEN : start;
}

static uint64_t coarse_span(int64_t base_ms, const struct group_builder_chunk *chunk)
{
    uint64_t span = ((uint64_t)chunk->last_ms - (uint64_t)chunk->first_ms) >> GROUP_TIME_SHIFT;
    bool is_open =
        span > GROUP_SPAN_OPEN || coarse_start(base_ms, chunk->first_ms) == GROUP_SPAN_OPEN;
    return is_open ? GROUP_SPAN_OPEN : span;
}

struct nx_bytes group_builder_finish(struct group_builder *builder)
{
    NX_ASSERT(builder->count > 0);
    struct nx_buf *raw = &builder->raw;
    const struct group_builder_chunk *chunks = builder->chunks;
    uint32_t count = builder->count;
    nx_buf_reset(raw);
    nx_buf_append_u64(raw, (uint64_t)builder->min_ms);
    varint_append(raw, count);
    for (uint32_t i = 0; i < count; i++)
        varint_append(raw, i == 0 ? 0 : chunks[i].rank - chunks[i - 1].rank);
    for (uint32_t i = 0; i < count; i++)
        varint_append_signed(raw, (int64_t)chunks[i].vector - (i == 0 ? 0 : chunks[i - 1].vector));
    for (uint32_t i = 0; i < count; i++)
        varint_append(raw, coarse_start(builder->min_ms, chunks[i].first_ms));
    for (uint32_t i = 0; i < count; i++)
        varint_append(raw, coarse_span(builder->min_ms, &chunks[i]));
    for (uint32_t i = 0; i < count; i++)
        varint_append(raw, chunks[i].bytes);
    nx_buf_append(raw, builder->bytes.data, builder->bytes.len);
    builder->count = 0;
    nx_buf_reset(&builder->bytes);
    return nx_buf_bytes(raw);
}

/* ---- vector groups ---- */

static size_t vector_group_times_at(uint32_t count)
{
    size_t offsets = sizeof(struct vector_group) + ((size_t)count + 1) * sizeof(uint32_t);
    return (offsets + 7) & ~(size_t)7;
}

nx_code vector_group_parse(struct nx_bytes raw, uint32_t first, uint32_t count,
                           struct vector_group **out_group, size_t *out_bytes)
{
    struct byte_reader in = byte_reader_of(raw);
    if (byte_reader_varint(&in) != count || in.is_bad || count == 0 ||
        count > VECTOR_GROUP_TIMES_MAX)
        return NX_E_CORRUPT;
    uint32_t offsets[2] = {0, 0};
    struct byte_reader counts = in;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t times = byte_reader_varint(&counts);
        if (times == 0 || times > CHUNK_SAMPLES_MAX || times > VECTOR_GROUP_TIMES_MAX - offsets[0])
            return NX_E_CORRUPT;
        offsets[0] += (uint32_t)times;
    }
    size_t times_at = vector_group_times_at(count);
    size_t bytes = times_at + offsets[0] * sizeof(int64_t);
    struct vector_group *group = nx_alloc(bytes);
    group->first = first;
    group->count = count;
    int64_t *times = (int64_t *)((uint8_t *)group + times_at);

    struct byte_reader lengths = counts;
    struct byte_reader data = counts;
    for (uint32_t i = 0; i < count; i++)
        (void)byte_reader_varint(&data);
    nx_code code = counts.is_bad || data.is_bad ? NX_E_CORRUPT : NX_OK;
    for (uint32_t i = 0; code == NX_OK && i < count; i++) {
        uint32_t vector_times = (uint32_t)byte_reader_varint(&in);
        struct nx_bytes encoded = byte_reader_take(&data, byte_reader_varint(&lengths));
        group->offsets[i] = offsets[1];
        code =
            data.is_bad ? NX_E_CORRUPT : timevec_decode(encoded, vector_times, times + offsets[1]);
        offsets[1] += vector_times;
    }
    if (code != NX_OK || byte_reader_left(&data) != 0) {
        nx_free(group);
        return NX_E_CORRUPT;
    }
    group->offsets[count] = offsets[1];
    *out_group = group;
    *out_bytes = bytes;
    return NX_OK;
}

const int64_t *vector_group_times(const struct vector_group *group, uint32_t number,
                                  uint32_t *out_count)
{
    uint32_t i = number - group->first;
    NX_ASSERT(number >= group->first && i < group->count);
    const int64_t *times =
        (const int64_t *)((const uint8_t *)group + vector_group_times_at(group->count));
    *out_count = group->offsets[i + 1] - group->offsets[i];
    return times + group->offsets[i];
}

void vector_builder_deinit(struct vector_builder *builder)
{
    nx_buf_deinit(&builder->counts);
    nx_buf_deinit(&builder->lengths);
    nx_buf_deinit(&builder->bytes);
    nx_buf_deinit(&builder->raw);
    *builder = (struct vector_builder){0};
}

void vector_builder_add(struct vector_builder *builder, const int64_t *times_ms, uint32_t count)
{
    NX_ASSERT(count > 0 && count <= CHUNK_SAMPLES_MAX && !vector_builder_is_full(builder));
    size_t start = builder->bytes.len;
    timevec_encode(times_ms, count, &builder->bytes);
    varint_append(&builder->counts, count);
    varint_append(&builder->lengths, builder->bytes.len - start);
    builder->count++;
    builder->times += count;
}

bool vector_builder_is_full(const struct vector_builder *builder)
{
    return builder->times >= VECTOR_GROUP_TIMES_CUT || builder->bytes.len >= VECTOR_GROUP_BYTES_CUT;
}

struct nx_bytes vector_builder_finish(struct vector_builder *builder)
{
    NX_ASSERT(builder->count > 0);
    struct nx_buf *raw = &builder->raw;
    nx_buf_reset(raw);
    varint_append(raw, builder->count);
    nx_buf_append(raw, builder->counts.data, builder->counts.len);
    nx_buf_append(raw, builder->lengths.data, builder->lengths.len);
    nx_buf_append(raw, builder->bytes.data, builder->bytes.len);
    nx_buf_reset(&builder->counts);
    nx_buf_reset(&builder->lengths);
    nx_buf_reset(&builder->bytes);
    builder->first += builder->count;
    builder->count = 0;
    builder->times = 0;
    return nx_buf_bytes(raw);
}
