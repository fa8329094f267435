/* SPDX-License-Identifier: Apache-2.0 */
/* snappy.c - the block format through snappy's C interface.
 *
 * In       a request body.
 * Out      its raw bytes, their number bounded before they are given memory.
 * Fails    NX_E_INVALID, NX_E_LIMIT.
 */
#include "narthex/codec/snappy.h"

#include "narthex/base/assert.h"

#include <snappy-c.h>

/* The densest element is a copy: three bytes that stand for 64. A block that declares more than this per byte is
 * broken, and would otherwise get its memory first. */
#define SNAPPY_RATIO_MAX 22u

nx_code snappy_unpack(struct nx_bytes packed, size_t bytes_max, struct nx_buf *out,
                      struct nx_err *err)
{
    const char *input = (const char *)packed.data;
    size_t bytes = 0;
    nx_buf_reset(out);
    if (packed.len == 0)
        return nx_err_set(err, NX_E_INVALID, "snappy: empty block");
    if (snappy_uncompressed_length(input, packed.len, &bytes) != SNAPPY_OK)
        return nx_err_set(err, NX_E_INVALID, "snappy: bad length");
    if (bytes > bytes_max)
        return nx_err_set(err, NX_E_LIMIT, "snappy: %zu bytes unpacked, at most %zu are allowed",
                          bytes, bytes_max);
    if (bytes / SNAPPY_RATIO_MAX > packed.len)
        return nx_err_set(err, NX_E_INVALID, "snappy: %zu bytes cannot hold %zu", packed.len,
                          bytes);
    nx_buf_reserve(out, bytes + 1); /* never a NULL target */
    if (snappy_uncompress(input, packed.len, (char *)out->data, &bytes) != SNAPPY_OK)
        return nx_err_set(err, NX_E_INVALID, "snappy: corrupt block");
    out->len = bytes;
    return NX_OK;
}

void snappy_pack(struct nx_bytes raw, struct nx_buf *out)
{
    size_t bytes = snappy_max_compressed_length(raw.len);
    nx_buf_reserve(out, bytes);
    snappy_status status = snappy_compress(raw.len == 0 ? "" : (const char *)raw.data, raw.len,
                                           (char *)out->data + out->len, &bytes);
    NX_ASSERT(status == SNAPPY_OK);
    out->len += bytes;
}
