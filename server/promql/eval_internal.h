/* eval_internal.h - what the files of the evaluator share: streams of columns, and the functions' table entries.
 *
 * Every vector node becomes a stream. A stream gives its series one by one, each as a dense column:
 *
 *      steps      0    1    2    3  ...              step i is at grid start + i * step
 *      values   [ 4.5  -    4.7  4.9 ... ]           one double a step; what is not present has no meaning
 *      present  [ 1    0    1    1   ... ]           one bit a step
 *
 * 1. A column belongs to the stream that gave it, and lives until that stream's next `next`. Until then the consumer
 *    may overwrite values and clear bits: maps and filters work in place and need no memory of their own.
 * 2. Labels given by a stream live as long as its column. Who keeps them copies them into the query's arena.
 * 3. A stream never gives two series with equal labels, and never a series without a present step.
 * 4. Everything is in the query's arena; what is not (series sets, regexes) hangs in the list of cleanups.
 * 5. Native histograms will be a second column of pointers beside `values`, present where neither bit nor value is.
 */
#pragma once

#include "narthex/base/buf.h"
#include "narthex/promql/eval.h"
#include "narthex/promql/functions.h"

#include "key_table.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Chosen: nested streams take at most some 300 bytes of stack each, doubled by sanitizers. */
#define EVAL_DEPTH_MAX 1500

struct eval_grid {
    int64_t start_ms;
    int64_t step_ms; /* 1 when there is one step */
    size_t step_count;
};

/* Releases what does not live in the arena, when the evaluation ends. */
struct eval_cleanup {
    void (*run)(void *what);
    void *what;
    struct eval_cleanup *next;
};

/* One evaluation. */
struct eval {
    const struct eval_options *options;
    struct series_source *source;
    struct arena *arena;
    struct annotations *annotations;
    struct series_warnings *warnings;
    struct nx_err *err;
    struct nx_str
        failure;        /* the whole text of the error, in the arena; empty: err->msg has it all */
    struct nx_buf key;  /* scratch for keys */
    struct nx_buf text; /* scratch for messages */
    struct nx_buf quotes[2]; /* scratch for quoted names in them */
    uint64_t samples_held;
    uint64_t samples_peak;
    uint64_t samples_read;
    uint64_t samples_queryable;
    uint64_t key_seed;
    uint64_t unpolled_work; /* since the last look at the clock */
    unsigned depth;
    struct eval_cleanup *cleanups;
    struct monotonicity_note
        *monotonicity; /* func_histogram.c: infos whose text is known at the end only */
};

struct eval_series {
    struct labels labels;
    double *values;
    uint64_t *present;
    bool drop_name; /* delayed name removal: the reserved labels go at the very end */
};

/* What a stream knows of the labels __name__, __type__ and __unit__ of its series: whether dropping them can make two
 * series equal. */
enum eval_names {
    EVAL_NAMES_NONE,   /* no series has any */
    EVAL_NAMES_PINNED, /* all have the same __name__, and come in label order */
    EVAL_NAMES_ANY,
};

struct eval_stream {
    int (*next)(struct eval_stream *stream,
                struct eval_series *out); /* 1: a series, 0: end, -1: failed */
    struct eval *eval;
    const struct eval_grid *grid;
    enum eval_names names;
};

/* A range vector: series of samples, stale markers removed, and which window of them each step sees. */
struct eval_samples {
    struct labels labels;
    const int64_t *times_ms;
    const double *values;
    size_t count;
    bool drop_name;
};

struct eval_range {
    int (*next)(struct eval_range *range, struct eval_samples *out);
    struct eval *eval;
    const struct eval_grid *grid;
    const struct ast_node *node;
    int64_t range_ms;
    int64_t offset_ms;
    bool is_pinned;    /* by @: every step has the same window */
    int64_t pinned_ms; /* its end, offset applied */
    bool is_anchored;  /* windows begin lookback earlier: what was there at their start counts */
    bool is_smoothed;  /* and end lookback later: values at both edges are interpolated */
    enum eval_names names;
};

/* eval_result.c */
nx_code eval_result(struct eval *eval, const struct ast_node *root, struct value *value);

/* eval.c */
nx_code eval_open(struct eval *eval, const struct ast_node *node, const struct eval_grid *grid,
                  struct eval_stream **out);
nx_code eval_open_range(struct eval *eval, const struct ast_node *node,
                        const struct eval_grid *grid, struct eval_range **out);
