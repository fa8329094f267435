/* block_exemplars.h - the exemplars of one series in a block as bytes: an entry of `exm` in index.mdb. Pure functions.
 *
 * Format   docs/formats/index.md.
 */
#pragma once

#include "narthex/base/arena.h"
#include "narthex/base/buf.h"
#include "narthex/model/exemplar.h"

#include <stdint.h>

/* What an entry unpacks to, at most; derived: some 130 bytes for each of BLOCK_SERIES_EXEMPLARS_MAX. */
#define EXEMPLARS_RAW_BYTES_MAX (1u << 20)

/* Appends the entry of a series: `count` >= 1 sorted exemplars, of which the oldest are left out when there are more
 * than an entry holds. Returns how many it has. */
size_t exemplars_pack(uint32_t rank, const struct exemplar *exemplars, size_t count,
                      struct nx_buf *out);

/* The rank in front of an entry. NX_E_CORRUPT when it is too short to have one. */
NX_NODISCARD nx_code exemplars_rank(struct nx_bytes entry, uint32_t *out_rank);

/* Those in [min_ms, max_ms] appended to `out` as struct exemplar, all in the arena. NX_E_CORRUPT unless the entry is
 * what exemplars_pack makes: sorted, no two equal, each as exemplar_check wants it. NX_E_LIMIT: no memory in the arena.
 * On failure `out` is as before. */
NX_NODISCARD nx_code exemplars_unpack(struct nx_bytes entry, int64_t min_ms, int64_t max_ms,
                                      struct arena *arena, struct nx_buf *out);
