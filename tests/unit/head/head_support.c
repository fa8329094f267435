/* SPDX-License-Identifier: Apache-2.0 */
/* head_support.c - for the tests of the head. */
#include "head_support.h"

#include <string.h>

void test_labels_make(struct test_labels *out, const char *text)
{
    size_t length = strlen(text);
    assert_true(length < sizeof(out->text));
    memcpy(out->text, text, length + 1);
    size_t count = 0;
    struct nx_str rest = nx_str_from(out->text);
    while (rest.len > 0) {
        struct nx_str pair;
        struct nx_str after = {0};
        if (!nx_str_split(rest, ',', &pair, &after))
            after = (struct nx_str){0};
        struct nx_str value;
        assert_true(nx_str_split(pair, '=', &out->items[count].name, &value));
        out->items[count++].value = value;
        rest = after;
    }
    count = labels_canonicalize(out->items, count);
    out->labels = (struct labels){.items = out->items, .count = count};
}

struct head *test_head_new(uint64_t series_max)
{
    struct head *head = NULL;
    struct nx_err err;
    struct head_options options = {.series_max = series_max};
    assert_int_equal(head_new(&head, &options, &err), NX_OK);
    return head;
}

struct head_write test_write_bits(struct head *head, struct series_ref *ref, struct labels labels,
                                  int64_t time_ms, uint64_t bits)
{
    struct sample sample = {.time_ms = time_ms, .value = float_from_bits(bits)};
    memcpy(&sample.value, &bits, sizeof(bits));
    struct head_write write = {
        .ref = {.slot = HEAD_SLOT_NONE}, .labels = labels, .samples = &sample, .sample_count = 1};
    if (ref != NULL)
        write.ref = *ref;
    head_append(head, &write, 1, INT64_MIN, INT64_MAX);
    write.samples = NULL;
    if (ref != NULL)
        *ref = write.ref;
    return write;
}

struct head_write test_write(struct head *head, struct series_ref *ref, struct labels labels,
                             int64_t time_ms, double value)
{
    return test_write_bits(head, ref, labels, time_ms, float_bits(value));
}

struct test_columns test_read(struct head *head, struct series_ref ref, int64_t min_ms,
                              int64_t max_ms)
{
    struct test_columns columns = {0};
    struct nx_err err;
    assert_int_equal(head_read(head, ref, min_ms, max_ms, &columns.times, &columns.values, &err),
                     NX_OK);
    assert_int_equal(columns.times.len, columns.values.len);
    columns.times_ms = (const int64_t *)(void *)columns.times.data;
    columns.bits = (const uint64_t *)(void *)columns.values.data;
    columns.count = columns.times.len / sizeof(int64_t);
    return columns;
}

void test_columns_deinit(struct test_columns *columns)
{
    nx_buf_deinit(&columns->times);
    nx_buf_deinit(&columns->values);
}

size_t test_drop_pending(struct head *head, size_t *out_definitions)
{
    size_t samples = 0;
    size_t definitions = 0;
    for (unsigned s = 0; s < HEAD_SHARD_COUNT; s++) {
        struct journal_buffer buffer = {0};
        head_take_pending(head, s, &buffer);
        samples += buffer.sample_count;
        definitions += buffer.definition_count;
        journal_buffer_deinit(&buffer);
    }
    if (out_definitions != NULL)
        *out_definitions = definitions;
    return samples;
}

size_t test_flush(struct head *head, bool is_published, size_t *out_series)
{
    struct head_flush *flush = NULL;
    struct nx_err err;
    struct head_flush_series series;
    size_t samples = 0;
    size_t count = 0;
    int more;
    assert_int_equal(head_flush_begin(head, &flush, &err), NX_OK);
    while ((more = head_flush_next(flush, &series, &err)) > 0) {
        samples += series.count;
        count++;
    }
    assert_int_equal(more, 0);
    head_flush_end(flush, is_published);
    if (out_series != NULL)
        *out_series = count;
    return samples;
}
