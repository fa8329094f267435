/* json_write.h - JSON written straight into a buffer, as Prometheus' API writes it.
 *
 * Strings: _string escapes HTML too (& < > as \u0026 ..., and U+2028, U+2029); _string_raw does not: label names and
 * values. Each byte of invalid UTF-8 becomes \ufffd in both, other control bytes \u00xx.
 */
#pragma once

#include "narthex/base/buf.h"

#include <stdint.h>

void json_string(struct nx_buf *out, struct nx_str s);
void json_string_raw(struct nx_buf *out, struct nx_str s);
void json_int(struct nx_buf *out, int64_t value);
void json_uint(struct nx_buf *out, uint64_t value);
/* Unix seconds from ms: integer, or with exactly three decimals; as Prometheus' marshalTimestamp. */
void json_timestamp(struct nx_buf *out, int64_t time_ms);
/* A sample value in quotes: "1.5", "NaN", "+Inf", "1e-07". */
void json_sample_value(struct nx_buf *out, double value);
/* Appends ',' unless the buffer is empty or ends with an opening bracket, ':' or ','. A writer that drains its buffer
 * in the middle of a list keeps count itself. */
void json_comma(struct nx_buf *out);
