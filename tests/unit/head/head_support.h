/* head_support.h - for the tests of the head: series to write, and what comes back. */
#pragma once

#include "narthex/base/assert.h"
#include "narthex/base/mem.h"
#include "narthex/base/rand.h"
#include "narthex/head/head.h"
#include "narthex/model/staleness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define TEST_LABELS_MAX 24

/* A label set that owns its text: "a=b,c=d". */
struct test_labels {
    char text[400];
    struct label items[TEST_LABELS_MAX];
    struct labels labels;
};
void test_labels_make(struct test_labels *out, const char *text);

struct head *test_head_new(uint64_t series_max);

/* One sample by labels or by ref; the write comes back for a look at its counts. */
struct head_write test_write(struct head *head, struct series_ref *ref, struct labels labels,
                             int64_t time_ms, double value);
struct head_write test_write_bits(struct head *head, struct series_ref *ref, struct labels labels,
                                  int64_t time_ms, uint64_t bits);

/* Samples of a series as columns; free with test_columns_deinit. */
struct test_columns {
    struct nx_buf times, values;
    const int64_t *times_ms;
    const uint64_t *bits;
    size_t count;
};
struct test_columns test_read(struct head *head, struct series_ref ref, int64_t min_ms,
                              int64_t max_ms);
void test_columns_deinit(struct test_columns *columns);

/* Everything pending, dropped; returns the number of samples. */
size_t test_drop_pending(struct head *head, size_t *out_definitions);

/* Runs a whole flush; returns the number of samples and, when not NULL, that of the series. */
size_t test_flush(struct head *head, bool is_published, size_t *out_series);
