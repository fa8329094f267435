/* SPDX-License-Identifier: Apache-2.0 */
/* test_postings.c - set algebra against a plain bitmap, packed lists there and back, damaged lists refused. What we
 * rely on in CRoaring is pinned here. */
#include "narthex/base/mem.h"
#include "narthex/base/rand.h"
#include "narthex/codec/postings.h"

#include "codec_support.h"

#include <string.h>

#define WORLD 400000u /* ids of the naive twin: seven Roaring containers */

struct twin {
    struct postings *set;
    uint8_t *has;
};

static struct twin twin_new(void)
{
    return (struct twin){postings_new(), nx_calloc(WORLD, 1)};
}

static void twin_free(struct twin *twin)
{
    postings_free(twin->set);
    nx_free(twin->has);
}

static void twin_check(const struct twin *twin)
{
    uint64_t count = 0;
    for (uint32_t id = 0; id < WORLD; id++)
        count += twin->has[id];
    assert_int_equal(postings_count(twin->set), count);
    uint32_t *ids = nx_alloc((count + 1) * sizeof(*ids));
    postings_to_array(twin->set, ids);
    bool is_same = true;
    for (uint64_t i = 0; i < count; i++)
        is_same = is_same && ids[i] < WORLD && twin->has[ids[i]] && (i == 0 || ids[i] > ids[i - 1]);
    assert_true(is_same);
    nx_free(ids);
}

/* Fills with shapes that make every kind of container: arrays, bitmaps, runs. */
static void twin_fill(struct twin *twin, struct rand_state *rand)
{
    for (uint64_t shapes = 1 + rand_below(rand, 5); shapes > 0; shapes--) {
        uint32_t first = (uint32_t)rand_below(rand, WORLD);
        uint32_t length = (uint32_t)rand_below(rand, 1u << rand_below(rand, 19));
        uint32_t step = (uint32_t)(1 + rand_below(rand, 1u << rand_below(rand, 12)));
        for (uint32_t id = first; id < WORLD && id - first < length; id += step) {
            postings_add(twin->set, id);
            twin->has[id] = 1;
        }
    }
}

static void test_postings_algebra_matches_a_bitmap(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 41);
    for (int trial = 0; trial < 48; trial++) {
        struct twin a = twin_new();
        struct twin b = twin_new();
        twin_fill(&a, &rand);
        twin_fill(&b, &rand);
        bool intersects = false;
        for (uint32_t id = 0; id < WORLD; id++)
            intersects = intersects || (a.has[id] && b.has[id]);
        assert_int_equal(postings_intersects(a.set, b.set), intersects);
        for (uint32_t id = 0; id < WORLD; id++) {
            if (trial % 3 == 0)
                a.has[id] &= b.has[id];
            else if (trial % 3 == 1)
                a.has[id] |= b.has[id];
            else
                a.has[id] &= (uint8_t)!b.has[id];
        }
        if (trial % 3 == 0)
            postings_and(a.set, b.set);
        else if (trial % 3 == 1)
            postings_or(a.set, b.set);
        else
            postings_and_not(a.set, b.set);
        twin_check(&a);
        twin_check(&b);
        twin_free(&a);
        twin_free(&b);
    }
}

static void test_postings_add_and_remove_single_ids(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 43);
    struct twin twin = twin_new();
    twin_fill(&twin, &rand);
    for (int i = 0; i < 20000; i++) {
        uint32_t id = (uint32_t)rand_below(&rand, WORLD);
        assert_int_equal(postings_has(twin.set, id), twin.has[id]);
        if (rand_below(&rand, 2) == 0)
            postings_add(twin.set, id);
        else
            postings_remove(twin.set, id);
        twin.has[id] = postings_has(twin.set, id);
    }
    twin_check(&twin);
    twin_free(&twin);
}

static void test_postings_with_itself(void **state)
{
    (void)state;
    struct postings *set = postings_from_range(10, 20);
    postings_and(set, set);
    assert_int_equal(postings_count(set), 10);
    postings_or(set, set);
    assert_int_equal(postings_count(set), 10);
    assert_true(postings_intersects(set, set));
    postings_and_not(set, set);
    assert_int_equal(postings_count(set), 0);
    assert_false(postings_intersects(set, set));
    postings_free(set);
    postings_free(NULL);
}

