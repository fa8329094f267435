/* SPDX-License-Identifier: Apache-2.0 */
/* exemplar_code.c - one exemplar: its time as a difference, its value, its labels.
 *
 * Layout   docs/formats/histogram.md.
 */
#include "narthex/codec/exemplar_code.h"

#include "narthex/base/assert.h"
#include "narthex/model/staleness.h"

static void put_text(struct nx_buf *out, struct nx_str text)
{
    varint_append(out, text.len);
    nx_buf_append_str(out, text);
}

void exemplar_put(const struct exemplar *exemplar, int64_t base_ms, struct nx_buf *out)
{
    NX_DCHECK(exemplar->labels.count <= EXEMPLAR_LABELS_MAX);
    varint_append_signed(out, (int64_t)((uint64_t)exemplar->time_ms - (uint64_t)base_ms));
    varint_append(out, __builtin_bswap64(float_bits(exemplar->value)));
    varint_append(out, exemplar->labels.count);
    for (size_t i = 0; i < exemplar->labels.count; i++) {
        put_text(out, exemplar->labels.items[i].name);
        put_text(out, exemplar->labels.items[i].value);
    }
}

static nx_code get_all(struct byte_reader *reader, int64_t base_ms, struct arena *arena,
                       struct exemplar *out)
{
    struct exemplar got = {0};
    struct nx_err ignored;
    got.time_ms = (int64_t)((uint64_t)byte_reader_varint_signed(reader) + (uint64_t)base_ms);
    got.value = float_from_bits(__builtin_bswap64(byte_reader_varint(reader)));
    uint64_t count = byte_reader_varint(reader);
    if (reader->is_bad || count > EXEMPLAR_LABELS_MAX || count > byte_reader_left(reader) / 2)
        return NX_E_CORRUPT;
    if (count > 0) {
        struct label *items = arena_alloc(arena, (size_t)count * sizeof(*items));
        if (items == NULL)
            return NX_E_LIMIT;
        for (size_t i = 0; i < count; i++) {
            items[i].name = nx_str_from_bytes(byte_reader_take(reader, byte_reader_varint(reader)));
            items[i].value =
                nx_str_from_bytes(byte_reader_take(reader, byte_reader_varint(reader)));
        }
        got.labels = (struct labels){.items = items, .count = (size_t)count};
    }
    if (reader->is_bad || exemplar_check(&got, &ignored) != NX_OK)
        return NX_E_CORRUPT;
    *out = got;
    return NX_OK;
}

nx_code exemplar_get(struct byte_reader *reader, int64_t base_ms, struct arena *arena,
                     struct exemplar *out)
{
    nx_code code = get_all(reader, base_ms, arena, out);
    if (code == NX_E_CORRUPT)
        byte_reader_take(reader, UINT64_MAX); /* makes it bad */
    return code;
}
