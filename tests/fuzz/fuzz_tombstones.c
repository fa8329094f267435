/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_tombstones.c - a row of the catalog: refused, or understood and packed to what is understood the same again. */
#include "narthex/base/assert.h"
#include "narthex/block/tombstones.h"

#include <string.h>

#define SERIES_MAX 5000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tombstones *got = NULL, *again = NULL;
    struct nx_err err;
    if (tombstones_unpack((struct nx_bytes){data, size}, SERIES_MAX, &got, &err) != NX_OK)
        return 0;
    struct nx_buf ranks = {0}, ranges = {0};
    tombstones_ranks(got, &ranks);
    const uint32_t *list = (const uint32_t *)(const void *)ranks.data;
    size_t count = ranks.len / sizeof(*list);
    NX_ASSERT(count > 0);
    for (size_t i = 0; i < count && i < 64; i++) {
        NX_ASSERT(list[i] < SERIES_MAX && tombstones_has(got, list[i]));
        nx_buf_reset(&ranges);
        tombstones_ranges(got, list[i], &ranges);
        const struct time_range *range = (const struct time_range *)(const void *)ranges.data;
        NX_ASSERT(ranges.len > 0);
        for (size_t j = 0; j < ranges.len / sizeof(*range); j++) {
            NX_ASSERT(range[j].min_ms <= range[j].max_ms);
            NX_ASSERT(j == 0 || range[j].min_ms - 1 > range[j - 1].max_ms);
        }
    }
    struct nx_bytes packed = tombstones_packed(got);
    NX_ASSERT(tombstones_unpack(packed, SERIES_MAX, &again, &err) == NX_OK);
    struct nx_bytes packed_again = tombstones_packed(again);
    NX_ASSERT(packed.len == packed_again.len &&
              memcmp(packed.data, packed_again.data, packed.len) == 0);
    nx_buf_deinit(&ranks);
    nx_buf_deinit(&ranges);
    tombstones_unref(got);
    tombstones_unref(again);
    return 0;
}
