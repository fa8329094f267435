/* value.h - what an expression evaluates to.
 *
 * Memory   everything lives in the query's arena.
 * Shape    an instant query has one step; a range query has step_count steps from start_ms.
 */
#pragma once

#include "narthex/base/arena.h"
#include "narthex/model/labels.h"
#include "narthex/promql/ast.h"

#include <stdbool.h>
#include <stdint.h>

/* One result series: `count` points ascending by time. For a vector result exactly one point at the evaluation time. */
struct value_series {
    struct labels labels;
    int64_t *times_ms;
    double *values;
    size_t count;
};

struct value {
    enum value_type type; /* SCALAR, VECTOR, MATRIX, STRING; a range query always gives MATRIX */
    struct value_series *series;
    size_t series_count;
    double scalar;
    struct nx_str string;
    int64_t time_ms; /* evaluation time of scalar, string */
};

/* Warnings and infos of an evaluation, without duplicates. Texts as on the wire ("PromQL warning: ... (1:2)"). */
enum annotation_kind {
    ANNOTATION_WARNING,
    ANNOTATION_INFO,
};
struct annotation {
    enum annotation_kind kind;
    struct nx_str text;
};
struct annotations {
    struct annotation *items;
    size_t count;
    size_t cap;
};
