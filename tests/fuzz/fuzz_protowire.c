/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_protowire.c - any bytes as a message: read field by field, written again, and read to the same fields. */
#include "narthex/base/assert.h"
#include "narthex/codec/protowire.h"
#include "narthex/model/staleness.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Reads one value and writes it to `out`; false for the type that there is no writer of. */
static bool copy_field(struct byte_reader *reader, uint32_t field, enum protowire_type type,
                       struct nx_buf *out)
{
    switch (type) {
    case PROTOWIRE_VARINT:
        protowire_put_varint(out, field, byte_reader_varint(reader));
        return true;
    case PROTOWIRE_FIXED64:
        protowire_put_double(out, field, protowire_double(reader));
        return true;
    case PROTOWIRE_BYTES:
        protowire_put_bytes(out, field, protowire_bytes(reader));
        return true;
    case PROTOWIRE_FIXED32:
        protowire_skip(reader, type);
        return false;
    }
    return false;
}

static size_t copy_message(struct nx_bytes message, struct nx_buf *out, bool *out_bad)
{
    struct byte_reader reader = byte_reader_of(message);
    uint32_t field;
    enum protowire_type type;
    size_t fields = 0;
    while (protowire_next(&reader, &field, &type)) {
        size_t before = out->len;
        bool is_copied = copy_field(&reader, field, type, out);
        if (reader.is_bad)
            out->len = before;
        else
            fields += is_copied;
    }
    NX_ASSERT(byte_reader_left(&reader) == 0);
    *out_bad = reader.is_bad;
    return fields;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct nx_buf once = {0};
    struct nx_buf twice = {0};
    bool is_bad = false;
    size_t fields = copy_message((struct nx_bytes){data, size}, &once, &is_bad);
    size_t again = copy_message(nx_buf_bytes(&once), &twice, &is_bad);
    NX_ASSERT(!is_bad && again == fields && once.len == twice.len);
    NX_ASSERT(once.len == 0 || memcmp(once.data, twice.data, once.len) == 0);
    nx_buf_deinit(&once);
    nx_buf_deinit(&twice);
    return 0;
}
