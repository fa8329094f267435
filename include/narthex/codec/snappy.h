/* snappy.h - snappy's block format, as remote write uses it. The only file that includes snappy is snappy.c. */
#pragma once

#include "narthex/base/buf.h"
#include "narthex/base/err.h"

/* NX_E_INVALID when the input is no snappy block, NX_E_LIMIT when its declared length exceeds bytes_max: checked before
 * anything is allocated. `out` is reset, then holds exactly the raw bytes. */
NX_NODISCARD nx_code snappy_unpack(struct nx_bytes packed, size_t bytes_max, struct nx_buf *out,
                                   struct nx_err *err);
void snappy_pack(struct nx_bytes raw, struct nx_buf *out); /* appended */
