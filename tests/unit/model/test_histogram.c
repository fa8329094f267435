/* SPDX-License-Identifier: Apache-2.0 */
/* test_histogram.c - equality, copies, what a receiver refuses and in which words, and lowering the resolution. */
#include "narthex/model/histogram.h"
#include "narthex/model/staleness.h"

#include "model_support.h"

#include <math.h>

/* A valid histogram of integers, and a valid one of custom buckets, over arrays that a test may change. */
struct made {
    struct histogram_span spans[2][2];
    uint64_t buckets[2][4];
    double bounds[3];
    struct histogram histogram;
};

static struct histogram *make(struct made *made)
{
    *made = (struct made){
        .spans = {{{-2, 2}, {3, 2}}, {{0, 1}, {1, 1}}},
        .buckets = {{1, 2, 3, 4}, {5, 6}},
        .histogram = {.schema = 2, .zero_threshold = 0x1p-128, .zero_count = 7, .sum = 12.5},
    };
    struct histogram *histogram = &made->histogram;
    histogram->sides[HISTOGRAM_POSITIVE] =
        (struct histogram_side){made->spans[0], made->buckets[0], 2, 4};
    histogram->sides[HISTOGRAM_NEGATIVE] =
        (struct histogram_side){made->spans[1], made->buckets[1], 2, 2};
    histogram->count = 28;
    return histogram;
}

static struct histogram *make_custom(struct made *made)
{
    *made = (struct made){
        .spans = {{{0, 2}, {1, 1}}},
        .buckets = {{1, 2, 3}},
        .bounds = {0.5, 1, 2.5},
        .histogram = {.schema = HISTOGRAM_SCHEMA_CUSTOM, .sum = 3, .count = 6},
    };
    struct histogram *histogram = &made->histogram;
    histogram->sides[HISTOGRAM_POSITIVE] =
        (struct histogram_side){made->spans[0], made->buckets[0], 2, 3};
    histogram->bounds = made->bounds;
    histogram->bound_count = 3;
    return histogram;
}

static struct histogram *make_float(struct made *made)
{
    struct histogram *histogram = make(made);
    histogram->is_float = true;
    for (size_t i = 0; i < 8; i++)
        made->buckets[i / 4][i % 4] = float_bits(0.5 * (double)made->buckets[i / 4][i % 4]);
    histogram->zero_count = float_bits(1.5);
    histogram->count = float_bits(0.25); /* floats round: not compared */
    return histogram;
}

static void assert_valid(const struct histogram *histogram)
{
    struct nx_err err = {0};
    if (histogram_check(histogram, &err) != NX_OK)
        fail_msg("%s", err.msg);
    assert_true(histogram_is_well_formed(histogram));
}

static void assert_refused(const struct histogram *histogram, const char *message)
{
    struct nx_err err = {0};
    assert_int_equal(histogram_check(histogram, &err), NX_E_INVALID);
    assert_string_equal(err.msg, message);
}

static void test_histogram_equality_and_copies(void **state)
{
    (void)state;
    struct made a;
    struct made b;
    struct arena arena;
    struct arena spent;
    arena_init(&arena, 0);
    arena_init(&spent, 1);
    struct histogram *x = make(&a);
    struct histogram *y = make(&b);
    assert_true(histogram_equal(x, y) && histogram_same_layout(x, y));
    struct histogram *copy = histogram_copy(&arena, x);
    assert_true(histogram_equal(x, copy));
    assert_null(histogram_copy(&spent, x));
    a.buckets[1][1]++;
    assert_false(histogram_equal(x, copy));
    assert_true(histogram_equal(y, copy));
    assert_true(histogram_same_layout(x, y));
    assert_int_equal(histogram_bytes(x), sizeof(*x) + 4 * 8 + 6 * 8);
    x = make(&a);
    x->hint = HISTOGRAM_HINT_YES;
    assert_false(histogram_equal(x, y));
    assert_true(histogram_same_layout(x, y));
    x = make(&a);
    a.spans[0][1].offset++;
    assert_false(histogram_same_layout(x, y));
    x = make_custom(&a);
    y = make_custom(&b);
    assert_true(histogram_equal(x, histogram_copy(&arena, y)));
    a.bounds[1] = 1.5;
    assert_false(histogram_same_layout(x, y));
    assert_false(histogram_is_stale(x));
    x->sum = float_from_bits(STALE_NAN_BITS);
    assert_true(histogram_is_stale(x));
    arena_deinit(&arena);
    arena_deinit(&spent);
}

static void test_histogram_total_adds_all_buckets(void **state)
{
    (void)state;
    struct made made;
    assert_int_equal(histogram_total(make(&made)), 28);
    assert_true(histogram_total(make_float(&made)) == float_bits(12));
    assert_int_equal(histogram_total(make_custom(&made)), 6);
}

