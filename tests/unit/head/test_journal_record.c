/* SPDX-License-Identifier: Apache-2.0 */
/* test_journal_record.c - one record's bytes, there and back. */
#include "narthex/base/mem.h"
#include "narthex/model/staleness.h"

#include "journal_support.h"

#include <stdio.h>
#include <string.h>

struct codec_pair {
    struct journal_codec *writer;
    struct journal_codec *reader;
    struct nx_buf out;
};

static void pair_init(struct codec_pair *pair)
{
    *pair = (struct codec_pair){0};
    pair->writer = nx_calloc(1, sizeof(*pair->writer));
    pair->reader = nx_calloc(1, sizeof(*pair->reader));
    journal_codec_init(pair->writer);
    journal_codec_init(pair->reader);
}

static void pair_deinit(struct codec_pair *pair)
{
    journal_codec_deinit(pair->writer);
    journal_codec_deinit(pair->reader);
    nx_free(pair->writer);
    nx_free(pair->reader);
    nx_buf_deinit(&pair->out);
}

/* The writer's columns as a record, read back. */
static nx_code pair_pass(struct codec_pair *pair, size_t count)
{
    nx_buf_reset(&pair->out);
    journal_record_put_samples(pair->writer, count, 7, 4096, &pair->out);
    assert_true(pair->out.len <= journal_samples_bound(count));
    struct journal_record record;
    assert_true(journal_record_parse(nx_buf_bytes(&pair->out), &record));
    assert_int_equal(record.bytes, pair->out.len);
    assert_true(journal_record_verifies(nx_buf_bytes(&pair->out), &record, 7, 4096));
    assert_false(journal_record_verifies(nx_buf_bytes(&pair->out), &record, 8, 4096));
    assert_false(journal_record_verifies(nx_buf_bytes(&pair->out), &record, 7, 8192));
    struct nx_bytes payload = {.data = pair->out.data + JOURNAL_RECORD_HEADER,
                               .len = record.payload_bytes};
    return journal_record_get_samples(pair->reader, &record, payload);
}

static void assert_same_columns(const struct codec_pair *pair, size_t count)
{
    assert_memory_equal(pair->writer->slots, pair->reader->slots, count * sizeof(uint32_t));
    assert_memory_equal(pair->writer->times_ms, pair->reader->times_ms, count * sizeof(int64_t));
    assert_memory_equal(pair->writer->value_bits, pair->reader->value_bits,
                        count * sizeof(uint64_t));
}

static void test_record_of_random_columns_comes_back(void **state)
{
    (void)state;
    struct codec_pair pair;
    pair_init(&pair);
    struct rand_state rand;
    rand_seed(&rand, 1);
    for (unsigned round = 0; round < 400; round++) {
        size_t count = 1 + (size_t)rand_below(&rand, round % 4 == 0 ? JOURNAL_RECORD_SAMPLES : 40);
        struct journal_buffer buffer = {0};
        journal_test_fill(&rand, &buffer, 5000, count, (int64_t)round * 15000, NULL);
        if (round % 5 == 0) { /* as many distinct times as samples, far apart */
            for (size_t i = 0; i < count; i++)
                buffer.times_ms[i] = (int64_t)rand_u64(&rand);
        }
        memcpy(pair.writer->slots, buffer.slots, count * sizeof(uint32_t));
        memcpy(pair.writer->times_ms, buffer.times_ms, count * sizeof(int64_t));
        memcpy(pair.writer->value_bits, buffer.value_bits, count * sizeof(uint64_t));
        journal_buffer_deinit(&buffer);
        assert_int_equal(pair_pass(&pair, count), NX_OK);
        assert_same_columns(&pair, count);
    }
    pair_deinit(&pair);
}

