/* SPDX-License-Identifier: Apache-2.0
 *
 * test_decode_v1.c - the scanner says what protobuf-c says, or declines; field numbers are those of the .proto.
 */
#include "narthex/base/rand.h"
#include "narthex/codec/protowire.h"
#include "narthex/ingest/decode_protobuf.h"
#include "narthex/ingest/decode_v1.h"
#include "narthex/model/staleness.h"

#include "remote_write_v1.pb-c.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define ARENA_MAX ((size_t)64 << 20)

static void put_label(struct nx_buf *out, const char *name, const char *value)
{
    struct nx_buf label = {0};
    protowire_put_bytes(&label, 1, nx_bytes_from_str(nx_str_from(name)));
    protowire_put_bytes(&label, 2, nx_bytes_from_str(nx_str_from(value)));
    protowire_put_bytes(out, 1, nx_buf_bytes(&label));
    nx_buf_deinit(&label);
}

static void put_sample(struct nx_buf *out, int64_t time_ms, double value)
{
    struct nx_buf sample = {0};
    protowire_put_double(&sample, 1, value);
    protowire_put_varint(&sample, 2, (uint64_t)time_ms);
    protowire_put_bytes(out, 2, nx_buf_bytes(&sample));
    nx_buf_deinit(&sample);
}

/* Both decoders over the same bytes: if the scanner accepts, protobuf-c gives the same. Returns the scanner's
 * verdict. */
static nx_code check_same(struct nx_bytes raw)
{
    struct write_batch fast, slow;
    struct nx_err err;
    write_batch_init(&fast, ARENA_MAX);
    write_batch_init(&slow, ARENA_MAX);
    nx_code verdict = decode_v1(raw, UINT32_MAX, &fast);
    if (verdict == NX_OK) {
        nx_code oracle = decode_protobuf(raw, UINT32_MAX, &slow, &err);
        /* Regions are opaque to the scanner: a request with labels that it cannot read goes to protobuf-c after all. */
        bool has_plain_labels = true;
        for (size_t i = 0; i < fast.series_count && has_plain_labels; i++) {
            struct label *items;
            size_t count;
            has_plain_labels = decode_v1_labels(fast.series[i].region, UINT32_MAX, &fast.arena,
                                                &items, &count) == NX_OK;
        }
        for (size_t i = 0; i < fast.series_count && has_plain_labels; i++) {
            struct label *items;
            size_t count;
            assert_int_equal(oracle, NX_OK);
            assert_int_equal(
                decode_v1_labels(fast.series[i].region, UINT32_MAX, &fast.arena, &items, &count),
                NX_OK);
            assert_int_equal(count, slow.series[i].labels.count);
            for (size_t j = 0; j < count; j++) {
                assert_true(nx_str_eq(items[j].name, slow.series[i].labels.items[j].name));
                assert_true(nx_str_eq(items[j].value, slow.series[i].labels.items[j].value));
            }
        }
        if (has_plain_labels) {
            assert_int_equal(oracle, NX_OK);
            assert_int_equal(fast.series_count, slow.series_count);
            assert_int_equal(fast.sample_count, slow.sample_count);
            for (size_t i = 0; i < fast.sample_count; i++) {
                assert_int_equal(fast.samples[i].time_ms, slow.samples[i].time_ms);
                assert_int_equal(float_bits(fast.samples[i].value),
                                 float_bits(slow.samples[i].value));
            }
        }
    }
    write_batch_deinit(&fast);
    write_batch_deinit(&slow);
    return verdict;
}

static void test_decode_v1_reads_labels_and_samples(void **state)
{
    (void)state;
    struct nx_buf series = {0}, raw = {0};
    put_label(&series, "__name__", "up");
    put_label(&series, "job", "node");
    put_sample(&series, 1700000000123, 1.5);
    put_sample(&series, -5, -0.0);
    protowire_put_bytes(&raw, 1, nx_buf_bytes(&series));

    struct write_batch batch;
    write_batch_init(&batch, ARENA_MAX);
    assert_int_equal(decode_v1(nx_buf_bytes(&raw), 10, &batch), NX_OK);
    assert_int_equal(batch.series_count, 1);
    assert_int_equal(batch.series[0].sample_count, 2);
    assert_int_equal(batch.samples[0].time_ms, 1700000000123);
    assert_int_equal(batch.samples[1].time_ms, -5);
    assert_int_equal(float_bits(batch.samples[1].value), UINT64_C(0x8000000000000000));
    struct label *items;
    size_t count;
    assert_int_equal(decode_v1_labels(batch.series[0].region, 10, &batch.arena, &items, &count),
                     NX_OK);
    assert_int_equal(count, 2);
    assert_true(nx_str_eq(items[1].value, NX_STR("node")));
    assert_int_equal(decode_v1_labels(batch.series[0].region, 1, &batch.arena, &items, &count),
                     NX_E_LIMIT);
    write_batch_reset(&batch);
    assert_int_equal(decode_v1(nx_buf_bytes(&raw), 1, &batch), NX_E_LIMIT);
    write_batch_deinit(&batch);
    nx_buf_deinit(&series);
    nx_buf_deinit(&raw);
}

