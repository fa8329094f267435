/* SPDX-License-Identifier: Apache-2.0 */
/* varint.c - the long way of reading a varint, fixed-width reads, and appending.
 *
 * In       bytes that anyone may have sent: every read looks at what is left first.
 * Fails    sticky: byte_reader_fail moves `next` to `end`, so all that follows reads as zero.
 */
#include "narthex/codec/varint.h"

#include <string.h>

void varint_append(struct nx_buf *buf, uint64_t value)
{
    uint8_t bytes[VARINT_BYTES_MAX];
    nx_buf_append(buf, bytes, varint_put(bytes, value));
}

void varint_append_signed(struct nx_buf *buf, int64_t value)
{
    varint_append(buf, zigzag(value));
}

static void byte_reader_fail(struct byte_reader *reader)
{
    reader->next = reader->end;
    reader->is_bad = true;
}

uint64_t byte_reader_varint_long(struct byte_reader *reader)
{
    uint64_t value = 0;
    const uint8_t *next = reader->next;
    for (unsigned shift = 0; shift < 70 && next != reader->end; shift += 7) {
        uint64_t byte = *next++;
        if (shift == 63 && byte > 1)
            break;
        value |= (byte & 0x7f) << shift;
        if (byte < 0x80) {
            reader->next = next;
            return value;
        }
    }
    byte_reader_fail(reader);
    return 0;
}

/* Little-endian, byte by byte: compilers make one load of it. */
static uint64_t byte_reader_fixed(struct byte_reader *reader, size_t bytes)
{
    if (byte_reader_left(reader) < bytes) {
        byte_reader_fail(reader);
        return 0;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value |= (uint64_t)reader->next[i] << (8 * i);
    reader->next += bytes;
    return value;
}

uint8_t byte_reader_u8(struct byte_reader *reader)
{
    return (uint8_t)byte_reader_fixed(reader, 1);
}

uint16_t byte_reader_u16(struct byte_reader *reader)
{
    return (uint16_t)byte_reader_fixed(reader, 2);
}

uint32_t byte_reader_u32(struct byte_reader *reader)
{
    return (uint32_t)byte_reader_fixed(reader, 4);
}

uint64_t byte_reader_u64(struct byte_reader *reader)
{
    return byte_reader_fixed(reader, 8);
}

struct nx_bytes byte_reader_take(struct byte_reader *reader, uint64_t bytes)
{
    if (bytes > byte_reader_left(reader)) {
        byte_reader_fail(reader);
        return (struct nx_bytes){0};
    }
    struct nx_bytes taken = {.data = reader->next, .len = (size_t)bytes};
    if (bytes != 0)
        reader->next += bytes;
    return taken;
}
