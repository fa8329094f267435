/* http_query.h - parameters of a URL's query string and of an application/x-www-form-urlencoded body.
 *
 * Layer    http; pure functions. Names and values are in the arena, except those without escapes: views of the input.
 * Rules    as Go's url.ParseQuery, which Prometheus' clients know: '&' separates, '+' is a space, an empty pair is
 *          skipped, ';' and a broken escape are errors. Bytes are bytes: UTF-8 is the caller's to check.
 * Limits   HTTP_PARAMS_MAX pairs, names and values bounded by the input.
 */
#pragma once

#include "narthex/base/arena.h"
#include "narthex/base/err.h"
#include "narthex/base/str.h"

#include <stdbool.h>
#include <stddef.h>

#define HTTP_PARAMS_MAX 16384

struct http_param {
    struct nx_str name;
    struct nx_str value;
};

/* In order of arrival; a repeated name is several entries. */
struct http_params {
    struct http_param *items; /* in the arena */
    size_t count;
    size_t cap; /* private */
};

/* Appends the pairs of `text` (borrowed while params live). A body's pairs are added before the URL's, so that they win
 * in http_params_get. Errors: NX_E_INVALID, NX_E_LIMIT (too many, or the arena's budget); params keep what came
 * before. */
NX_NODISCARD nx_code http_params_add(struct http_params *params, struct arena *arena,
                                     struct nx_str text, struct nx_err *err);

/* First value of `name`; false when absent. */
bool http_params_get(const struct http_params *params, struct nx_str name,
                     struct nx_str *out_value);

/* Next value of `name` from *cursor on (start at 0), for repeated names: while (http_params_next(...)). */
bool http_params_next(const struct http_params *params, struct nx_str name, size_t *cursor,
                      struct nx_str *out_value);

/* Percent-decoding of `text` to `out`, which has room for text.len bytes (`out` may be text.data). '+' becomes a space
 * when asked. False on a broken escape. */
bool http_percent_decode(struct nx_str text, bool plus_is_space, char *out, size_t *out_len);

/* True when a Content-Type value names application/x-www-form-urlencoded, whatever its parameters. */
bool http_is_form(struct nx_str content_type);