static void test_postings_ranges_and_arrays(void **state)
{
    (void)state;
    struct postings *set = postings_from_range(5, 5);
    assert_int_equal(postings_count(set), 0);
    postings_free(set);
    set = postings_from_range(0, UINT32_MAX);
    assert_int_equal(postings_count(set), UINT32_MAX);
    assert_true(postings_has(set, 0));
    assert_true(postings_has(set, UINT32_MAX - 1));
    assert_false(postings_has(set, UINT32_MAX));
    assert_in_range(postings_memory(set), 1, 4000000);
    postings_free(set);
    const uint32_t ids[] = {9, 3, 70000, 3, UINT32_MAX, 0};
    set = postings_from_array(ids, 6);
    uint32_t sorted[5];
    assert_int_equal(postings_count(set), 5);
    postings_to_array(set, sorted);
    const uint32_t expected[] = {0, 3, 9, 70000, UINT32_MAX};
    assert_memory_equal(sorted, expected, sizeof(expected));
    postings_free(set);
    set = postings_from_array(NULL, 0);
    assert_int_equal(postings_count(set), 0);
    postings_free(set);
}

static void test_postings_memory_follows_the_set(void **state)
{
    (void)state;
    struct postings *set = postings_new();
    size_t empty = postings_memory(set);
    for (uint32_t id = 0; id < 60000; id += 3)
        postings_add(set, id);
    assert_in_range(postings_memory(set), empty + 8192, empty + 20000);
    postings_free(set);
}

/* Packs, looks at the kind, unpacks into an empty and a filled set. Returns the size. */
static size_t check_list(const uint32_t *ids, size_t count, uint32_t id_bound)
{
    struct nx_buf buf = {0};
    nx_buf_append_byte(&buf, 0x77);
    postings_encode(ids, count, &buf);
    assert_int_equal(buf.data[0], 0x77);
    struct nx_bytes list = {buf.data + 1, buf.len - 1};
    assert_int_equal(postings_encoded_count(list), count);

    struct postings *set = postings_new();
    assert_int_equal(postings_decode_into(list, id_bound, set), NX_OK);
    assert_int_equal(postings_count(set), count);
    uint32_t *back = nx_alloc((count + 1) * sizeof(*back));
    postings_to_array(set, back);
    if (count != 0)
        assert_memory_equal(back, ids, count * sizeof(*ids));
    assert_int_equal(postings_decode_into(list, id_bound, set), NX_OK); /* OR with itself */
    assert_int_equal(postings_count(set), count);
    if (count != 0) {
        struct postings *bounded = postings_new();
        assert_int_equal(postings_decode_into(list, ids[count - 1], bounded), NX_E_CORRUPT);
        assert_int_equal(postings_count(bounded), 0);
        postings_free(bounded);
    }
    postings_free(set);
    nx_free(back);
    nx_buf_deinit(&buf);
    return list.len;
}

static void test_postings_lists_round_trip(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 47);
    uint32_t *ids = nx_alloc(WORLD * sizeof(*ids));
    assert_int_equal(check_list(ids, 0, 0), 2);
    for (int trial = 0; trial < 50; trial++) {
        struct twin twin = twin_new();
        twin_fill(&twin, &rand);
        size_t count = postings_count(twin.set);
        postings_to_array(twin.set, ids);
        check_list(ids, count, WORLD);
        twin_free(&twin);
    }
    const uint32_t ends[] = {0, UINT32_MAX - 1};
    check_list(ends, 2, UINT32_MAX);
    nx_free(ids);
}

static void test_postings_lists_take_the_smallest_form(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 53);
    uint32_t *ids = nx_alloc(WORLD * sizeof(*ids));
    for (uint32_t i = 0; i < WORLD; i++)
        ids[i] = i;
    assert_in_range(check_list(ids, WORLD, WORLD), 5, 10); /* one run */
    for (uint32_t i = 0; i < 40; i++)
        ids[i] = i * 90;
    assert_int_equal(check_list(ids, 40, WORLD), 2 + 40); /* a byte each */
    size_t count = 0;
    for (uint32_t i = 0; i < WORLD; i++)
        if (rand_below(&rand, 2) == 0)
            ids[count++] = i;
    assert_in_range(check_list(ids, count, WORLD), WORLD / 8, WORLD / 8 + 10000); /* bitmaps */
    nx_free(ids);
}

static void check_refused(const uint8_t *bytes, size_t len)
{
    struct postings *set = postings_from_range(3, 5);
    assert_int_equal(postings_decode_into((struct nx_bytes){bytes, len}, 100, set), NX_E_CORRUPT);
    assert_int_equal(postings_count(set), 2);
    postings_free(set);
}

