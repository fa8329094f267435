/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_chunk.c - any bytes as a chunk, and any values through a chunk and back.
 *
 * Input    byte 0: what the rest is. 0: two bytes of count, then a chunk. Else values: 1 their bits, 2 small steps of
 *          an integer, 3 and more such integers as decimals, in each way, with some of the bits mixed in.
 */
#include "narthex/base/assert.h"
#include "narthex/codec/chunk.h"
#include "narthex/model/staleness.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t bits[CHUNK_SAMPLES_MAX];
static uint64_t back[CHUNK_SAMPLES_MAX];

static void decode_any(const uint8_t *data, size_t size)
{
    size_t count = (size_t)data[0] | (size_t)data[1] << 8;
    nx_ignore(chunk_decode((struct nx_bytes){data + 2, size - 2}, count, back));
}

static double decimal(unsigned way, int64_t q)
{
    static const double powers[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};
    static const double tenths[] = {1e0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9};
    if (way % 3 == 0)
        return (double)q / powers[way % 10];
    if (way % 3 == 1)
        return (double)q * tenths[way % 10];
    return (double)q / 1000 / 1000;
}

/* Two bytes a value: a step, or, when both are 255, the next eight bytes as they are. */
static size_t make_decimals(unsigned way, const uint8_t *data, size_t size)
{
    size_t count = 0;
    int64_t q = 0;
    for (size_t at = 0; at + 2 <= size && count < CHUNK_SAMPLES_MAX; count++) {
        if (data[at] == 255 && data[at + 1] == 255 && at + 10 <= size) {
            memcpy(&bits[count], data + at + 2, 8);
            at += 10;
            continue;
        }
        q += (int64_t)data[at] << (data[at + 1] & 31);
        q -= data[at + 1] >> 5;
        bits[count] = float_bits(way == 2 ? (double)q : decimal(way, q));
        at += 2;
    }
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    if (data[0] == 0) {
        decode_any(data + 1, size - 1);
        return 0;
    }
    size_t count = 0;
    if (data[0] == 1) {
        count = (size - 1) / 8 < CHUNK_SAMPLES_MAX ? (size - 1) / 8 : CHUNK_SAMPLES_MAX;
        memcpy(bits, data + 1, count * 8);
    } else {
        count = make_decimals(data[0], data + 1, size - 1);
    }
    if (count == 0)
        return 0;
    struct nx_buf out = {0};
    chunk_encode(bits, count, &out);
    NX_ASSERT(chunk_decode(nx_buf_bytes(&out), count, back) == NX_OK);
    NX_ASSERT(memcmp(bits, back, count * sizeof(*bits)) == 0);
    nx_buf_deinit(&out);
    return 0;
}
