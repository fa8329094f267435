/* ast.h - a parsed PromQL expression: an immutable tree in the query's arena.
 *
 * Layer    promql.   Source  Prometheus 3.14 promql/parser/ast.go, generated_parser.y.
 * Order    lex.h turns text into tokens, parse.h builds this tree, check.h types it, print.h writes it back.
 * Memory   nodes, strings and matchers live in the arena given to parse; regexes of matchers are freed by ast_deinit.
 */
#pragma once

#include "narthex/base/arena.h"
#include "narthex/base/err.h"
#include "narthex/base/str.h"
#include "narthex/model/matcher.h"

#include <stdbool.h>
#include <stdint.h>

enum value_type {
    VALUE_TYPE_NONE,
    VALUE_TYPE_SCALAR,
    VALUE_TYPE_VECTOR,
    VALUE_TYPE_MATRIX,
    VALUE_TYPE_STRING,
};
const char *
value_type_name(enum value_type type); /* "scalar", "vector", "matrix", "string": as in JSON */
const char *value_type_text(
    enum value_type type); /* "scalar", "instant vector", "range vector": as in messages */

/* Byte offsets in the query text: [start, end). */
struct ast_range {
    uint32_t start;
    uint32_t end;
};

enum ast_kind {
    AST_NUMBER,
    AST_STRING,
    AST_VECTOR_SELECTOR,
    AST_MATRIX_SELECTOR, /* child: a vector selector */
    AST_SUBQUERY,
    AST_UNARY,
    AST_BINARY,
    AST_AGGREGATE,
    AST_CALL,
    AST_PAREN,
    AST_DURATION, /* arithmetic inside [...] or offset; replaced by numbers before evaluation */
    AST_KIND_COUNT,
};

enum ast_op {
    OP_ADD,
    OP_SUB,
    OP_MUL,
    OP_DIV,
    OP_MOD,
    OP_POW,
    OP_ATAN2,
    OP_EQL, /* == */
    OP_NEQ,
    OP_LSS,
    OP_LTE,
    OP_GTR,
    OP_GTE,
    OP_TRIM_UPPER, /* </ */
    OP_TRIM_LOWER, /* >/ */
    OP_AND,
    OP_OR,
    OP_UNLESS,
    OP_COUNT,
};
const char *ast_op_text(enum ast_op op);
bool ast_op_is_comparison(enum ast_op op); /* == != < <= > >= : not the trims */
bool ast_op_is_set(enum ast_op op);

enum ast_aggregate {
    AGGREGATE_SUM,
    AGGREGATE_AVG,
    AGGREGATE_COUNT,
    AGGREGATE_MIN,
    AGGREGATE_MAX,
    AGGREGATE_GROUP,
    AGGREGATE_STDDEV,
    AGGREGATE_STDVAR,
    AGGREGATE_TOPK,
    AGGREGATE_BOTTOMK,
    AGGREGATE_COUNT_VALUES,
    AGGREGATE_QUANTILE,
    AGGREGATE_LIMITK,
    AGGREGATE_LIMIT_RATIO,
    AGGREGATE_COUNT_OF,
};
const char *ast_aggregate_text(enum ast_aggregate op);

/* A duration: a constant, or an expression over step(), range(), min_of, max_of that ast_resolve_durations computes. */
struct ast_node;
struct ast_duration {
    int64_t ms;            /* valid when expr is NULL, or after ast_resolve_durations */
    struct ast_node *expr; /* AST_DURATION tree, NULL for a literal */
};

enum ast_at {
    AT_NONE,
    AT_TIME,  /* @ 1234.5 */
    AT_START, /* @ start() */
    AT_END,
};

/* The modifiers after a selector or a subquery. */
struct ast_modifiers {
    struct ast_duration offset; /* may be negative; ms 0 and expr NULL: none */
    enum ast_at at;
    int64_t at_ms; /* for AT_TIME */
};