static void test_histogram_check_accepts_valid_ones(void **state)
{
    (void)state;
    struct made made;
    assert_valid(make(&made));
    assert_valid(make_float(&made));
    assert_valid(make_custom(&made));
    made.bounds[0] = (double)-INFINITY;
    assert_valid(&made.histogram);
    struct histogram stale = {.sum = float_from_bits(STALE_NAN_BITS)};
    assert_valid(&stale);
    struct histogram *histogram = make(&made);
    histogram->sum = (double)NAN; /* a NaN was observed: counted, in no bucket */
    histogram->count = 30;
    assert_valid(histogram);
    histogram->count = 27;
    assert_refused(histogram, "28 observations found in buckets, but the Count field is 27: "
                              "histogram's observation count should be at least the number of "
                              "observations found in the buckets");
}

static void test_histogram_check_refuses_in_prometheus_words(void **state)
{
    (void)state;
    struct made made;
    struct histogram *histogram = make(&made);
    histogram->count = 29;
    assert_refused(histogram, "28 observations found in buckets, but the Count field is 29: "
                              "histogram's observation count should equal the number of "
                              "observations found in the buckets (in absence of NaN)");
    histogram = make(&made);
    made.spans[0][1].offset = -1;
    assert_refused(histogram, "positive side: span number 2 with offset -1: histogram has a span "
                              "whose offset is negative");
    histogram = make(&made);
    made.spans[1][1].length = 3;
    assert_refused(histogram, "negative side: spans need 4 buckets, have 2 buckets: histogram "
                              "spans specify different number of buckets than provided");
    histogram = make(&made);
    made.buckets[1][1] = (uint64_t)-6;
    assert_refused(histogram, "negative side: bucket number 2 has observation count of -6: "
                              "histogram has a bucket whose observation count is negative");
    histogram = make_float(&made);
    made.buckets[0][2] = float_bits(-1.5);
    assert_refused(histogram, "positive side: bucket number 3 has observation count of -1.5: "
                              "histogram has a bucket whose observation count is negative");
    histogram = make(&made);
    histogram->bounds = made.bounds;
    histogram->bound_count = 1;
    assert_refused(histogram, "histogram with exponential schema must not have custom bounds");
    histogram = make(&made);
    histogram->schema = -7;
    assert_refused(histogram, "histogram has an invalid schema, which must be between -4 and 8 for "
                              "exponential buckets, or -53 for custom buckets, got schema -7");
    histogram->schema = 53;
    assert_refused(histogram,
                   "histogram has an unknown schema, which must be between -9 and 52 for "
                   "exponential buckets, or -53 for custom buckets, got schema 53");
}

static void test_histogram_check_refuses_custom_buckets(void **state)
{
    (void)state;
    struct made made;
    struct histogram *histogram = make_custom(&made);
    made.bounds[1] = 0.25;
    assert_refused(histogram, "custom buckets: previous bound is 0.500000 and current is 0.250000: "
                              "histogram custom bounds must be in strictly increasing order");
    made.bounds[0] = (double)-INFINITY;
    made.bounds[1] = (double)-INFINITY;
    assert_refused(histogram, "custom buckets: previous bound is -Inf and current is -Inf: "
                              "histogram custom bounds must be in strictly increasing order");
    histogram = make_custom(&made);
    made.bounds[1] = (double)NAN;
    assert_refused(histogram, "custom buckets: histogram custom bounds must not be NaN");
    histogram = make_custom(&made);
    made.bounds[2] = (double)INFINITY;
    assert_refused(histogram, "custom buckets: last +Inf bound must not be explicitly defined: "
                              "histogram custom bounds must be finite");
    histogram = make_custom(&made);
    made.spans[0][0].offset = -1;
    assert_refused(histogram, "custom buckets: span number 1 with offset -1: histogram has a span "
                              "whose offset is negative");
    histogram = make_custom(&made);
    histogram->bound_count = 2;
    assert_refused(histogram,
                   "custom buckets: only 2 custom bounds defined which is insufficient "
                   "to cover total span length of 4: histogram custom bounds are too few");
    histogram = make_custom(&made);
    histogram->zero_count = 1;
    assert_refused(histogram, "custom buckets: must have zero count of 0");
    histogram = make_custom(&made);
    histogram->zero_threshold = 1;
    assert_refused(histogram, "custom buckets: must have zero threshold of 0");
    histogram = make_custom(&made);
    histogram->sides[HISTOGRAM_NEGATIVE].spans = made.spans[1];
    histogram->sides[HISTOGRAM_NEGATIVE].span_count = 1;
    assert_refused(histogram, "custom buckets: must not have negative spans");
    histogram = make_custom(&made);
    histogram->sides[HISTOGRAM_NEGATIVE].buckets = made.buckets[1];
    histogram->sides[HISTOGRAM_NEGATIVE].bucket_count = 1;
    assert_refused(histogram, "custom buckets: must not have negative buckets");
}

