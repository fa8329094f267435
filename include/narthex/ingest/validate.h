/* validate.h - what a series must be before it may enter the store.
 *
 * In       labels as the sender ordered them, writable.
 * Out      canonical labels: sorted, no empty values.
 * Fails    NX_E_INVALID: labels_check's reason; NX_E_LIMIT: too many labels, too long a name or value.
 */
#pragma once

#include "narthex/ingest/ingest.h"
#include "narthex/model/labels.h"

NX_NODISCARD nx_code validate_labels(struct label *items, size_t count,
                                     const struct ingest_limits *limits, struct labels *out_labels,
                                     struct nx_err *err);
