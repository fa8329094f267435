/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_head_stream.c - any samples come back from a stream bit by bit, and any bytes are decoded or refused.
 *
 * Input    1 byte: samples a batch; then 9 or 17 bytes a sample: a byte that says how, a step, a value. The same
 *          bytes are then read as a stream.
 */
#include "narthex/base/assert.h"
#include "narthex/base/mem.h"
#include "narthex/model/staleness.h"

#include "server/head/head_stream.h"

#include <string.h>

#define SAMPLES_MAX 512u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct samples {
    int64_t times_ms[SAMPLES_MAX];
    uint32_t steps[SAMPLES_MAX];
    bool breaks[SAMPLES_MAX];
    uint64_t bits[SAMPLES_MAX];
    size_t count;
};

static uint64_t take(const uint8_t **next, const uint8_t *end, size_t bytes)
{
    uint64_t value = 0;
    size_t left = (size_t)(end - *next);
    memcpy(&value, *next, bytes < left ? bytes : left);
    *next += bytes < left ? bytes : left;
    return value;
}

static void make_samples(struct samples *samples, const uint8_t *data, size_t size)
{
    const uint8_t *next = data;
    const uint8_t *end = data + size;
    uint64_t time = 0;
    uint64_t bits = 0;
    while (next != end && samples->count < SAMPLES_MAX) {
        uint64_t how = take(&next, end, 1);
        uint64_t step = how & 1 ? 15000 : how & 2 ? take(&next, end, 8) : take(&next, end, 2);
        samples->breaks[samples->count] = samples->count == 0 || step > UINT32_MAX;
        samples->steps[samples->count] = (uint32_t)step;
        time += step;
        if (how & 4)
            bits = take(&next, end, 8);
        else if (how & 8)
            bits = float_bits((double)take(&next, end, 3) / (how & 16 ? 1000 : 1));
        samples->times_ms[samples->count] = (int64_t)time;
        samples->bits[samples->count++] = bits;
    }
}

static size_t encode(const struct samples *samples, unsigned batch_max, uint8_t *out)
{
    uint32_t step = 0;
    uint64_t bits_before = 0;
    size_t length = 0;
    for (size_t i = 0; i < samples->count;) {
        unsigned count = 1;
        while (count < batch_max && i + count < samples->count && !samples->breaks[i + count])
            count++;
        struct stream_batch batch = {.is_absolute = samples->breaks[i],
                                     .first_ms = samples->times_ms[i],
                                     .steps = samples->steps + i,
                                     .bits = samples->bits + i,
                                     .count = count,
                                     .step = step,
                                     .bits_before = bits_before};
        uint8_t bytes[STREAM_BATCH_BYTES_MAX];
        size_t used = stream_encode(bytes, &batch, &step);
        NX_ASSERT(used + 8 <= sizeof(bytes));
        memcpy(out + length, bytes, used);
        length += used;
        bits_before = samples->bits[i + count - 1];
        i += count;
    }
    return length;
}

static void check_round_trip(const uint8_t *data, size_t size)
{
    struct samples *samples = nx_calloc(1, sizeof(*samples));
    make_samples(samples, data + 1, size - 1);
    uint8_t *bytes = nx_calloc(1, SAMPLES_MAX * STREAM_BATCH_BYTES_MAX + STREAM_PAD);
    size_t length = encode(samples, data[0] % STREAM_BATCH + 1, bytes);
    struct stream_reader reader;
    stream_reader_init(&reader, bytes, length);
    int64_t times_ms[STREAM_BATCH];
    uint64_t bits[STREAM_BATCH];
    size_t at = 0;
    int count;
    while ((count = stream_decode(&reader, times_ms, bits)) > 0) {
        NX_ASSERT(at + (size_t)count <= samples->count);
        NX_ASSERT(memcmp(times_ms, samples->times_ms + at, (size_t)count * 8) == 0);
        NX_ASSERT(memcmp(bits, samples->bits + at, (size_t)count * 8) == 0);
        at += (size_t)count;
    }
    NX_ASSERT(count == 0 && at == samples->count);
    nx_free(bytes);
    nx_free(samples);
}

static void check_hostile(const uint8_t *data, size_t size)
{
    uint8_t *bytes = nx_calloc(1, size + STREAM_PAD);
    memcpy(bytes, data, size);
    struct stream_reader reader;
    stream_reader_init(&reader, bytes, size);
    int64_t times_ms[STREAM_BATCH];
    uint64_t bits[STREAM_BATCH];
    while (stream_decode(&reader, times_ms, bits) > 0)
        NX_ASSERT(reader.next <= reader.end);
    nx_free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    check_round_trip(data, size);
    check_hostile(data, size);
    return 0;
}
