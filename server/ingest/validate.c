/* SPDX-License-Identifier: Apache-2.0
 *
 * validate.c - labels become canonical or are refused with a reason.
 *
 * In       labels as the sender ordered them.
 * Out      canonical labels.
 * Fails    NX_E_INVALID, NX_E_LIMIT.
 */
#include "narthex/ingest/validate.h"

nx_code validate_labels(struct label *items, size_t count, const struct ingest_limits *limits,
                        struct labels *out_labels, struct nx_err *err)
{
    if (count > limits->labels_max)
        return nx_err_set(err, NX_E_LIMIT, "%zu labels, at most %u are allowed", count,
                          limits->labels_max);
    for (size_t i = 0; i < count; i++) {
        if (items[i].name.len > limits->label_name_bytes_max)
            return nx_err_set(err, NX_E_LIMIT, "label name of %zu bytes, at most %u are allowed",
                              items[i].name.len, limits->label_name_bytes_max);
        if (items[i].value.len > limits->label_value_bytes_max)
            return nx_err_set(
                err, NX_E_LIMIT, "value of label \"%.*s\" has %zu bytes, at most %u are allowed",
                (int)(items[i].name.len < 64 ? items[i].name.len : 64), items[i].name.data,
                items[i].value.len, limits->label_value_bytes_max);
    }
    struct labels labels = {.items = items, .count = labels_canonicalize(items, count)};
    nx_code code = labels_check(labels, err);
    if (code != NX_OK)
        return code;
    *out_labels = labels;
    return NX_OK;
}
