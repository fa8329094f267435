/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_timevec.c - any bytes as a time vector: what is accepted ascends and comes back from being packed again; and any
 * steps packed and unpacked.
 *
 * Input    byte 0: 0 for a vector behind one byte of count; else steps, of two bytes each.
 */
#include "narthex/base/assert.h"
#include "narthex/codec/timevec.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TIMES_MAX 2048

static int64_t times[TIMES_MAX];
static int64_t back[TIMES_MAX];

static void check_round_trip(size_t count)
{
    struct nx_buf out = {0};
    timevec_encode(times, count, &out);
    NX_ASSERT(timevec_decode(nx_buf_bytes(&out), count, back) == NX_OK);
    NX_ASSERT(memcmp(times, back, count * sizeof(*times)) == 0);
    nx_buf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    if (data[0] == 0) {
        size_t count = data[1];
        if (timevec_decode((struct nx_bytes){data + 2, size - 2}, count, times) != NX_OK)
            return 0;
        for (size_t i = 1; i < count; i++)
            NX_ASSERT(times[i] > times[i - 1]);
        check_round_trip(count);
        return 0;
    }
    size_t count = 0;
    int64_t time = 0;
    for (size_t at = 1; at + 2 <= size && count < TIMES_MAX; at += 2) {
        time += 1 + ((int64_t)data[at] << (data[at + 1] & 31)) + (data[at + 1] >> 5);
        times[count++] = time;
    }
    if (count > 0)
        check_round_trip(count);
    return 0;
}
