/* SPDX-License-Identifier: Apache-2.0 */
/* block_exemplars.c - packs the exemplars of a series.
 *
 * Their labels are trace ids mostly: random hexadecimal digits, of which zstd saves half, and always the same names.
 * One frame for a series: a block's exemplars are read series by series.
 */
#include "block_exemplars.h"

#include "narthex/base/assert.h"
#include "narthex/base/mem.h"
#include "narthex/block/block.h"
#include "narthex/codec/exemplar_code.h"
#include "narthex/codec/zstd_block.h"

#include "block_format.h"

#define ENTRY_RANK_BYTES 4u
#define ENTRY_ZSTD_LEVEL 3

enum {
    ENTRY_PACKING_NONE = 0,
    ENTRY_PACKING_ZSTD = 1,
};

/* How many of the first ones are too many. */
static size_t left_out(const struct exemplar *exemplars, size_t count)
{
    size_t first = count;
    size_t bytes = VARINT_BYTES_MAX;
    while (first > 0 && count - first < BLOCK_SERIES_EXEMPLARS_MAX) {
        struct labels labels = exemplars[first - 1].labels;
        bytes += EXEMPLAR_CODE_BYTES_MAX - EXEMPLAR_TEXT_BYTES_MAX - 4 * EXEMPLAR_LABELS_MAX;
        for (size_t i = 0; i < labels.count; i++)
            bytes += 4 + labels.items[i].name.len + labels.items[i].value.len;
        if (bytes > EXEMPLARS_RAW_BYTES_MAX)
            break;
        first--;
    }
    return first;
}

size_t exemplars_pack(uint32_t rank, const struct exemplar *exemplars, size_t count,
                      struct nx_buf *out)
{
    struct nx_buf raw = {0};
    struct nx_buf packed = {0};
    int64_t base_ms = 0;
    NX_ASSERT(count > 0);
    size_t first = left_out(exemplars, count);
    varint_append(&raw, count - first);
    for (size_t i = first; i < count; i++) {
        exemplar_put(&exemplars[i], base_ms, &raw);
        base_ms = exemplars[i].time_ms;
    }
    NX_ASSERT(raw.len <= EXEMPLARS_RAW_BYTES_MAX);
    bool is_packed =
        zstd_pack(nx_buf_bytes(&raw), ENTRY_ZSTD_LEVEL, &packed) + VARINT_BYTES_MAX < raw.len;
    nx_buf_append_u32(out, rank);
    nx_buf_append_byte(out, is_packed ? ENTRY_PACKING_ZSTD : ENTRY_PACKING_NONE);
    if (is_packed)
        varint_append(out, raw.len);
    const struct nx_buf *body = is_packed ? &packed : &raw;
    nx_buf_append(out, body->data, body->len);
    nx_buf_deinit(&raw);
    nx_buf_deinit(&packed);
    return count - first;
}

nx_code exemplars_rank(struct nx_bytes entry, uint32_t *out_rank)
{
    if (entry.len <= ENTRY_RANK_BYTES)
        return NX_E_CORRUPT;
    *out_rank = load_u32(entry.data);
    return NX_OK;
}

/* The body, unpacked, in the arena unless it is as it lies. */
static nx_code entry_body(struct nx_bytes entry, struct arena *arena, struct nx_bytes *out_raw)
{
    struct byte_reader in = byte_reader_of(entry);
    (void)byte_reader_u32(&in);
    uint8_t packing = byte_reader_u8(&in);
    uint64_t raw_bytes = packing == ENTRY_PACKING_ZSTD ? byte_reader_varint(&in) : 0;
    if (in.is_bad || packing > ENTRY_PACKING_ZSTD || raw_bytes > EXEMPLARS_RAW_BYTES_MAX)
        return NX_E_CORRUPT;
    struct nx_bytes body = {in.next, byte_reader_left(&in)};
    *out_raw = body;
    if (packing == ENTRY_PACKING_NONE)
        return body.len > EXEMPLARS_RAW_BYTES_MAX ? NX_E_CORRUPT : NX_OK;
    uint8_t *raw = arena_alloc(arena, (size_t)raw_bytes);
    if (raw == NULL)
        return NX_E_LIMIT;
    *out_raw = (struct nx_bytes){raw, (size_t)raw_bytes};
    return zstd_unpack(body, raw, (size_t)raw_bytes);
}

static nx_code unpack_all(struct nx_bytes raw, int64_t min_ms, int64_t max_ms, struct arena *arena,
                          struct nx_buf *out)
{
    struct byte_reader in = byte_reader_of(raw);
    struct exemplar before = {0};
    uint64_t count = byte_reader_varint(&in);
    if (count == 0 || count > BLOCK_SERIES_EXEMPLARS_MAX)
        return NX_E_CORRUPT;
    for (uint64_t i = 0; i < count; i++) {
        struct exemplar exemplar;
        nx_code code = exemplar_get(&in, i == 0 ? 0 : before.time_ms, arena, &exemplar);
        if (code != NX_OK)
            return code;
        if (i > 0 && exemplar_compare(&before, &exemplar) >= 0)
            return NX_E_CORRUPT;
        before = exemplar;
        if (exemplar.time_ms < min_ms || exemplar.time_ms > max_ms)
            continue;
        if (!exemplar_copy(arena, &exemplar, &exemplar))
            return NX_E_LIMIT;
        nx_buf_append(out, &exemplar, sizeof(exemplar));
    }
    return byte_reader_left(&in) > 0 ? NX_E_CORRUPT : NX_OK;
}

nx_code exemplars_unpack(struct nx_bytes entry, int64_t min_ms, int64_t max_ms, struct arena *arena,
                         struct nx_buf *out)
{
    size_t before = out->len;
    struct nx_bytes raw = {0};
    nx_code code = entry_body(entry, arena, &raw);
    if (code == NX_OK)
        code = unpack_all(raw, min_ms, max_ms, arena, out);
    if (code != NX_OK)
        out->len = before;
    return code;
}
