/* miniblock.h - up to 240 integers of similar size as bytes: the inner loop of chunks and time vectors.
 *
 * Layout  docs/formats/chunk.md. A reference is subtracted from every value and the rest is packed at one width; what
 *         is above that width is patched or in unary. Where one value is frequent, a bitmap says where it is not, and
 *         only the others are packed.
 * Values  are any 64 bits, arithmetic wraps: exact for every input. They are read as signed where order matters.
 */
#pragma once

#include "narthex/base/buf.h"
#include "narthex/codec/varint.h"

#include <stdbool.h>
#include <stdint.h>

#define MINIBLOCK_MAX 240u

/* Appends 1 .. MINIBLOCK_MAX values. */
void miniblock_put(const uint64_t *values, size_t count, struct nx_buf *out);

/* About the bits that miniblock_put would write, to compare one series with another: the lengths of the values around
 * their median. */
size_t miniblock_estimate(const uint64_t *values, size_t count);

/* The inverse; false, with the reader bad, on anything else. Places from `count` on are undefined. */
bool miniblock_get(struct byte_reader *reader, size_t count, uint64_t out[MINIBLOCK_MAX]);
