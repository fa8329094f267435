/* decode_v1.h - a remote write 1.0 message taken apart in place.
 *
 * In       raw (unpacked) bytes of a WriteRequest, hostile.
 * Out      a batch: per series its label bytes as one opaque region, its samples decoded.
 * Fails    NX_E_UNSUPPORTED: declined, decode_protobuf must take it (unknown or reordered fields, exemplars,
 *          histograms); NX_E_LIMIT: more samples, or more series, than samples_max. It never says NX_E_INVALID: what
 *          it does not know, protobuf-c judges.
 */
#pragma once

#include "narthex/ingest/write_batch.h"

NX_NODISCARD nx_code decode_v1(struct nx_bytes raw, uint32_t samples_max,
                               struct write_batch *batch);

/* A region of label fields into labels as the sender ordered them, in the batch's arena; views into the region.
 * NX_E_UNSUPPORTED when it is not plain name-value fields (decode_protobuf_labels can tell), NX_E_LIMIT: too many. */
NX_NODISCARD nx_code decode_v1_labels(struct nx_bytes region, uint32_t labels_max,
                                      struct arena *arena, struct label **out_items,
                                      size_t *out_count);
