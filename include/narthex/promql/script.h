/* script.h - runs test scripts in the format of Prometheus' promqltest over an in-memory source.
 *
 * Layer    promql.   Read  script.c (commands), script_values.c (series lines), script_check.c (expectations).
 * Format   load, load_with_nhcb, clear, eval instant, eval range and their expectations; see the preamble of script.c.
 * Threads  one per run.
 */
#pragma once

#include "narthex/base/err.h"
#include "narthex/base/str.h"

#include <stddef.h>

#define SCRIPT_BYTES_MAX ((size_t)16 << 20)

struct script_result {
    size_t passed; /* evals */
    size_t failed;
};

/* Called for each eval that fails. `line` is that of the eval, from 1; `why` lives for the call. */
typedef void (*script_report_fn)(void *context, const char *path, unsigned line, struct nx_str why);

/* Runs the whole file whatever fails in it; *out_result counts. NX_E_INVALID for a script that cannot be understood
 * (with its line), NX_E_NOT_FOUND and NX_E_IO for one that cannot be read. */
NX_NODISCARD nx_code script_run(const char *path, script_report_fn report, void *context,
                                struct script_result *out_result, struct nx_err *err);
/* The same for a script in memory; `name` stands for the path. */
NX_NODISCARD nx_code script_run_text(const char *name, struct nx_str text, script_report_fn report,
                                     void *context, struct script_result *out_result,
                                     struct nx_err *err);
