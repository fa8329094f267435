/* zstd_block.h - zstd for journal records and chunk groups: contexts are per thread and kept.
 *
 * One-shot frames with the content size in the header. Unpacking is bounded by what the caller expects.
 */
#pragma once

#include "narthex/base/buf.h"
#include "narthex/base/err.h"

/* Appends the frame; returns its length. */
size_t zstd_pack(struct nx_bytes raw, int level, struct nx_buf *out);
/* NX_E_CORRUPT unless it unpacks to exactly raw_bytes. `out` has room for them. */
NX_NODISCARD nx_code zstd_unpack(struct nx_bytes packed, uint8_t *out, size_t raw_bytes);