NX_PRINTF(3, 4) nx_code eval_fail(struct eval *eval, nx_code code, const char *format, ...);
nx_code eval_fail_text(struct eval *eval, nx_code code, struct nx_str text); /* any length */
nx_code eval_no_memory(struct eval *eval);
nx_code
eval_same_labels(struct eval *eval); /* "vector cannot contain metrics with the same labelset" */
/* Cancellation, and now and then the deadline: `work` is what was done since, in samples or steps. False: failed. */
bool eval_poll(struct eval *eval, uint64_t work);
/* Counts samples that stay in memory until the query ends, and those that are there for the moment. */
bool eval_hold(struct eval *eval, uint64_t samples);
bool eval_touch(struct eval *eval, uint64_t samples);
void *eval_alloc(struct eval *eval, size_t count, size_t bytes); /* zeroed; NULL: failed */
bool eval_on_end(struct eval *eval, void (*run)(void *what), void *what);
const struct eval_grid *eval_grid_new(struct eval *eval, int64_t start_ms, int64_t end_ms,
                                      int64_t step_ms);
/* Reads a string literal in any parentheses. */
struct nx_str eval_string(const struct ast_node *node);
bool function_is_at_unsafe(
    struct nx_str name); /* its value depends on the step even when its arguments do not */

/* eval_selector.c; eval_extend_window: func_rate.c */
struct eval_window;
nx_code eval_selector_open(struct eval *eval, const struct ast_node *node, bool wants_times,
                           const struct eval_grid *grid, struct eval_stream **out);
/* The value at `time_ms` on the line through two samples, of times first < second. With is_counter a fall is a restart
 * from 0. */
double eval_interpolate(int64_t first_ms, double first, int64_t second_ms, double second,
                        int64_t time_ms, bool is_counter);
/* The samples of a window with its edges: *out_count, at most count + 2 of them, into times_ms and values. */
void eval_extend_window(const struct eval_window *window, bool is_smoothed, int64_t *times_ms,
                        double *values, size_t *out_count);
nx_code eval_matrix_open(struct eval *eval, const struct ast_node *node,
                         const struct eval_grid *grid, struct eval_range **out);

/* eval_subquery.c */
nx_code eval_subquery_open(struct eval *eval, const struct ast_node *node,
                           const struct eval_grid *grid, struct eval_range **out);

/* eval_scalar.c: fills out[step_count]. */
nx_code eval_scalar_fill(struct eval *eval, const struct ast_node *node,
                         const struct eval_grid *grid, double *out);
double *eval_scalar_column(struct eval *eval, const struct ast_node *node,
                           const struct eval_grid *grid); /* NULL: failed */

/* eval_call.c */
nx_code eval_call_open(struct eval *eval, const struct ast_node *node, const struct eval_grid *grid,
                       struct eval_stream **out);
/* Applies `map` to every value of `child`; context is handed through. */
typedef void (*eval_map_fn)(struct eval_stream *map, const void *context,
                            struct eval_series *series);
nx_code eval_map_open(struct eval *eval, struct eval_stream *child, eval_map_fn map,
                      const void *context, struct eval_stream **out);
/* A stream of what is in an array already. Bits may be all clear: such series are passed over. */
nx_code eval_array_open(struct eval *eval, const struct eval_grid *grid, enum eval_names names,
                        struct eval_series *items, size_t count, struct eval_stream **out);

/* eval_binop.c */
nx_code eval_binary_open(struct eval *eval, const struct ast_node *node,
                         const struct eval_grid *grid, struct eval_stream **out);
bool eval_op_changes_schema(enum ast_op op); /* arithmetic: the name goes */
/* Applies a float operator; *out_keep is what a comparison says (true for arithmetic). A comparison returns left. */
double eval_float_op(enum ast_op op, double left, double right, bool *out_keep);
void eval_float_trim_info(struct eval *eval, const struct ast_node *node);

/* eval_match.c, eval_setop.c */
nx_code eval_match_open(struct eval *eval, const struct ast_node *node,
                        const struct eval_grid *grid, struct eval_stream **out);
nx_code eval_setop_open(struct eval *eval, const struct ast_node *node,
                        const struct eval_grid *grid, struct eval_stream **out);

/* eval_aggregate.c, eval_topk.c */
nx_code eval_aggregate_open(struct eval *eval, const struct ast_node *node,
                            const struct eval_grid *grid, struct eval_stream **out);
