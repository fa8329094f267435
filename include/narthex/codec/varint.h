/* varint.h - LEB128 integers, zigzag for signed ones, and a sticky reader over bytes.
 *
 * The reader never fails at once: after a bad or short read it stands at its end, yields zeros and is_bad is set; check
 * once per message.
 */
#pragma once

#include "narthex/base/buf.h"
#include "narthex/base/str.h"

#include <stdbool.h>
#include <stdint.h>

#define VARINT_BYTES_MAX 10

/* Writes at `out` (room for VARINT_BYTES_MAX), returns the length. */
static inline size_t varint_put(uint8_t *out, uint64_t value)
{
    size_t n = 0;
    while (value >= 0x80) {
        out[n++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    out[n++] = (uint8_t)value;
    return n;
}

static inline uint64_t zigzag(int64_t value)
{
    return ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
}

static inline int64_t unzigzag(uint64_t value)
{
    return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

static inline size_t varint_length(uint64_t value)
{
    return (size_t)(70 - __builtin_clzll(value | 1)) / 7;
}

void varint_append(struct nx_buf *buf, uint64_t value);
void varint_append_signed(struct nx_buf *buf, int64_t value);

struct byte_reader {
    const uint8_t *next;
    const uint8_t *end;
    bool is_bad;
};

static inline struct byte_reader byte_reader_of(struct nx_bytes bytes)
{
    const uint8_t *end =
        bytes.len == 0 ? bytes.data : bytes.data + bytes.len; /* data may be NULL */
    return (struct byte_reader){.next = bytes.data, .end = end, .is_bad = false};
}

static inline size_t byte_reader_left(const struct byte_reader *reader)
{
    return reader->next == reader->end ? 0 : (size_t)(reader->end - reader->next);
}

/* Up to 10 bytes; padding (0x80 0x00) is read as any other form, bits beyond the 64th are bad. */
uint64_t byte_reader_varint_long(struct byte_reader *reader); /* behind byte_reader_varint */
static inline uint64_t byte_reader_varint(struct byte_reader *reader)
{
    if (reader->next != reader->end && *reader->next < 0x80)
        return *reader->next++;
    return byte_reader_varint_long(reader);
}

static inline int64_t byte_reader_varint_signed(struct byte_reader *reader)
{
    return unzigzag(byte_reader_varint(reader));
}

uint8_t byte_reader_u8(struct byte_reader *reader);
uint16_t byte_reader_u16(struct byte_reader *reader); /* little-endian */
uint32_t byte_reader_u32(struct byte_reader *reader);
uint64_t byte_reader_u64(struct byte_reader *reader);
struct nx_bytes byte_reader_take(struct byte_reader *reader,
                                 uint64_t bytes); /* a view; empty and bad when short */