static void test_decode_v1_reads_what_protobuf_c_packs(void **state)
{
    (void)state;
    Nxpb__V1__Label label = NXPB__V1__LABEL__INIT;
    Nxpb__V1__Sample sample = NXPB__V1__SAMPLE__INIT;
    Nxpb__V1__TimeSeries series = NXPB__V1__TIME_SERIES__INIT;
    Nxpb__V1__WriteRequest request = NXPB__V1__WRITE_REQUEST__INIT;
    uint8_t name[] = "__name__", value[] = "x";
    label.name = (ProtobufCBinaryData){.len = 8, .data = name};
    label.value = (ProtobufCBinaryData){.len = 1, .data = value};
    sample.value = 0; /* zero is not sent */
    sample.timestamp = 42;
    Nxpb__V1__Label *labels[] = {&label};
    Nxpb__V1__Sample *samples[] = {&sample};
    Nxpb__V1__TimeSeries *all[] = {&series};
    series.n_labels = series.n_samples = request.n_timeseries = 1;
    series.labels = labels;
    series.samples = samples;
    request.timeseries = all;
    uint8_t packed[200];
    size_t bytes = nxpb__v1__write_request__pack(&request, packed);
    assert_int_equal(check_same((struct nx_bytes){packed, bytes}), NX_OK);
}

static void test_decode_v1_declines_what_it_does_not_know(void **state)
{
    (void)state;
    struct nx_buf series = {0}, raw = {0};
    put_sample(&series, 1, 1);
    put_label(&series, "__name__", "reordered");
    protowire_put_bytes(&raw, 1, nx_buf_bytes(&series));
    assert_int_equal(check_same(nx_buf_bytes(&raw)), NX_E_UNSUPPORTED);

    nx_buf_reset(&raw);
    protowire_put_bytes(&raw, 3, nx_bytes_from_str(NX_STR("\x08\x01")));
    assert_int_equal(check_same(nx_buf_bytes(&raw)), NX_E_UNSUPPORTED);

    nx_buf_reset(&series);
    nx_buf_reset(&raw);
    put_label(&series, "__name__", "h");
    protowire_put_bytes(&series, 4, nx_bytes_from_str(NX_STR("\x08\x01")));
    protowire_put_bytes(&raw, 1, nx_buf_bytes(&series));
    assert_int_equal(check_same(nx_buf_bytes(&raw)), NX_E_UNSUPPORTED);
    nx_buf_deinit(&series);
    nx_buf_deinit(&raw);
}

/* Random requests, then random damage to them: never a crash, never another meaning. */
static void test_decode_v1_agrees_with_protobuf_c_on_damaged_bytes(void **state)
{
    (void)state;
    const char *seed_text = getenv("NARTHEX_SEED");
    uint64_t seed = seed_text != NULL ? strtoull(seed_text, NULL, 10) : 20;
    print_message("replay with NARTHEX_SEED=%" PRIu64 "\n", seed);
    struct rand_state rand;
    rand_seed(&rand, seed);
    unsigned accepted = 0;
    for (unsigned round = 0; round < 20000; round++) {
        struct nx_buf raw = {0};
        for (uint64_t s = rand_below(&rand, 4); s > 0; s--) {
            struct nx_buf series = {0};
            char text[32];
            for (uint64_t l = rand_below(&rand, 5); l > 0; l--) {
                snprintf(text, sizeof(text), "l%" PRIu64, rand_below(&rand, 100));
                put_label(&series, text, rand_below(&rand, 4) == 0 ? "" : text);
            }
            for (uint64_t p = rand_below(&rand, 3); p > 0; p--)
                put_sample(&series, (int64_t)rand_below(&rand, 1u << 30),
                           (double)rand_below(&rand, 3));
            protowire_put_bytes(&raw, 1, nx_buf_bytes(&series));
            nx_buf_deinit(&series);
        }
        for (uint64_t d = rand_below(&rand, 3); d > 0 && raw.len > 0; d--)
            raw.data[rand_below(&rand, raw.len)] = (uint8_t)rand_u64(&rand);
        if (raw.len > 0 && rand_below(&rand, 8) == 0)
            raw.len = rand_below(&rand, raw.len);
        accepted += check_same(nx_buf_bytes(&raw)) == NX_OK;
        nx_buf_deinit(&raw);
    }
    assert_true(accepted > 1000);
}