static void test_postings_malformed_varint_lists_are_refused(void **state)
{
    (void)state;
    const uint8_t no_kind[] = {0x00, 0x01, 0x01};
    const uint8_t bad_kind[] = {0x04, 0x01, 0x01};
    const uint8_t no_count[] = {0x01};
    const uint8_t short_deltas[] = {0x01, 0x03, 0x01, 0x01};
    const uint8_t long_deltas[] = {0x01, 0x01, 0x01, 0x01};
    const uint8_t above_bound[] = {0x01, 0x01, 0x64};
    const uint8_t overflow[] = {0x01, 0x02, 0x05, 0xff, 0xff, 0xff, 0xff,
                                0xff, 0xff, 0xff, 0xff, 0xff, 0x01};
    const uint8_t count_above[] = {0x02, 0x65, 0x00, 0x64};
    const uint8_t run_short[] = {0x02, 0x05, 0x00};
    const uint8_t run_count[] = {0x02, 0x05, 0x00, 0x05};
    const uint8_t run_above[] = {0x02, 0x05, 0x60, 0x04};
    check_refused(NULL, 0);
    check_refused(no_kind, sizeof(no_kind));
    check_refused(bad_kind, sizeof(bad_kind));
    check_refused(no_count, sizeof(no_count));
    check_refused(short_deltas, sizeof(short_deltas));
    check_refused(long_deltas, sizeof(long_deltas));
    check_refused(above_bound, sizeof(above_bound));
    check_refused(overflow, sizeof(overflow));
    check_refused(count_above, sizeof(count_above));
    check_refused(run_short, sizeof(run_short));
    check_refused(run_count, sizeof(run_count));
    check_refused(run_above, sizeof(run_above));
    assert_int_equal(postings_encoded_count((struct nx_bytes){0}), 0);
    assert_int_equal(postings_encoded_count((struct nx_bytes){bad_kind, 3}), 0);
    assert_int_equal(postings_encoded_count((struct nx_bytes){short_deltas, 4}), 0);
}

/* A list in Roaring form with all three kinds of containers, and ids from 0 to below `WORLD`. */
static struct nx_buf roaring_list(struct rand_state *rand)
{
    uint32_t *ids = nx_alloc(WORLD * sizeof(*ids));
    size_t count = 0;
    for (uint32_t id = 0; id < WORLD; id++) {
        uint32_t container = id >> 16;
        bool is_in = container == 0   ? rand_below(rand, 3) == 0   /* bitmap */
                     : container == 1 ? id % 4096 < 4000           /* runs */
                     : container == 3 ? rand_below(rand, 500) == 0 /* array */
                     : container == 5 ? true
                                      : rand_below(rand, 2) == 0;
        if (is_in)
            ids[count++] = id;
    }
    struct nx_buf buf = {0};
    postings_encode(ids, count, &buf);
    assert_int_equal(buf.data[0], 3);
    nx_free(ids);
    return buf;
}

static void test_postings_damaged_roaring_is_refused_or_sane(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 59);
    struct nx_buf buf = roaring_list(&rand);
    size_t refused = 0;
    size_t trials = 800;
    for (size_t trial = 0; trial < trials; trial++) {
        /* Half of the damage goes to the headers, which are few bytes. */
        size_t at = rand_below(&rand, trial % 2 == 0 ? 80 : buf.len);
        uint8_t was = buf.data[at];
        buf.data[at] ^= (uint8_t)(1u << rand_below(&rand, 8));
        struct postings *set = postings_new();
        if (postings_decode_into(nx_buf_bytes(&buf), WORLD, set) == NX_OK) {
            uint64_t count = postings_count(set);
            uint32_t *ids = nx_alloc((count + 1) * sizeof(*ids));
            postings_to_array(set, ids);
            assert_int_equal(count, postings_encoded_count(nx_buf_bytes(&buf)));
            bool is_sane = true;
            for (uint64_t i = 0; i < count; i++)
                is_sane = is_sane && ids[i] < WORLD && (i == 0 || ids[i] > ids[i - 1]);
            assert_true(is_sane);
            nx_free(ids);
        } else {
            assert_int_equal(postings_count(set), 0);
            refused++;
        }
        postings_free(set);
        buf.data[at] = was;
    }
    assert_in_range(refused, trials / 2, trials);
    for (size_t cut = 0; cut < buf.len; cut += 1 + cut / 16) {
        struct postings *set = postings_new();
        struct nx_bytes list = {buf.data, cut};
        assert_int_equal(postings_decode_into(list, WORLD, set), NX_E_CORRUPT);
        postings_free(set);
    }
    nx_buf_append_byte(&buf, 0);
    struct postings *set = postings_new();
    assert_int_equal(postings_decode_into(nx_buf_bytes(&buf), WORLD, set), NX_E_CORRUPT);
    postings_free(set);
    nx_buf_deinit(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_postings_algebra_matches_a_bitmap),
        cmocka_unit_test(test_postings_add_and_remove_single_ids),
        cmocka_unit_test(test_postings_with_itself),
        cmocka_unit_test(test_postings_ranges_and_arrays),
        cmocka_unit_test(test_postings_memory_follows_the_set),
        cmocka_unit_test(test_postings_lists_round_trip),
        cmocka_unit_test(test_postings_lists_take_the_smallest_form),
        cmocka_unit_test(test_postings_malformed_varint_lists_are_refused),
        cmocka_unit_test(test_postings_damaged_roaring_is_refused_or_sane),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
