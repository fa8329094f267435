/* SPDX-License-Identifier: Apache-2.0
 *
 * decode_v1.c - one pass over a remote write 1.0 message without parsing labels.
 *
 * In       raw bytes, hostile: every length is checked against what is left.
 * Out      batch->series with their label bytes as one region each, batch->samples.
 * Fails    NX_E_UNSUPPORTED (declined), NX_E_LIMIT.
 *
 * Senders write a TimeSeries as its labels, then its samples:
 *
 *   0a len ( 0a len <label> )* ( 12 len [09 value8] [10 time] )*
 *            '- the region ---'
 *
 * The region is one run of bytes that is the same in every request of a sender, so its hash finds the series.
 * Anything that deviates (unknown fields, other order, exemplars, histograms) is declined: protobuf-c then decides
 * what it means. Field numbers: proto/remote_write_v1.proto; test_decode_v1 ties the two.
 */
#include "narthex/ingest/decode_v1.h"

#include "narthex/base/assert.h"
#include "narthex/model/staleness.h"

#include <string.h>

/* Tags as they stand on the wire: field << 3 | type. */
#define TAG_REQUEST_TIMESERIES 0x0a
#define TAG_REQUEST_METADATA   0x1a
#define TAG_SERIES_LABEL       0x0a
#define TAG_SERIES_SAMPLE      0x12
#define TAG_LABEL_NAME         0x0a
#define TAG_LABEL_VALUE        0x12
#define TAG_SAMPLE_VALUE       0x09
#define TAG_SAMPLE_TIMESTAMP   0x10

/* Reads a varint of at most 10 bytes; NULL when it is short or too long. */
static inline const uint8_t *read_varint(const uint8_t *p, const uint8_t *end, uint64_t *out)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (NX_UNLIKELY(p == end))
            return NULL;
        uint8_t byte = *p++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            /* The tenth byte may carry one bit only. */
            if (NX_UNLIKELY(shift == 63 && byte > 1))
                return NULL;
            *out = value;
            return p;
        }
    }
    return NULL;
}

/* Reads the length of a submessage and checks that it fits; the common length is one byte. */
static inline const uint8_t *read_length(const uint8_t *p, const uint8_t *end, size_t *out)
{
    uint64_t length;
    if (NX_LIKELY(p != end && *p < 0x80)) {
        length = *p++;
    } else {
        p = read_varint(p, end, &length);
        if (p == NULL)
            return NULL;
    }
    if (length > (uint64_t)(end - p))
        return NULL;
    *out = (size_t)length;
    return p;
}

/* One sample of exactly [p, end): value and timestamp, each optional (a zero is not sent), in this order. */
static inline bool decode_sample(const uint8_t *p, const uint8_t *end, struct write_batch *batch)
{
    double value = 0;
    uint64_t timestamp = 0;
    if (p != end && *p == TAG_SAMPLE_VALUE) {
        if (end - p < 9)
            return false;
        memcpy(&value, p + 1, sizeof(value));
        p += 9;
    }
    if (p != end && *p == TAG_SAMPLE_TIMESTAMP) {
        p = read_varint(p + 1, end, &timestamp);
        if (p == NULL)
            return false;
    }
    if (p != end)
        return false;
    write_batch_push_sample(batch, (int64_t)timestamp, value);
    return true;
}

/* One TimeSeries of exactly [p, end). */
static nx_code decode_series(const uint8_t *p, const uint8_t *end, uint32_t samples_max,
                             struct write_batch *batch)
{
    const uint8_t *labels = p;
    size_t length;
    while (p != end && *p == TAG_SERIES_LABEL) {
        p = read_length(p + 1, end, &length);
        if (p == NULL)
            return NX_E_UNSUPPORTED;
        p += length;
    }
    /* Series without samples count too: each costs us fifty times what it costs its sender. */
    if (batch->series_count == samples_max)
        return NX_E_LIMIT;
    struct batch_series *series = write_batch_push_series(batch);
    series->region = (struct nx_bytes){.data = labels, .len = (size_t)(p - labels)};
    while (p != end && *p == TAG_SERIES_SAMPLE) {
        p = read_length(p + 1, end, &length);
        if (p == NULL || !decode_sample(p, p + length, batch))
            return NX_E_UNSUPPORTED;
        if (batch->sample_count > samples_max)
            return NX_E_LIMIT;
        p += length;
    }
    series->sample_count = (uint32_t)(batch->sample_count - series->sample_first);
    return p == end ? NX_OK : NX_E_UNSUPPORTED;
}

nx_code decode_v1(struct nx_bytes raw, uint32_t samples_max, struct write_batch *batch)
{
    const uint8_t *p = raw.data;
    const uint8_t *end = raw.data + raw.len;
    batch->has_regions = true;
    while (p != end) {
        uint8_t tag = *p++;
        size_t length;
        if (tag != TAG_REQUEST_TIMESERIES && tag != TAG_REQUEST_METADATA)
            return NX_E_UNSUPPORTED;
        p = read_length(p, end, &length);
        if (p == NULL)
            return NX_E_UNSUPPORTED;
        /* Metadata goes to protobuf-c too: it has to be well-formed before it is counted. */
        if (tag == TAG_REQUEST_METADATA)
            return NX_E_UNSUPPORTED;
        nx_code code = decode_series(p, p + length, samples_max, batch);
        if (code != NX_OK)
            return code;
        p += length;
    }
    return NX_OK;
}

/* One Label of exactly [p, end): name, then value; the value may be missing (an empty one is not sent). */
static bool decode_label(const uint8_t *p, const uint8_t *end, struct label *out)
{
    size_t length;
    *out = (struct label){.name = {.data = "", .len = 0}, .value = {.data = "", .len = 0}};
    if (p != end && *p == TAG_LABEL_NAME) {
        p = read_length(p + 1, end, &length);
        if (p == NULL)
            return false;
        out->name = (struct nx_str){.data = (const char *)p, .len = length};
        p += length;
    }
    if (p != end && *p == TAG_LABEL_VALUE) {
        p = read_length(p + 1, end, &length);
        if (p == NULL)
            return false;
        out->value = (struct nx_str){.data = (const char *)p, .len = length};
        p += length;
    }
    return p == end;
}

nx_code decode_v1_labels(struct nx_bytes region, uint32_t labels_max, struct arena *arena,
                         struct label **out_items, size_t *out_count)
{
    const uint8_t *p = region.data;
    const uint8_t *end = region.data + region.len;
    size_t count = 0;
    size_t length;
    while (p != end) {
        p = read_length(p + 1, end, &length);
        if (p == NULL)
            return NX_E_UNSUPPORTED;
        p += length;
        count++;
    }
    if (count > labels_max)
        return NX_E_LIMIT;
    struct label *items = arena_alloc(arena, count * sizeof(*items));
    if (items == NULL)
        return NX_E_LIMIT;
    p = region.data;
    for (size_t i = 0; i < count; i++) {
        p = read_length(p + 1, end, &length);
        if (p == NULL || !decode_label(p, p + length, &items[i]))
            return NX_E_UNSUPPORTED;
        p += length;
    }
    *out_items = items;
    *out_count = count;
    return NX_OK;
}
