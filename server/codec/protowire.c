/* SPDX-License-Identifier: Apache-2.0 */
/* protowire.c - tags, lengths and fixed values of protobuf's wire format.
 *
 * In       bytes from the network.
 * Out      values and views into those bytes.
 * Fails    sticky, through the reader. Refused: field 0, fields above 2^29 - 1, groups (wire types 3 and 4, which no
 *          message here uses and which would need a depth limit) and the two unassigned wire types.
 */
#include "narthex/codec/protowire.h"

#include "narthex/model/staleness.h"

#define PROTOWIRE_FIELD_MAX ((1u << 29) - 1)

static void protowire_fail(struct byte_reader *reader)
{
    reader->next = reader->end;
    reader->is_bad = true;
}

bool protowire_next(struct byte_reader *reader, uint32_t *out_field, enum protowire_type *out_type)
{
    if (reader->next == reader->end)
        return false;
    uint64_t tag = byte_reader_varint(reader);
    uint64_t field = tag >> 3;
    uint32_t type = (uint32_t)(tag & 7);
    bool is_type_known = type == PROTOWIRE_VARINT || type == PROTOWIRE_FIXED64 ||
                         type == PROTOWIRE_BYTES || type == PROTOWIRE_FIXED32;
    if (field == 0 || field > PROTOWIRE_FIELD_MAX || !is_type_known) {
        protowire_fail(reader);
        return false;
    }
    *out_field = (uint32_t)field;
    *out_type = (enum protowire_type)type;
    return true;
}

struct nx_bytes protowire_bytes(struct byte_reader *reader)
{
    uint64_t length = byte_reader_varint(reader);
    return byte_reader_take(reader, length);
}

double protowire_double(struct byte_reader *reader)
{
    return float_from_bits(byte_reader_u64(reader));
}

void protowire_skip(struct byte_reader *reader, enum protowire_type type)
{
    switch (type) {
    case PROTOWIRE_VARINT:
        (void)byte_reader_varint(reader);
        return;
    case PROTOWIRE_FIXED64:
        (void)byte_reader_take(reader, 8);
        return;
    case PROTOWIRE_BYTES:
        (void)protowire_bytes(reader);
        return;
    case PROTOWIRE_FIXED32:
        (void)byte_reader_take(reader, 4);
        return;
    }
    protowire_fail(reader);
}

static void protowire_put_tag(struct nx_buf *buf, uint32_t field, enum protowire_type type)
{
    varint_append(buf, (uint64_t)field << 3 | (uint64_t)type);
}

void protowire_put_bytes(struct nx_buf *buf, uint32_t field, struct nx_bytes value)
{
    protowire_put_tag(buf, field, PROTOWIRE_BYTES);
    varint_append(buf, value.len);
    nx_buf_append(buf, value.data, value.len);
}

void protowire_put_varint(struct nx_buf *buf, uint32_t field, uint64_t value)
{
    protowire_put_tag(buf, field, PROTOWIRE_VARINT);
    varint_append(buf, value);
}

void protowire_put_double(struct nx_buf *buf, uint32_t field, double value)
{
    protowire_put_tag(buf, field, PROTOWIRE_FIXED64);
    nx_buf_append_u64(buf, float_bits(value));
}
