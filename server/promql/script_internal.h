/* script_internal.h - what the files of the script runner share. */
#pragma once

#include "narthex/base/arena.h"
#include "narthex/base/buf.h"
#include "narthex/promql/memory_source.h"
#include "narthex/promql/script.h"

#include <stdbool.h>
#include <stdint.h>

enum script_value_kind {
    SCRIPT_VALUE_ABSENT,
    SCRIPT_VALUE_FLOAT,
    SCRIPT_VALUE_HISTOGRAM,
};

struct script_value {
    enum script_value_kind kind;
    double value;
};

/* A line "metric items": the i-th item belongs to the i-th step. */
struct script_series {
    struct labels labels;
    struct script_value *values;
    size_t count;
    size_t cap;
    bool has_start_times; /* the line before gave start timestamps */
};

/* script_values.c. NX_E_INVALID with what is wrong. Everything in `arena`. */
nx_code script_read_series(struct nx_str line, struct arena *arena, struct script_series *out,
                           bool *out_is_start_times, struct nx_err *err);
/* 1h30m, 5s, 10ms, 0; a leading minus is fine. */
bool script_read_duration(struct nx_str text, int64_t *out_ms);
/* A float as items have it. */
bool script_read_number(struct nx_str text, double *out_value);

enum script_expect_kind {
    SCRIPT_EXPECT_FAIL,
    SCRIPT_EXPECT_WARN,
    SCRIPT_EXPECT_INFO,
    SCRIPT_EXPECT_NO_WARN,
    SCRIPT_EXPECT_NO_INFO,
    SCRIPT_EXPECT_ORDERED,
};

struct regex;

struct script_expect {
    enum script_expect_kind kind;
    struct nx_str text; /* the whole message, when has_text */
    bool has_text;
    struct regex *regex; /* found anywhere in the message; NULL with has_text false: any message */
};

struct script_eval {
    unsigned line;
    struct nx_str expr;
    bool is_range;
    int64_t start_ms;
    int64_t end_ms;
    int64_t step_ms;
    struct script_expect *expects;
    size_t expect_count;
    struct script_series *series;
    size_t series_count;
    bool has_scalar;
    double scalar;
    bool has_string;
    struct nx_str string;
    bool has_matrix; /* expect range vector */
    int64_t matrix_start_ms;
    int64_t matrix_end_ms;
    int64_t matrix_step_ms;
};

/* script_check.c. Runs an eval in all the ways in which it must hold; false and why not, into `why`. */
bool script_check(const struct script_eval *eval, struct memory_source *source, struct nx_buf *why);
