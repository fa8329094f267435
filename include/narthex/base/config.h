/* config.h - flags from a table: one row per option gives the parser, --help, the docs page and the status endpoint.
 *
 * Options look as Prometheus writes them: --storage.path=DIR, --storage.path DIR, booleans also --x and --no-x.
 */
#pragma once

#include "narthex/base/buf.h"
#include "narthex/base/err.h"
#include "narthex/base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum config_kind {
    CONFIG_STRING,
    CONFIG_BOOL,
    CONFIG_INT, /* decimal */
    CONFIG_BYTES, /* with optional KB MB GB TB (powers of 1024, as Prometheus reads them), KiB MiB GiB TiB */
    CONFIG_DURATION, /* Prometheus duration (90d, 1h30m, 500ms), kept in ms */
};

struct config_option {
    const char *name; /* "storage.path" */
    enum config_kind kind;
    const char *default_text; /* read like a value from the command line; NULL: "" or 0 or false */
    int64_t min, max;         /* for INT, BYTES, DURATION */
    const char *value_name;   /* "DIR", shown in --help */
    const char *help;
    bool is_repeatable; /* STRING only: values are joined by ',' */
};

struct config_value {
    bool is_set; /* given on the command line */
    char *text;  /* owned, canonical */
    int64_t number;
};

/* Values parallel to the table's rows. */
struct config {
    const struct config_option *options; /* [I] borrowed */
    size_t option_count;
    struct config_value *values;
};

/* Fills the defaults, then reads argv[1..]. Stops at the first argument that is no option (behind a "--", if one ends
 * the options): *out_rest is its index (argc when none). -h is short for an option named "help". NX_E_INVALID names the
 * flag and why; an option that is not repeatable may be given once. After a failure config_deinit is still fine. */
NX_NODISCARD nx_code config_init(struct config *config, const struct config_option *options,
                                 size_t option_count, int argc, char *const *argv, int *out_rest,
                                 struct nx_err *err);
void config_deinit(struct config *config);
/* Sets one option as the command line would: a repeatable one gains a further value. Unchanged on failure. */
NX_NODISCARD nx_code config_set(struct config *config, size_t option, struct nx_str text,
                                struct nx_err *err);
/* The list of options for --help: names left, help text right, wrapped at 80 columns. */
void config_help(const struct config_option *options, size_t option_count, struct nx_buf *out);

/* The number readers, for configuration files and query parameters too. NX_E_INVALID says why not; durations are
 * limited to Go's 292 years, and "0" is one. */
NX_NODISCARD nx_code config_parse_duration_ms(struct nx_str text, int64_t *out_ms,
                                              struct nx_err *err);
NX_NODISCARD nx_code config_parse_bytes(struct nx_str text, int64_t *out_bytes, struct nx_err *err);
/* "90d", "1h30m": Prometheus' text of a duration. */
void config_print_duration(int64_t ms, struct nx_buf *out);