static void test_record_keeps_the_bits_of_odd_values(void **state)
{
    (void)state;
    static const uint64_t odd[] = {
        0,
        UINT64_C(0x8000000000000000), /* -0 */
        1,
        UINT64_C(0x000fffffffffffff),
        UINT64_C(0x7ff0000000000000),
        UINT64_C(0xfff0000000000000),
        STALE_NAN_BITS,
        ORDINARY_NAN_BITS,
        UINT64_C(0xffffffffffffffff),
        UINT64_C(0x4340000000000000), /* 2^53 */
        UINT64_C(0xc340000000000000),
        UINT64_C(0x4340000000000001),
        UINT64_C(0x3ff0000000000000),
        UINT64_C(0xbff0000000000000),
    };
    struct codec_pair pair;
    pair_init(&pair);
    size_t count = 0;
    for (size_t a = 0; a < NX_ARRAY_LEN(odd); a++) {
        for (size_t b = 0; b < NX_ARRAY_LEN(odd); b++) {
            for (unsigned part = 0; part < 2; part++) {
                pair.writer->slots[count] = (uint32_t)(a * 100 + b);
                pair.writer->times_ms[count] = part == 0 ? INT64_MIN : INT64_MAX;
                pair.writer->value_bits[count++] = part == 0 ? odd[a] : odd[b];
            }
        }
    }
    assert_int_equal(pair_pass(&pair, count), NX_OK);
    assert_same_columns(&pair, count);
    pair_deinit(&pair);
}

static void test_record_takes_the_highest_slot(void **state)
{
    (void)state;
    struct codec_pair pair;
    pair_init(&pair);
    static const uint32_t slots[] = {0, JOURNAL_SLOT_LIMIT - 1, 15, JOURNAL_SLOT_LIMIT - 1, 0};
    for (size_t i = 0; i < NX_ARRAY_LEN(slots); i++) {
        pair.writer->slots[i] = slots[i];
        pair.writer->times_ms[i] = 5;
        pair.writer->value_bits[i] = i;
    }
    assert_int_equal(pair_pass(&pair, NX_ARRAY_LEN(slots)), NX_OK);
    assert_same_columns(&pair, NX_ARRAY_LEN(slots));
    pair_deinit(&pair);
}

/* A reader that missed the first record must notice in the second, never give wrong values. */
static void test_record_coded_against_a_lost_one_is_corrupt(void **state)
{
    (void)state;
    struct codec_pair pair;
    pair_init(&pair);
    for (unsigned pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < 100; i++) {
            pair.writer->slots[i] = i;
            pair.writer->times_ms[i] = 1000 * pass;
            pair.writer->value_bits[i] = float_bits(1000.0 + i + pass);
        }
        if (pass == 0) {
            journal_record_put_samples(pair.writer, 100, 7, 4096, &pair.out);
            continue;
        }
        assert_int_equal(pair_pass(&pair, 100), NX_E_CORRUPT);
    }
    pair_deinit(&pair);
}

static void test_constant_values_of_a_scrape_cost_next_to_nothing(void **state)
{
    (void)state;
    struct codec_pair pair;
    pair_init(&pair);
    for (unsigned pass = 0; pass < 3; pass++) {
        for (uint32_t i = 0; i < 2000; i++) {
            pair.writer->slots[i] = i * 16 + 3;
            pair.writer->times_ms[i] = 1000000 + 15000 * (int64_t)pass;
            pair.writer->value_bits[i] = float_bits(0.125 * i);
        }
        assert_int_equal(pair_pass(&pair, 2000), NX_OK);
    }
    assert_in_range(pair.out.len, 1, 100);
    pair_deinit(&pair);
}

/* ---- definitions ---- */

static struct journal_record definitions_record(const struct journal_buffer *buffer,
                                                struct nx_buf *out)
{
    struct journal_record record;
    journal_record_put_entries(JOURNAL_RECORD_DEFINITIONS, nx_buf_bytes(&buffer->definitions),
                               buffer->definition_count, 3, 64, out);
    assert_true(journal_record_parse(nx_buf_bytes(out), &record));
    assert_true(journal_record_verifies(nx_buf_bytes(out), &record, 3, 64));
    return record;
}