nx_code eval_topk_open(struct eval *eval, const struct ast_node *node, const struct eval_grid *grid,
                       struct eval_stream **out);
double eval_quantile(double q, double *values, size_t count); /* moves `values` about */

/* eval_merge.c: keeping series. */
struct eval_list {
    struct eval *eval;
    const struct eval_grid *grid;
    struct eval_series *items;
    size_t count;
    size_t cap;
    struct key_table keys; /* for eval_list_merge */
};
void eval_list_init(struct eval_list *list, struct eval *eval, const struct eval_grid *grid);
/* Appends a deep copy. */
nx_code eval_list_add(struct eval_list *list, const struct eval_series *series);
/* Joins the series with the one of equal labels; a step present in both fails, with is_strict any second one does. */
nx_code eval_list_merge(struct eval_list *list, const struct eval_series *series, bool is_strict);
nx_code eval_list_collect(struct eval_list *list, struct eval_stream *stream);
/* Drops __name__, __type__ and __unit__ of what `child` gives, now or (delayed name removal) at the end, and joins
 * series that become equal. */
nx_code eval_drop_open(struct eval *eval, struct eval_stream *child, bool is_strict,
                       struct eval_stream **out);
bool label_is_reserved(struct nx_str name);
bool labels_have_reserved(struct labels labels);
struct labels eval_labels_without_reserved(struct eval *eval, struct labels labels, bool *out_ok);

/* Label lists of by, without, on, ignoring: sorted, each name once. */
struct eval_names_list {
    struct nx_str *names;
    size_t count;
    bool is_without; /* the listed ones and __name__ do not count; else only the listed ones do */
};
bool eval_names_list_init(struct eval *eval, struct eval_names_list *list,
                          const struct nx_str *names, size_t count, bool is_without);
bool eval_names_list_has(const struct eval_names_list *list, struct nx_str name);
bool eval_names_list_keeps(const struct eval_names_list *list, struct nx_str name);
/* The key of a series' group, into eval->key. */
struct nx_str eval_group_key(struct eval *eval, const struct eval_names_list *list,
                             struct labels labels);
struct nx_str eval_labels_key(struct eval *eval, struct labels labels);
/* The labels that a group shares, copied into the arena. */
bool eval_group_labels(struct eval *eval, const struct eval_names_list *list, struct labels labels,
                       struct labels *out);

/* annotations.c: texts get " (line:column)" of `node`. */
NX_PRINTF(4, 5)
void eval_annotate(struct eval *eval, enum annotation_kind kind, const struct ast_node *node,
                   const char *format, ...);
/* Go's %q, in scratch `which` (0 or 1): valid until its next use. */
struct nx_str eval_quoted(struct eval *eval, int which, struct nx_str text);
const char *eval_float_text(double value, char out[32]); /* Go's %g */

/* func_time.c: 2006-01-02T15:04:05Z. */
void eval_utc_text(int64_t unix_seconds, char out[40]);

/* func_histogram.c: writes the infos that were gathered; false: failed. */
bool eval_monotonicity_end(struct eval *eval);

/* Functions: the fields that are set say how one is computed. */
struct eval_range_call;
struct eval_window {
    const int64_t *times_ms;
    const double *values;
    size_t count;     /* at least one */
    int64_t start_ms; /* exclusive */
    int64_t end_ms;
    int64_t time_ms; /* of the step */
    double params[2];
    struct eval_range_call *call;
};
struct eval_function {
    /* One float to one float; the name is dropped. */
    double (*map)(double value);
    /* As map, of the broken-down UTC time that the value (or no argument: the step's time) is in seconds. */
    double (*date)(int64_t unix_seconds);
    /* One window to one float: 1, 0 for none, -1 failed. */
    int (*window)(const struct eval_window *window, double *out);
    /* All windows of a series at once, where sliding is cheaper. Sets bits in `present`. */
    bool (*columns)(struct eval_range_call *call, const struct eval_samples *samples,
                    double *values, uint64_t *present); /* false: failed */
    /* Before the first series of a window or columns function. */
    nx_code (*begin)(struct eval_range_call *call);
    /* Whatever does not fit: gives a whole stream, or a column for a scalar. */
    nx_code (*open)(struct eval *eval, const struct ast_node *call, const struct eval_grid *grid,
                    struct eval_stream **out);
    nx_code (*scalar)(struct eval *eval, const struct ast_node *call, const struct eval_grid *grid,
                      double *out);
    /* As window, for `anchored` and `smoothed` ranges, whose windows are wider than start_ms to end_ms. */
    int (*extended)(const struct eval_window *window, double *out);
    bool is_smoothable;
    bool keeps_name;
    bool wants_counter; /* an info when the metric's name does not end as a counter's does */
};

