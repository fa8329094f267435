/* SPDX-License-Identifier: Apache-2.0 */
/* timevec.c - ascending times as a packed series of integers.
 *
 * Scrapes on a grid are linear and take some ten bytes; jitter of a few milliseconds takes its own bits per time.
 */
#include "narthex/codec/timevec.h"

#include "narthex/base/assert.h"
#include "narthex/codec/int_pack.h"

void timevec_encode(const int64_t *times_ms, size_t count, struct nx_buf *out)
{
    NX_ASSERT(count > 0);
    int_pack_put((const uint64_t *)times_ms, count, out);
}

nx_code timevec_decode(struct nx_bytes bytes, size_t count, int64_t *out_times_ms)
{
    struct byte_reader reader = byte_reader_of(bytes);
    if (count == 0 || !int_pack_get(&reader, count, (uint64_t *)out_times_ms))
        return NX_E_CORRUPT;
    if (reader.is_bad || byte_reader_left(&reader) != 0)
        return NX_E_CORRUPT;
    bool is_ascending = true;
    for (size_t i = 1; i < count; i++)
        is_ascending &= out_times_ms[i] > out_times_ms[i - 1];
    return is_ascending ? NX_OK : NX_E_CORRUPT;
}
