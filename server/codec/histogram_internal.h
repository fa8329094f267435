/* histogram_internal.h - what a native histogram's code and chunks of them share: the layout as bytes. */
#pragma once

#include "narthex/base/arena.h"
#include "narthex/base/buf.h"
#include "narthex/codec/varint.h"
#include "narthex/model/histogram.h"

/* Schema, threshold, spans and bounds. */
void histogram_layout_put(const struct histogram *histogram, struct nx_buf *out);

/* The inverse, into a zeroed *out with bucket_count set, and no buckets. It is well-formed. NX_E_CORRUPT on anything
 * else, NX_E_LIMIT when the arena is exhausted. */
NX_NODISCARD nx_code histogram_layout_get(struct byte_reader *reader, struct arena *arena,
                                          struct histogram *out);
