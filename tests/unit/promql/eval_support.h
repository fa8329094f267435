/* eval_support.h - evaluates expressions over a few series that a test writes down as a script's load lines. */
#pragma once

/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include "narthex/promql/eval.h"
#include "narthex/promql/memory_source.h"

#include <stdbool.h>

struct eval_world {
    struct memory_source *source;
    struct arena arena; /* of the last evaluation */
    size_t arena_budget;
    struct eval_options options; /* of the next one */
    struct value value;
    struct annotations annotations;
    struct series_warnings warnings;
    struct eval_stats stats;
    struct nx_err err;
    nx_code code;
};

/* Lines of "metric items", one minute apart from 0, separated by '\n'. */
void world_init(struct eval_world *world, const char *series);
void world_deinit(struct eval_world *world);
/* As the server evaluates: names are dropped at once, look-back 5 min. Times in seconds. */
nx_code world_instant(struct eval_world *world, const char *expr, int64_t at_s);
nx_code world_range(struct eval_world *world, const char *expr, int64_t start_s, int64_t end_s,
                    int64_t step_s);
/* The value as text: "{a=\"b\"} 1@60 2@120; x 3@0", a scalar as its number. In a buffer of the module. */
const char *world_text(const struct eval_world *world);
