/* timevec.h - ascending timestamps in ms as bytes: on a grid some ten bytes in all, else what their jitter takes.
 *
 * Many series share one vector (a scrape), so blocks store each distinct vector once: its size hardly counts, the time
 * to decode it does. Format: docs/formats/chunk.md.
 */
#pragma once

#include "narthex/base/buf.h"
#include "narthex/base/err.h"

#include <stdint.h>

/* Strictly ascending, count >= 1. */
void timevec_encode(const int64_t *times_ms, size_t count, struct nx_buf *out);
/* NX_E_CORRUPT, with out_times_ms undefined, unless the bytes are exactly `count` strictly ascending times. */
NX_NODISCARD nx_code timevec_decode(struct nx_bytes bytes, size_t count, int64_t *out_times_ms);
