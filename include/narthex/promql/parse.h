/* parse.h - PromQL text to a typed tree.
 *
 * Layer    promql.   Source  Prometheus 3.14 promql/parser; grammar and oddities in the preamble of parse.c.
 * Errors   NX_E_INVALID with Prometheus' text: "<line>:<column>: parse error: <what>" (1-based, first error only),
 *          NX_E_LIMIT when one of the bounds below or the arena's budget is reached.
 * Memory   everything in `arena`, the text is copied there first.
 */
#pragma once

#include "narthex/promql/ast.h"

#define PARSE_TEXT_BYTES_MAX (1u << 20)
#define PARSE_DEPTH_MAX      400 /* nesting; a frame of the parser is well under 1 KiB */
#define PARSE_NAMES_MAX                                                                            \
 1000 /* in one by(), on(), group_left() list: they are compared with each other */
#define PARSE_REGEXES_MAX                                                                          \
 1000 /* in one query: compiled, each takes some KiB that no arena counts */

struct parse_options {
    bool allow_experimental_functions;
    bool allow_extended_range_selectors; /* anchored, smoothed */
    bool allow_fill_modifiers;
};

NX_NODISCARD nx_code promql_parse(struct nx_str text, const struct parse_options *options,
                                  struct arena *arena, struct ast_node **out_root,
                                  struct nx_err *err);

/* A selector alone, for match[] parameters: its matchers, which the caller hands to matcher_deinit one by one. A
 * selector that could match the empty name set is refused as Prometheus does ("match[] must contain at least one
 * non-empty matcher"). */
NX_NODISCARD nx_code promql_parse_selector(struct nx_str text, struct arena *arena,
                                           struct matcher **out_matchers, size_t *out_count,
                                           struct nx_err *err);

/* "name{a=\"b\"}" as in rule outputs and test scripts: a canonical label set. A name that is set twice is refused. */
NX_NODISCARD nx_code promql_parse_labels(struct nx_str text, struct arena *arena,
                                         struct labels *out_labels, struct nx_err *err);

/* Position of a byte offset: 1-based line and column, as in messages ("line:column"). */
void promql_position(struct nx_str text, uint32_t offset, unsigned *out_line, unsigned *out_column);
