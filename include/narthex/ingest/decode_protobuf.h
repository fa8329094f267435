/* decode_protobuf.h - the same message by protobuf-c: whatever the scanner declines, and its oracle in tests.
 *
 * In       raw (unpacked) bytes of a WriteRequest, hostile.
 * Out      a batch with labels as the sender ordered them, samples, counts of histograms, exemplars, metadata.
 * Fails    NX_E_INVALID: no such message; NX_E_LIMIT: it needs more memory or holds more samples than allowed
 *          (protobuf-c grows empty messages fifty-fold, so its allocator is the batch's arena with a budget).
 */
#pragma once

#include "narthex/ingest/write_batch.h"

NX_NODISCARD nx_code decode_protobuf(struct nx_bytes raw, uint32_t samples_max,
                                     struct write_batch *batch, struct nx_err *err);