static void test_histogram_check_bounds_what_readers_walk(void **state)
{
    (void)state;
    struct made made;
    struct nx_err err;
    struct histogram *histogram = make(&made);
    made.spans[0][0].offset = INT32_MAX;
    assert_int_equal(histogram_check(histogram, &err), NX_E_INVALID);
    made.spans[0][0].offset = INT32_MIN;
    assert_valid(histogram);
    made.spans[0][1].offset = INT32_MAX;
    assert_valid(histogram);
    made.spans[0][0].offset = -7; /* 2 + 2 buckets around it: the last is one too far */
    assert_valid(histogram);
    made.spans[0][0].offset = -3;
    assert_int_equal(histogram_check(histogram, &err), NX_E_INVALID);
    histogram = make(&made);
    histogram->hint = 4;
    assert_int_equal(histogram_check(histogram, &err), NX_E_INVALID);
    histogram = make(&made);
    static struct histogram_span spans[HISTOGRAM_SPANS_MAX + 1];
    spans[0].length = 4;
    histogram->sides[HISTOGRAM_POSITIVE].spans = spans;
    histogram->sides[HISTOGRAM_POSITIVE].span_count = HISTOGRAM_SPANS_MAX;
    assert_valid(histogram);
    histogram->sides[HISTOGRAM_POSITIVE].span_count = HISTOGRAM_SPANS_MAX + 1;
    assert_int_equal(histogram_check(histogram, &err), NX_E_INVALID);
}

static void test_histogram_reduce_merges_buckets(void **state)
{
    (void)state;
    struct arena arena;
    struct arena spent;
    struct nx_err err;
    arena_init(&arena, 0);
    arena_init(&spent, 1);
    struct made made;
    struct histogram *histogram = make(&made);
    struct histogram before = *histogram;
    assert_int_equal(histogram_reduce(histogram, &spent, &err), NX_OK); /* nothing to do */
    assert_memory_equal(histogram, &before, sizeof(before));
    /* Schema 9: buckets -2, -1 | 3, 4 become -1, 0 | 2, 2: bucket i of schema 9 ends where (i + 1) / 2 does. */
    histogram->schema = 9;
    assert_int_equal(histogram_reduce(histogram, &spent, &err), NX_E_LIMIT);
    assert_int_equal(histogram->schema, 9);
    assert_int_equal(histogram_reduce(histogram, &arena, &err), NX_OK);
    assert_int_equal(histogram->schema, HISTOGRAM_SCHEMA_MAX);
    const struct histogram_side *side = &histogram->sides[HISTOGRAM_POSITIVE];
    assert_int_equal(side->span_count, 2);
    assert_int_equal(side->spans[0].offset, -1);
    assert_int_equal(side->spans[0].length, 2);
    assert_int_equal(side->spans[1].offset, 1);
    assert_int_equal(side->spans[1].length, 1);
    assert_int_equal(side->bucket_count, 3);
    const uint64_t merged[] = {1, 2, 7};
    assert_memory_equal(side->buckets, merged, sizeof(merged));
    assert_valid(histogram);
    /* From 52 all of a power of two falls into one bucket. */
    histogram = make_float(&made);
    histogram->schema = 52;
    made.spans[0][0].offset = 1;
    assert_int_equal(histogram_reduce(histogram, &arena, &err), NX_OK);
    side = &histogram->sides[HISTOGRAM_POSITIVE];
    assert_int_equal(side->bucket_count, 1);
    assert_true(side->buckets[0] == float_bits(5));
    assert_int_equal(side->spans[0].offset, 1);
    histogram = make(&made);
    histogram->schema = 20;
    made.spans[0][0].length = 1;
    assert_int_equal(histogram_reduce(histogram, &arena, &err), NX_E_INVALID);
    arena_deinit(&arena);
    arena_deinit(&spent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_histogram_equality_and_copies),
        cmocka_unit_test(test_histogram_total_adds_all_buckets),
        cmocka_unit_test(test_histogram_check_accepts_valid_ones),
        cmocka_unit_test(test_histogram_check_refuses_in_prometheus_words),
        cmocka_unit_test(test_histogram_check_refuses_custom_buckets),
        cmocka_unit_test(test_histogram_check_bounds_what_readers_walk),
        cmocka_unit_test(test_histogram_reduce_merges_buckets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