struct eval_range_call {
    struct eval_stream stream; /* first */
    struct eval_range *range;
    const struct ast_node *node;
    const struct ast_node *range_arg;
    const struct eval_function *function;
    double *params[2]; /* columns of the scalar arguments, in order */
    const struct ast_node *param_args[2];
    size_t param_count;
    uint32_t *low; /* window of step i: samples [low[i], high[i]) */
    uint32_t *high;
    double range_seconds;
    bool is_extended;           /* the range is anchored or smoothed */
    struct nx_str checked_name; /* the last name that wants_counter looked at */
    bool has_warned;            /* quantile_over_time: of `warned` */
    double warned;
    double *values;
    uint64_t *present;
    double *scratch; /* for functions, of scratch_cap values */
    size_t scratch_cap;
};
/* At least `count` doubles of scratch; false: failed. */
bool eval_range_call_reserve(struct eval_range_call *call, size_t count);

static inline int64_t eval_step_time(const struct eval_grid *grid, size_t step)
{
    return grid->start_ms + (int64_t)step * grid->step_ms;
}

static inline size_t eval_words(const struct eval_grid *grid)
{
    return (grid->step_count + 63) / 64;
}

static inline bool eval_bit(const uint64_t *bits, size_t index)
{
    return (bits[index / 64] >> (index % 64) & 1) != 0;
}

static inline void eval_bit_set(uint64_t *bits, size_t index)
{
    bits[index / 64] |= UINT64_C(1) << (index % 64);
}

static inline void eval_bit_clear(uint64_t *bits, size_t index)
{
    bits[index / 64] &= ~(UINT64_C(1) << (index % 64));
}

/* The lowest set bit of a word that is not 0. */
static inline unsigned eval_lowest(uint64_t word)
{
    return (unsigned)__builtin_ctzll(word);
}

static inline size_t eval_bits_count(const uint64_t *bits, size_t words)
{
    size_t count = 0;
    for (size_t i = 0; i < words; i++)
        count += (size_t)__builtin_popcountll(bits[i]);
    return count;
}

static inline bool eval_bits_any(const uint64_t *bits, size_t words)
{
    for (size_t i = 0; i < words; i++)
        if (bits[i] != 0)
            return true;
    return false;
}

/* Sums of times from queries: they stop at the ends of the range instead of wrapping. */
static inline int64_t eval_time_add(int64_t a, int64_t b)
{
    int64_t sum;
    if (__builtin_add_overflow(a, b, &sum))
        return b > 0 ? INT64_MAX : INT64_MIN;
    return sum;
}

static inline int64_t eval_time_sub(int64_t a, int64_t b)
{
    int64_t difference;
    if (__builtin_sub_overflow(a, b, &difference))
        return b < 0 ? INT64_MAX : INT64_MIN;
    return difference;
}

/* Where the samples that a step is given begin (exclusive) and end, when its window is (start_ms, end_ms]. */
static inline int64_t eval_range_first(const struct eval_range *range, int64_t start_ms)
{
    bool extends = range->is_anchored || range->is_smoothed;
    return extends ? eval_time_sub(start_ms, range->eval->options->lookback_ms) : start_ms;
}

static inline int64_t eval_range_last(const struct eval_range *range, int64_t end_ms)
{
    return range->is_smoothed ? eval_time_add(end_ms, range->eval->options->lookback_ms) : end_ms;
}

/* Where the window of a step ends. */
static inline int64_t eval_range_end(const struct eval_range *range, size_t step)
{
    return range->is_pinned ? range->pinned_ms
                            : eval_time_sub(eval_step_time(range->grid, step), range->offset_ms);
}

/* One step of a Kahan sum with Neumaier's improvement; an infinite sum has no compensation. */
static inline void eval_kahan_add(double increment, double *sum, double *compensation)
{
    double total = *sum + increment;
    if (__builtin_isinf(total))
        *compensation = 0;
    else if (__builtin_fabs(*sum) >= __builtin_fabs(increment))
        *compensation += (*sum - total) + increment;
    else
        *compensation += (increment - total) + *sum;
    *sum = total;
}