static void test_decode_protobuf_is_bounded_in_memory(void **state)
{
    (void)state;
    struct write_batch batch;
    struct nx_err err;
    struct nx_buf raw = {0};
    for (unsigned i = 0; i < 400000; i++)
        nx_buf_append(&raw, "\x0a\x00", 2); /* empty series: 2 bytes become a hundred */
    write_batch_init(&batch, 1 << 20);
    assert_int_equal(decode_protobuf(nx_buf_bytes(&raw), UINT32_MAX, &batch, &err), NX_E_LIMIT);
    write_batch_deinit(&batch);
    nx_buf_deinit(&raw);
}

static void test_decode_v1_counts_series_without_samples(void **state)
{
    (void)state;
    struct write_batch batch;
    struct nx_buf raw = {0};
    for (unsigned i = 0; i < 100; i++)
        nx_buf_append(&raw, "\x0a\x00", 2);
    write_batch_init(&batch, 0);
    assert_int_equal(decode_v1(nx_buf_bytes(&raw), 100, &batch), NX_OK);
    assert_int_equal(batch.series_count, 100);
    write_batch_reset(&batch);
    assert_int_equal(decode_v1(nx_buf_bytes(&raw), 99, &batch), NX_E_LIMIT);
    write_batch_deinit(&batch);
    nx_buf_deinit(&raw);
}

static void test_decode_v1_stops_inside_a_series_of_too_many_samples(void **state)
{
    (void)state;
    struct write_batch batch;
    struct nx_buf raw = {0};
    nx_buf_append(&raw, "\x0a\x64", 2); /* one series of 100 bytes: 50 samples of zero */
    for (unsigned i = 0; i < 50; i++)
        nx_buf_append(&raw, "\x12\x00", 2);
    write_batch_init(&batch, 0);
    assert_int_equal(decode_v1(nx_buf_bytes(&raw), 10, &batch), NX_E_LIMIT);
    assert_int_equal(batch.sample_count, 11);
    write_batch_deinit(&batch);
    nx_buf_deinit(&raw);
}

static void test_write_batch_trim_keeps_only_arrays_of_usual_size(void **state)
{
    (void)state;
    struct write_batch batch;
    write_batch_init(&batch, 0);
    for (unsigned i = 0; i < 1000; i++)
        write_batch_push_series(&batch);
    write_batch_trim(&batch);
    assert_true(batch.series_cap >= 1000);
    for (unsigned i = 0; i < WRITE_BATCH_SERIES_KEPT + 1; i++)
        write_batch_push_series(&batch);
    for (unsigned i = 0; i < WRITE_BATCH_SAMPLES_KEPT + 1; i++)
        write_batch_push_sample(&batch, 1, 1.0);
    write_batch_reset(&batch);
    write_batch_trim(&batch);
    assert_int_equal(batch.series_cap, 0);
    assert_int_equal(batch.sample_cap, 0);
    assert_non_null(write_batch_push_series(&batch));
    write_batch_deinit(&batch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode_v1_reads_labels_and_samples),
        cmocka_unit_test(test_decode_v1_reads_what_protobuf_c_packs),
        cmocka_unit_test(test_decode_v1_declines_what_it_does_not_know),
        cmocka_unit_test(test_decode_v1_agrees_with_protobuf_c_on_damaged_bytes),
        cmocka_unit_test(test_decode_protobuf_is_bounded_in_memory),
        cmocka_unit_test(test_decode_v1_counts_series_without_samples),
        cmocka_unit_test(test_decode_v1_stops_inside_a_series_of_too_many_samples),
        cmocka_unit_test(test_write_batch_trim_keeps_only_arrays_of_usual_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