static void test_definitions_come_back(void **state)
{
    (void)state;
    struct journal_buffer buffer = {0};
    struct journal_log sent = {0};
    struct journal_log got = {0};
    static char long_value[200000];
    memset(long_value, 'v', sizeof(long_value));
    for (uint32_t i = 0; i < 500; i++) {
        char pod[32];
        snprintf(pod, sizeof(pod), "pod-%u", i * 7919u);
        struct label items[] = {
            {.name = NX_STR("__name__"), .value = NX_STR("up")},
            {.name = NX_STR("image"),
             .value = {.data = long_value, .len = i == 77 ? sizeof(long_value) : 3}},
            {.name = NX_STR("pod"), .value = nx_str_from(pod)},
        };
        struct labels labels = {.items = items, .count = i == 3 ? 0 : 3};
        journal_buffer_define(&buffer, i * 16, labels);
        journal_log_define(&sent, i * 16, labels);
    }
    struct nx_buf out = {0};
    struct journal_record record = definitions_record(&buffer, &out);
    struct journal_codec *codec = nx_calloc(1, sizeof(*codec));
    struct journal_visitor visitor = journal_log_visitor(&got);
    bool is_visitor;
    struct nx_err err;
    struct nx_bytes payload = {.data = out.data + JOURNAL_RECORD_HEADER,
                               .len = record.payload_bytes};
    assert_int_equal(
        journal_record_get_definitions(codec, &record, payload, &visitor, &is_visitor, &err),
        NX_OK);
    assert_true(journal_log_equal(&sent, &got));
    assert_int_equal(got.definition_count, 500);

    record.count--; /* one more than announced */
    assert_int_equal(
        journal_record_get_definitions(codec, &record, payload, &visitor, &is_visitor, &err),
        NX_E_CORRUPT);
    assert_false(is_visitor);
    got.fail_with = NX_E_LIMIT;
    assert_int_equal(
        journal_record_get_definitions(codec, &record, payload, &visitor, &is_visitor, &err),
        NX_E_LIMIT);
    assert_true(is_visitor);

    journal_codec_deinit(codec);
    nx_free(codec);
    nx_buf_deinit(&out);
    journal_buffer_deinit(&buffer);
    journal_log_deinit(&sent);
    journal_log_deinit(&got);
}

static void test_side_entries_that_are_malformed_are_refused_whole(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        uint32_t count;
    } cases[] = {
        {"", 0, 1},                           /* fewer than announced */
        {"\x03\x10\x02!", 4, 2},              /* likewise */
        {"\x03\x10\x02!\x03\x10\x02!", 8, 1}, /* more */
        {"\x04\x10\x02!", 4, 1},              /* longer than what is there */
        {"\x01\x10", 2, 1},                   /* no time */
        {"\x00", 1, 1},                       /* nothing */
        {"\x05\x80\x80\x80\x40\x02", 6, 1},   /* slot 2^27 */
        {"\x03\x10\x02!\x00", 5, 2},          /* the second is bad, the first is not told */
        {"\x02\x80\x80\x02", 4, 1},           /* a slot beyond its entry */
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x10\x02", 12, 1}, /* a huge length */
    };
    struct journal_log got = {0};
    struct journal_visitor visitor = journal_log_visitor(&got);
    struct journal_codec *codec = nx_calloc(1, sizeof(*codec));
    struct nx_err err;
    bool is_visitor;
    for (size_t i = 0; i < NX_ARRAY_LEN(cases); i++) {
        struct nx_bytes payload = {.data = (const uint8_t *)cases[i].bytes, .len = cases[i].len};
        struct journal_record record = {
            .type = JOURNAL_RECORD_EXEMPLARS,
            .count = cases[i].count,
            .raw_bytes = (uint32_t)payload.len,
            .payload_bytes = (uint32_t)payload.len,
        };
        assert_int_equal(
            journal_record_get_blobs(codec, &record, payload, &visitor, &is_visitor, &err),
            NX_E_CORRUPT);
        assert_false(is_visitor);
    }
    assert_int_equal(got.blob_count, 0);
    struct journal_record record = {.type = JOURNAL_RECORD_EXEMPLARS, .count = 1, .raw_bytes = 4};
    record.payload_bytes = 4;
    struct nx_bytes payload = {.data = (const uint8_t *)"\x03\x10\x02!", .len = 4};
    assert_int_equal(journal_record_get_blobs(codec, &record, payload, &visitor, &is_visitor, &err),
                     NX_OK);
    assert_true(nx_str_eq(nx_buf_str(&got.blobs[1]), NX_STR("16 1 21\n")));
    got.fail_with = NX_E_LIMIT;
    assert_int_equal(journal_record_get_blobs(codec, &record, payload, &visitor, &is_visitor, &err),
                     NX_E_LIMIT);
    assert_true(is_visitor);
    visitor.blob = NULL;
    assert_int_equal(journal_record_get_blobs(codec, &record, payload, &visitor, &is_visitor, &err),
                     NX_OK);
    journal_codec_deinit(codec);
    nx_free(codec);
    journal_log_deinit(&got);
}

