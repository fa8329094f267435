/* histogram_code.h - one native histogram as bytes, whole or as the difference from the one before.
 *
 * Used by the journal (whole) and by the head (differences); blocks have columns: histogram_chunk.h.
 * Format   docs/formats/histogram.md. Bit-exact for every field.
 */
#pragma once

#include "narthex/base/arena.h"
#include "narthex/base/buf.h"
#include "narthex/codec/varint.h"
#include "narthex/model/histogram.h"

/* Appends `histogram`, which is well-formed (histogram_is_well_formed); `before` (NULL: none) must be given to the
 * decoder again. Same layout: a byte, the sum, and the differences of what changed; else whole. */
void histogram_put(const struct histogram *histogram, const struct histogram *before,
                   struct nx_buf *out);

/* The inverse: the arrays are in the arena, those of an unchanged layout shared with `before`. What it gives is
 * well-formed. NX_E_CORRUPT, with the reader bad, on anything else; NX_E_LIMIT when the arena is exhausted. What it
 * allocates is bounded by the bytes that are left and by `before`. */
NX_NODISCARD nx_code histogram_get(struct byte_reader *reader, const struct histogram *before,
                                   struct arena *arena, struct histogram *out);
