/* protowire.h - protobuf's wire format, read by a sticky reader and written into a buffer. No schema, no copies. */
#pragma once

#include "narthex/base/buf.h"
#include "narthex/base/str.h"
#include "narthex/codec/varint.h"

#include <stdbool.h>
#include <stdint.h>

enum protowire_type {
    PROTOWIRE_VARINT = 0,
    PROTOWIRE_FIXED64 = 1,
    PROTOWIRE_BYTES = 2,
    PROTOWIRE_FIXED32 = 5,
};

/* Next tag. False at the end or when bad (look at reader->is_bad). */
bool protowire_next(struct byte_reader *reader, uint32_t *out_field, enum protowire_type *out_type);
struct nx_bytes protowire_bytes(struct byte_reader *reader); /* length-delimited value */
double protowire_double(struct byte_reader *reader);
void protowire_skip(struct byte_reader *reader, enum protowire_type type);

void protowire_put_bytes(struct nx_buf *buf, uint32_t field, struct nx_bytes value);
void protowire_put_varint(struct nx_buf *buf, uint32_t field, uint64_t value);
void protowire_put_double(struct nx_buf *buf, uint32_t field, double value);