/* Any change of a verified payload that unpacks must give an error or a well-formed result, never a crash. */
static void test_payloads_are_hostile(void **state)
{
    (void)state;
    struct codec_pair pair;
    pair_init(&pair);
    struct rand_state rand;
    rand_seed(&rand, 3);
    struct journal_buffer buffer = {0};
    journal_test_fill(&rand, &buffer, 900, 300, 15000, NULL);
    for (unsigned round = 0; round < 20000; round++) {
        size_t count = 1 + (size_t)rand_below(&rand, 300);
        memcpy(pair.writer->slots, buffer.slots, count * sizeof(uint32_t));
        memcpy(pair.writer->times_ms, buffer.times_ms, count * sizeof(int64_t));
        memcpy(pair.writer->value_bits, buffer.value_bits, count * sizeof(uint64_t));
        nx_buf_reset(&pair.out);
        journal_record_put_samples(pair.writer, count, 7, 4096, &pair.out);
        /* the columns before zstd, changed and plain */
        struct nx_buf raw = {0};
        nx_buf_append(&raw, pair.writer->raw.data, pair.writer->raw.len);
        for (unsigned i = 0; i < 3; i++)
            raw.data[rand_below(&rand, raw.len)] = (uint8_t)rand_u64(&rand);
        raw.len -= (size_t)rand_below(&rand, 3) < raw.len ? (size_t)rand_below(&rand, 3) : 0;
        struct journal_record record = {
            .type = JOURNAL_RECORD_SAMPLE_COLUMNS,
            .count = (uint32_t)(count + rand_below(&rand, 2)),
            .raw_bytes = (uint32_t)raw.len,
            .payload_bytes = (uint32_t)raw.len,
        };
        assert_int_equal(journal_record_get_samples(pair.reader, &record, nx_buf_bytes(&raw)),
                         NX_E_CORRUPT);
        nx_buf_deinit(&raw);
    }
    journal_buffer_deinit(&buffer);
    pair_deinit(&pair);
}

static void test_buffer_reset_gives_back_large_memory(void **state)
{
    (void)state;
    struct journal_buffer buffer = {0};
    journal_buffer_reserve(&buffer, 1000);
    assert_true(buffer.sample_cap >= 1000);
    journal_buffer_push(&buffer, 1, 2, 3);
    journal_buffer_reset(&buffer);
    assert_true(buffer.sample_cap >= 1000);
    assert_int_equal(buffer.sample_count, 0);
    journal_buffer_reserve(&buffer, 1000000);
    journal_buffer_reset(&buffer);
    assert_int_equal(buffer.sample_cap, 0);
    journal_buffer_reserve(&buffer, 1);
    journal_buffer_push(&buffer, 1, 2, 3);
    assert_int_equal(buffer.slots[0], 1);
    journal_buffer_deinit(&buffer);
    journal_buffer_deinit(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record_of_random_columns_comes_back),
        cmocka_unit_test(test_record_keeps_the_bits_of_odd_values),
        cmocka_unit_test(test_record_takes_the_highest_slot),
        cmocka_unit_test(test_record_coded_against_a_lost_one_is_corrupt),
        cmocka_unit_test(test_constant_values_of_a_scrape_cost_next_to_nothing),
        cmocka_unit_test(test_definitions_come_back),
        cmocka_unit_test(test_side_entries_that_are_malformed_are_refused_whole),
        cmocka_unit_test(test_payloads_are_hostile),
        cmocka_unit_test(test_buffer_reset_gives_back_large_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
