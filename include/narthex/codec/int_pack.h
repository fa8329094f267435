/* int_pack.h - a series of 64-bit integers as bytes: scale, order of differences, then miniblocks.
 *
 * Layout  docs/formats/chunk.md. Used by integer chunks and time vectors.
 * Values  are any 64 bits; all arithmetic wraps, so every input comes back exactly.
 */
#pragma once

#include "narthex/base/buf.h"
#include "narthex/codec/varint.h"

#include <stdbool.h>
#include <stdint.h>

/* Appends `count` >= 1 values. */
void int_pack_put(const uint64_t *values, size_t count, struct nx_buf *out);

/* The inverse; false, with the reader bad, on anything else. `out` has `count` places, 1 or more. */
bool int_pack_get(struct byte_reader *reader, size_t count, uint64_t *out);
