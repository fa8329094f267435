/* cardinality.h - how many series each metric, label and pair has, and how that grew in an hour and a day.
 *
 * Layer    head.
 * Live     The index counts as series come and go: one metric, label or pair is one look-up, exact at any moment.
 * Lists    A pass over the index, every few seconds, picks at most CARDINALITY_ROWS_MAX rows of each kind, the largest,
 *          and puts them in order. It becomes a view, which nobody changes: reading a list copies nothing and waits for
 *          nobody.
 * Growth   Metrics, labels and pairs of more than CARDINALITY_PAIR_SERIES series that are in the view keep what they
 *          counted: each five minutes for an hour, each hour for a day. What comes into the view later is
 *          taken to have had the most that it can have had outside: 0, or CARDINALITY_PAIR_SERIES, or what the smallest
 *          row has while the view is full. So nothing seems to grow that only came over the line.
 * Memory   About 250 bytes a row and its text, see cardinality_bytes. Texts of a kind: CARDINALITY_TEXT_BYTES_MAX.
 * Threads  one calls cardinality_refresh; any others the rest. The index' lock is taken for CARDINALITY_PIECE entries
 *          at a time.
 */
#pragma once

#include "narthex/base/clock.h"
#include "narthex/head/head.h"

#define CARDINALITY_ROWS_MAX       10000u /* what Prometheus' status/tsdb may be asked for */
#define CARDINALITY_PAIR_SERIES    64u    /* chosen: smaller pairs explode nothing */
#define CARDINALITY_TEXT_BYTES_MAX (4u << 20)
#define CARDINALITY_PIECE          2048u /* chosen: some 10 us under the lock, 100 at worst */

enum cardinality_kind {
    CARDINALITY_METRIC, /* values of __name__ */
    CARDINALITY_LABEL,  /* label names */
    CARDINALITY_PAIR,   /* name=value, those of __name__ too */
    CARDINALITY_KIND_COUNT,
};

enum cardinality_order {
    CARDINALITY_BY_COUNT,
    CARDINALITY_BY_GROWTH_1H, /* only what grew */
    CARDINALITY_BY_GROWTH_1D, /* only what grew */
    CARDINALITY_BY_BYTES,     /* labels only */
    CARDINALITY_ORDER_COUNT,
};

struct cardinality_row {
    struct nx_str text; /* of a pair: name=value */
    size_t name_len;    /* of a pair: bytes before the '=' */
    uint64_t count;     /* series; of a label: values */
    uint64_t series;
    uint64_t bytes;    /* of a label: what its values take, about */
    bool has_growth;   /* else the next two are 0 */
    int64_t growth_1h; /* of count */
    int64_t growth_1d;
};

/* What came and went since the start of a window. */
struct cardinality_window {
    int64_t since_ms; /* wall time; the window is shorter until the process is as old */
    int64_t growth;   /* series */
    uint64_t created;
    uint64_t removed;
};

struct cardinality_totals {
    uint64_t series, metrics, labels, pairs; /* now */
    int64_t refreshed_ms;                    /* wall time of the view */
    int64_t since_ms;                        /* wall time from which on growth is known */
    struct cardinality_window hour, day;
};

struct cardinality;
/* Head and clock are borrowed. After head_load_finish: the first pass is made here. */
struct cardinality *cardinality_new(struct head *head, const struct clock *clock);
void cardinality_free(struct cardinality *cardinality); /* no view is held; NULL is fine */

/* A pass. Cost: some 3 ms for 1M series, of 42,000 pairs; then nanoseconds a pair. */
void cardinality_refresh(struct cardinality *cardinality);

/* Of one item, now: exact count; growth as of the view's window. False: no series has it, and all is 0. `name` alone
 * for metrics and labels. The row's text is `name`, or empty for a pair. Constant time. */
bool cardinality_find(struct cardinality *cardinality, enum cardinality_kind kind,
                      struct nx_str name, struct nx_str value, struct cardinality_row *out_row);
void cardinality_totals(struct cardinality *cardinality, struct cardinality_totals *out);

/* The newest view, until cardinality_view_end. */
struct cardinality_view;
struct cardinality_view *cardinality_view_begin(struct cardinality *cardinality);
void cardinality_view_end(struct cardinality_view *view);
size_t cardinality_view_count(const struct cardinality_view *view, enum cardinality_kind kind,
                              enum cardinality_order order);
/* Row i < count in descending order; its text is the view's. */
struct cardinality_row cardinality_view_row(const struct cardinality_view *view,
                                            enum cardinality_kind kind,
                                            enum cardinality_order order, size_t i);

uint64_t cardinality_bytes(struct cardinality *cardinality);
