/* exemplar_code.h - one exemplar as bytes: for the journal, and for the index of a block.
 *
 * Format   docs/formats/histogram.md, last section. Bit-exact.
 */
#pragma once

#include "narthex/base/arena.h"
#include "narthex/base/buf.h"
#include "narthex/codec/varint.h"
#include "narthex/model/exemplar.h"

/* Longest that exemplar_put appends: time, value, count, and three lengths' worth of bytes for each label. */
#define EXEMPLAR_CODE_BYTES_MAX                                                                    \
 (2 * VARINT_BYTES_MAX + 2 + 4 * EXEMPLAR_LABELS_MAX + EXEMPLAR_TEXT_BYTES_MAX)

/* Appends `exemplar`, which exemplar_check accepts. `base_ms` (0, or the time of the one before) must be given to the
 * decoder again. */
void exemplar_put(const struct exemplar *exemplar, int64_t base_ms, struct nx_buf *out);

/* The inverse: the array of labels is in the arena, their text stays in the reader's bytes. exemplar_check accepts
 * what it gives. NX_E_CORRUPT, with the reader bad, on anything else; NX_E_LIMIT when the arena is exhausted. */
NX_NODISCARD nx_code exemplar_get(struct byte_reader *reader, int64_t base_ms, struct arena *arena,
                                  struct exemplar *out);
