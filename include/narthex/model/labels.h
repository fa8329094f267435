/* labels.h - a series' identity: a set of name-value pairs, sorted by name.
 *
 * Layer    model.   A `struct labels` is a view: it owns neither the array nor the text.
 * Canon    sorted by name in byte order, names unique and not empty, no empty values. labels_canonicalize makes it so;
 *          every function below expects it unless it says otherwise.
 */
#pragma once

#include "narthex/base/arena.h"
#include "narthex/base/buf.h"
#include "narthex/base/err.h"
#include "narthex/base/str.h"

#include <stdbool.h>
#include <stdint.h>

#define LABEL_NAME_METRIC "__name__"
#define LABEL_NAME_BUCKET "le"

struct label {
    struct nx_str name;
    struct nx_str value;
};

struct labels {
    const struct label *items;
    size_t count;
};

/* Value of `name`, an empty view when absent. Cost: linear over few labels. */
struct nx_str labels_get(struct labels labels, struct nx_str name);
bool labels_has(struct labels labels, struct nx_str name);

/* Order of series everywhere: pair by pair (name, then value), a prefix before what it begins. As Prometheus'
 * labels.Compare. */
int labels_compare(struct labels a, struct labels b);
bool labels_equal(struct labels a, struct labels b);

/* Stable over processes: 0xff-separated pairs through nx_hash64. */
uint64_t labels_hash(struct labels labels);

/* Sorts in place by name and drops pairs with an empty value. Duplicate names are kept and found by
 * labels_check. Returns the new count. Cheap when sorted already. */
size_t labels_canonicalize(struct label *items, size_t count);

/* Deep copy into `arena`; count 0 and items NULL when the arena is exhausted and labels were not empty. */
struct labels labels_copy(struct arena *arena, struct labels labels);

/* {__name__="m", a="b"}: Prometheus' text of a series in messages (labels.Labels.String). Values are quoted as Go's %q
 * does, and so are names that are not legacy ones. */
void labels_print(struct labels labels, struct nx_buf *out);
/* m{a="b"}, m, {a="b"} or {}: the form of the common library and of test scripts. */
void labels_print_series(struct labels labels, struct nx_buf *out);
void labels_print_quoted(struct nx_str value,
                         struct nx_buf *out); /* one quoted string, as strconv.Quote */

/* What a receiver must refuse. NX_E_INVALID with the reason: no or empty __name__, metric name not UTF-8, empty or
 * non-UTF-8 label name, non-UTF-8 value, duplicate name (the order must be canonical). */
NX_NODISCARD nx_code labels_check(struct labels labels, struct nx_err *err);

bool label_name_is_legacy(struct nx_str name);  /* [a-zA-Z_][a-zA-Z0-9_]* */
bool metric_name_is_legacy(struct nx_str name); /* [a-zA-Z_:][a-zA-Z0-9_:]* */

/* Builds a changed copy: set and drop, then finish. The array comes from the arena; text is borrowed from the base and
 * from what was set, and must live as long as the result. */
struct labels_builder {
    struct arena *arena;
    struct label *items; /* private: unsorted until finish */
    size_t count;
    size_t cap;
    bool is_exhausted;
};
void labels_builder_begin(struct labels_builder *builder, struct arena *arena, struct labels base);
/* An empty value drops the name. */
void labels_builder_set(struct labels_builder *builder, struct nx_str name, struct nx_str value);
void labels_builder_drop(struct labels_builder *builder, struct nx_str name);
/* Keeps only (or drops) the names listed. */
void labels_builder_keep(struct labels_builder *builder, const struct nx_str *names,
                         size_t name_count);
void labels_builder_drop_all(struct labels_builder *builder, const struct nx_str *names,
                             size_t name_count);
/* Canonical labels. NX_E_LIMIT when the arena is exhausted. */
NX_NODISCARD nx_code labels_builder_finish(struct labels_builder *builder,
                                           struct labels *out_labels);
