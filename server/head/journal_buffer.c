/* SPDX-License-Identifier: Apache-2.0 */
/* journal_buffer.c - what one shard has appended since its last commit.
 *
 * In       slots, times, values one by one; definitions and side entries as entries
 *            varint bytes of the rest | varint slot | varint label count | per label: varint length, name, varint
 *            length, value
 *            varint bytes of the rest | varint slot | zigzag varint time | payload
 * Out      columns that journal_commit cuts into records
 * Fails    never; memory is bounded by what a request may hold and by the committer taking the buffers away
 */
#include "narthex/base/mem.h"
#include "narthex/codec/varint.h"
#include "narthex/head/journal.h"

#include "journal_internal.h"

#define BUFFER_SAMPLES_MIN      256u
#define BUFFER_SAMPLES_KEPT     8192u /* 164 KB a buffer, and there are two a shard: 5 MB */
#define BUFFER_DEFINITIONS_KEPT (256u << 10)
#define BUFFER_BLOBS_KEPT       (256u << 10)

void journal_buffer_deinit(struct journal_buffer *buffer)
{
    nx_free(buffer->slots);
    nx_free(buffer->times_ms);
    nx_free(buffer->value_bits);
    nx_buf_deinit(&buffer->definitions);
    for (unsigned i = 0; i < JOURNAL_BLOB_KINDS; i++)
        nx_buf_deinit(&buffer->blobs[i]);
    *buffer = (struct journal_buffer){0};
}

void journal_buffer_reset(struct journal_buffer *buffer)
{
    buffer->sample_count = 0;
    buffer->definition_count = 0;
    if (buffer->sample_cap > BUFFER_SAMPLES_KEPT) {
        nx_free(buffer->slots);
        nx_free(buffer->times_ms);
        nx_free(buffer->value_bits);
        buffer->slots = NULL;
        buffer->times_ms = NULL;
        buffer->value_bits = NULL;
        buffer->sample_cap = 0;
    }
    if (buffer->definitions.cap > BUFFER_DEFINITIONS_KEPT)
        nx_buf_deinit(&buffer->definitions);
    nx_buf_reset(&buffer->definitions);
    for (unsigned i = 0; i < JOURNAL_BLOB_KINDS; i++) {
        if (buffer->blobs[i].cap > BUFFER_BLOBS_KEPT)
            nx_buf_deinit(&buffer->blobs[i]);
        nx_buf_reset(&buffer->blobs[i]);
        buffer->blob_counts[i] = 0;
    }
}

uint64_t journal_buffer_bytes(const struct journal_buffer *buffer)
{
    uint64_t bytes = buffer->sample_cap * (sizeof(*buffer->slots) + sizeof(*buffer->times_ms) +
                                           sizeof(*buffer->value_bits)) +
                     buffer->definitions.cap;
    for (unsigned i = 0; i < JOURNAL_BLOB_KINDS; i++)
        bytes += buffer->blobs[i].cap;
    return bytes;
}

void journal_buffer_reserve(struct journal_buffer *buffer, size_t samples)
{
    size_t need = buffer->sample_count + samples;
    if (need <= buffer->sample_cap)
        return;
    size_t cap = buffer->sample_cap + buffer->sample_cap / 2;
    if (cap < need)
        cap = need;
    if (cap < BUFFER_SAMPLES_MIN)
        cap = BUFFER_SAMPLES_MIN;
    buffer->slots = nx_realloc_array(buffer->slots, cap, sizeof(*buffer->slots));
    buffer->times_ms = nx_realloc_array(buffer->times_ms, cap, sizeof(*buffer->times_ms));
    buffer->value_bits = nx_realloc_array(buffer->value_bits, cap, sizeof(*buffer->value_bits));
    buffer->sample_cap = cap;
}

static uint8_t *put_text(uint8_t *out, struct nx_str text)
{
    out += varint_put(out, text.len);
    if (text.len > 0)
        memcpy(out, text.data, text.len);
    return out + text.len;
}

void journal_buffer_define(struct journal_buffer *buffer, uint32_t slot, struct labels labels)
{
    NX_ASSERT(slot < JOURNAL_SLOT_LIMIT);
    size_t body = varint_length(slot) + varint_length(labels.count);
    for (size_t i = 0; i < labels.count; i++) {
        body += varint_length(labels.items[i].name.len) + labels.items[i].name.len;
        body += varint_length(labels.items[i].value.len) + labels.items[i].value.len;
    }
    uint8_t *out = nx_buf_extend(&buffer->definitions, varint_length(body) + body);
    out += varint_put(out, body);
    out += varint_put(out, slot);
    out += varint_put(out, labels.count);
    for (size_t i = 0; i < labels.count; i++) {
        out = put_text(out, labels.items[i].name);
        out = put_text(out, labels.items[i].value);
    }
    NX_DCHECK(out == buffer->definitions.data + buffer->definitions.len);
    buffer->definition_count++;
}

void journal_buffer_push_blob(struct journal_buffer *buffer, enum journal_blob_kind kind,
                              uint32_t slot, int64_t time_ms, struct nx_bytes payload)
{
    unsigned i = (unsigned)kind - JOURNAL_BLOB_HISTOGRAM;
    NX_ASSERT(i < JOURNAL_BLOB_KINDS && slot < JOURNAL_SLOT_LIMIT);
    NX_ASSERT(payload.len <= JOURNAL_BLOB_BYTES_MAX);
    uint64_t time = zigzag(time_ms);
    size_t body = varint_length(slot) + varint_length(time) + payload.len;
    uint8_t *out = nx_buf_extend(&buffer->blobs[i], varint_length(body) + body);
    out += varint_put(out, body);
    out += varint_put(out, slot);
    out += varint_put(out, time);
    if (payload.len > 0)
        memcpy(out, payload.data, payload.len);
    buffer->blob_counts[i]++;
}
