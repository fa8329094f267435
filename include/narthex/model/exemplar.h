/* exemplar.h - one observation picked out of a series: where it came from (a trace, often), its value, its time.
 *
 * Layer    model.   A `struct exemplar` is a view: it owns neither labels nor text.
 * Source   OpenMetrics, Exemplars; Prometheus model/exemplar and its storage's limit.
 */
#pragma once

#include "narthex/base/arena.h"
#include "narthex/base/err.h"
#include "narthex/model/labels.h"

#include <stdbool.h>
#include <stdint.h>

#define EXEMPLAR_CHARACTERS_MAX 128u /* UTF-8 characters of label names and values together */
#define EXEMPLAR_LABELS_MAX     EXEMPLAR_CHARACTERS_MAX /* a name has one at least */
#define EXEMPLAR_TEXT_BYTES_MAX (4 * EXEMPLAR_CHARACTERS_MAX)

struct exemplar {
    struct labels labels; /* canonical; may be empty */
    double value;
    int64_t time_ms;
};

/* Same labels, same bits, same time: what a resend repeats. */
bool exemplar_equal(const struct exemplar *a, const struct exemplar *b);
/* By time, then value (as ordered numbers, NaN last, then bits), then labels: 0 only for equal ones. */
int exemplar_compare(const struct exemplar *a, const struct exemplar *b);

/* What a receiver must refuse: too many characters, an empty or repeated name, text that is not UTF-8, names out of
 * order. NX_E_INVALID with the reason; the first in Prometheus' words. */
NX_NODISCARD nx_code exemplar_check(const struct exemplar *exemplar, struct nx_err *err);

/* Deep copy of its labels into `arena`; false when that is exhausted. `out` may be `exemplar`. */
bool exemplar_copy(struct arena *arena, const struct exemplar *exemplar, struct exemplar *out);

/* Sorts by exemplar_compare, and keeps equal ones once. Returns how many are left. */
size_t exemplars_sort(struct exemplar *exemplars, size_t count);
