/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_decode_v1.c - any bytes: the scanner and protobuf-c give the same samples and labels, or the scanner declines.
 */
#include "narthex/base/assert.h"
#include "narthex/ingest/decode_protobuf.h"
#include "narthex/ingest/decode_v1.h"
#include "narthex/model/staleness.h"

#define ARENA_MAX ((size_t)64 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void compare_labels(struct write_batch *fast, const struct write_batch *slow)
{
    for (size_t i = 0; i < fast->series_count; i++) {
        struct label *items;
        size_t count;
        if (decode_v1_labels(fast->series[i].region, UINT32_MAX, &fast->arena, &items, &count) !=
            NX_OK)
            continue;
        NX_ASSERT(count == slow->series[i].labels.count);
        for (size_t j = 0; j < count; j++) {
            NX_ASSERT(nx_str_eq(items[j].name, slow->series[i].labels.items[j].name));
            NX_ASSERT(nx_str_eq(items[j].value, slow->series[i].labels.items[j].value));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct write_batch fast, slow;
    struct nx_err err;
    struct nx_bytes raw = {data, size};
    write_batch_init(&fast, ARENA_MAX);
    write_batch_init(&slow, ARENA_MAX);
    nx_code verdict = decode_v1(raw, 1u << 20, &fast);
    nx_code oracle = decode_protobuf(raw, 1u << 20, &slow, &err);
    if (verdict == NX_OK && oracle == NX_OK) {
        NX_ASSERT(fast.series_count == slow.series_count && fast.sample_count == slow.sample_count);
        for (size_t i = 0; i < fast.sample_count; i++)
            NX_ASSERT(fast.samples[i].time_ms == slow.samples[i].time_ms &&
                      float_bits(fast.samples[i].value) == float_bits(slow.samples[i].value));
        compare_labels(&fast, &slow);
    }
    write_batch_deinit(&fast);
    write_batch_deinit(&slow);
    return 0;
}
