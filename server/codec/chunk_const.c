/* SPDX-License-Identifier: Apache-2.0 */
/* chunk_const.c - all values have the same bits: two of three chunks of a real cluster.
 *
 * Body     the bits as a varint of their byte-swapped form, so that small integers and short decimals, whose low
 *          mantissa bits are zero, take few bytes.
 */
#include "narthex/codec/varint.h"

#include "chunk_internal.h"

static bool const_encode(const uint64_t *bits, size_t count, size_t bytes_max, struct nx_buf *out)
{
    uint64_t differ = 0;
    for (size_t i = 1; i < count; i++)
        differ |= bits[i] ^ bits[0];
    if (differ != 0)
        return false;
    uint8_t body[VARINT_BYTES_MAX];
    size_t len = varint_put(body, __builtin_bswap64(bits[0]));
    if (len > bytes_max)
        return false;
    nx_buf_append(out, body, len);
    return true;
}

static nx_code const_decode(struct nx_bytes body, size_t count, uint64_t *out_bits)
{
    struct byte_reader reader = byte_reader_of(body);
    uint64_t bits = __builtin_bswap64(byte_reader_varint(&reader));
    if (reader.is_bad || byte_reader_left(&reader) != 0)
        return NX_E_CORRUPT;
    for (size_t i = 0; i < count; i++)
        out_bits[i] = bits;
    return NX_OK;
}

const struct chunk_codec chunk_codec_const = {
    .id = CHUNK_CODEC_CONST,
    .name = "const",
    .encode = const_encode,
    .decode = const_decode,
};