enum ast_match_card {
    MATCH_ONE_TO_ONE,
    MATCH_MANY_TO_ONE, /* group_left */
    MATCH_ONE_TO_MANY, /* group_right */
    MATCH_MANY_TO_MANY,
};

struct ast_matching {
    enum ast_match_card card;
    bool is_on; /* on(...): labels are those compared; else those ignored */
    struct nx_str *labels;
    size_t label_count;
    struct nx_str *include; /* group_left(...) */
    size_t include_count;
    bool has_fill_left, has_fill_right;
    double fill_left, fill_right;
};

struct function; /* functions.h */

/* A chain of left-associative operators (a + b + c ...) leans to the left and may be this high, while every other way
 * down is bounded by PARSE_DEPTH_MAX: follow binary.left in a loop and recurse into the rest, or compare the root's
 * height with what your stack carries. */
#define AST_HEIGHT_MAX 16384

struct ast_node {
    enum ast_kind kind;
    enum value_type type; /* set by the parser */
    struct ast_range pos;
    uint16_t
        height; /* 1 for a leaf, else one more than the highest child; at most AST_HEIGHT_MAX */
    uint16_t nesting; /* the same, but binary.left adds nothing; at most PARSE_DEPTH_MAX */
    union {
        struct {
            double value;
            bool is_duration; /* written as 5m: printed so */
        } number;
        struct {
            struct nx_str value; /* unescaped */
        } string;
        struct {
            struct nx_str name;       /* metric name as written before {}, may be empty */
            struct matcher *matchers; /* includes __name__ = name */
            size_t matcher_count;
            struct ast_modifiers modifiers;
            bool is_anchored, is_smoothed;
        } selector;
        struct {
            struct ast_node *selector;
            struct ast_duration range;
        } matrix;
        struct {
            struct ast_node *expr;
            struct ast_duration range;
            struct ast_duration step; /* ms 0 and expr NULL: the default step */
            struct ast_modifiers modifiers;
        } subquery;
        struct {
            bool is_negative; /* -x, else +x */
            struct ast_node *expr;
        } unary;
        struct {
            enum ast_op op;
            bool returns_bool;
            struct ast_node *left, *right;
            struct ast_matching *matching; /* NULL unless both sides are vectors */
            struct ast_range op_pos;
        } binary;
        struct {
            enum ast_aggregate op;
            bool is_without;
            struct nx_str *grouping;
            size_t grouping_count;
            struct ast_node *param; /* NULL when the operator has none */
            struct ast_node *expr;
        } aggregate;
        struct {
            const struct function *function;
            struct ast_node **args;
            size_t arg_count;
        } call;
        struct {
            struct ast_node *expr;
        } paren;
        struct {
            enum {
                DURATION_NUMBER,
                DURATION_NEGATE,
                DURATION_BINARY, /* op: ADD SUB MUL DIV MOD POW */
                DURATION_STEP,
                DURATION_RANGE,
                DURATION_MIN,
                DURATION_MAX,
            } what;
            enum ast_op op;
            double seconds; /* DURATION_NUMBER */
            bool is_duration;
            bool is_parenthesised;
            struct ast_node *left, *right; /* unary: left only */
        } duration;
    } u;
};

/* Computes every duration expression for a query with this step and range (0 for instant queries) and puts the result
 * into the ms of its ast_duration. NX_E_INVALID with Prometheus' text: not positive for range and step, out of range,
 * division by zero. Changes the tree in place: call before evaluation; again for another step. */
NX_NODISCARD nx_code ast_resolve_durations(struct ast_node *root, int64_t step_ms, int64_t range_ms,
                                           struct nx_err *err);

/* Strips parentheses. */
const struct ast_node *ast_unwrap_parens(const struct ast_node *node);

/* Calls `visit` on every node, parents first. */
typedef void (*ast_visit_fn)(void *context, struct ast_node *node);
void ast_walk(struct ast_node *root, ast_visit_fn visit, void *context);

/* Frees what is not in the arena: the regexes of matchers. NULL is fine. */
void ast_deinit(struct ast_node *root);
