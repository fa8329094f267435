/* SPDX-License-Identifier: Apache-2.0 */
/* test_cardinality.c - counts against a plain table while series come and go; growth by a clock turned by hand; what is
 * picked when there is too much. */
#include "narthex/head/cardinality.h"

#include "head_internal.h"
#include "head_support.h"

#include <stdio.h>
#include <string.h>

#define START_MS  INT64_C(1700000000000)
#define MINUTE_MS INT64_C(60000)
#define HOUR_MS   (60 * MINUTE_MS)

struct fixture {
    struct head *head;
    struct clock_manual clock;
    struct cardinality *cardinality;
    uint32_t next_slot;
};

static void begin(struct fixture *f)
{
    *f = (struct fixture){.head = test_head_new(0)};
    clock_manual_init(&f->clock, START_MS);
    f->cardinality = cardinality_new(f->head, &f->clock.clock);
}

static void end(struct fixture *f)
{
    cardinality_free(f->cardinality);
    head_free(f->head);
}

/* A series straight into the index, or out of it. */
static void change(struct fixture *f, struct labels labels, uint32_t slot, bool is_added)
{
    struct head_index *index = &f->head->index;
    uint64_t hashes[TEST_LABELS_MAX];
    uint32_t ids[TEST_LABELS_MAX];
    index_hash_labels(labels, hashes);
    for (size_t i = 0; i < labels.count; i++)
        ids[i] = PAIR_NONE;
    mutex_lock(&index->lock);
    index_intern(index, labels, hashes, ids);
    if (is_added)
        index_add_slot(index, ids, labels.count, slot);
    else
        index_remove_slot(index, ids, labels.count, slot);
    mutex_unlock(&index->lock);
}

static void add(struct fixture *f, const char *text)
{
    struct test_labels labels;
    test_labels_make(&labels, text);
    change(f, labels.labels, f->next_slot++, true);
}

/* `count` series of a metric, each with a value of its own in label `id`. */
static uint32_t add_many(struct fixture *f, const char *metric, uint32_t count)
{
    char text[128];
    uint32_t first = f->next_slot;
    for (uint32_t i = 0; i < count; i++) {
        snprintf(text, sizeof(text), "__name__=%s,id=%s-%u", metric, metric, first + i);
        add(f, text);
    }
    return first;
}

static void remove_many(struct fixture *f, const char *metric, uint32_t first, uint32_t count)
{
    char text[128];
    for (uint32_t i = 0; i < count; i++) {
        struct test_labels labels;
        snprintf(text, sizeof(text), "__name__=%s,id=%s-%u", metric, metric, first + i);
        test_labels_make(&labels, text);
        change(f, labels.labels, first + i, false);
    }
}

static void collect(struct fixture *f)
{
    mutex_lock(&f->head->index.lock);
    index_collect(&f->head->index);
    mutex_unlock(&f->head->index.lock);
}

static void pass_after(struct fixture *f, int64_t ms)
{
    clock_manual_advance(&f->clock, ms);
    cardinality_refresh(f->cardinality);
}

static struct cardinality_row find(struct fixture *f, enum cardinality_kind kind, const char *name,
                                   const char *value)
{
    struct cardinality_row row;
    bool is_live =
        cardinality_find(f->cardinality, kind, nx_str_from(name), nx_str_from(value), &row);
    assert_int_equal(is_live, row.count > 0);
    return row;
}

/* ---- the model: a table of live series ---- */

#define MODEL_SERIES  600u
#define MODEL_METRICS 7u
#define MODEL_PODS    90u

struct model {
    bool is_live[MODEL_SERIES];
    uint64_t created, removed;
};

/* Series i is metric i % 7 of pod i % 90, and every third has a zone. */
static void model_labels(uint32_t i, struct test_labels *out)
{
    char text[128];
    int length =
        snprintf(text, sizeof(text), "__name__=m%u,pod=p%u", i % MODEL_METRICS, i % MODEL_PODS);
    if (i % 3 == 0)
        snprintf(text + length, sizeof(text) - (size_t)length, ",zone=z%u", i % 2);
    test_labels_make(out, text);
}

static bool model_has(uint32_t i, struct nx_str name, const struct nx_str *value)
{
    struct test_labels labels;
    model_labels(i, &labels);
    for (size_t k = 0; k < labels.labels.count; k++) {
        const struct label *label = &labels.labels.items[k];
        if (nx_str_eq(label->name, name) && (value == NULL || nx_str_eq(label->value, *value)))
            return true;
    }
    return false;
}

static uint64_t model_series(const struct model *model, struct nx_str name,
                             const struct nx_str *value)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < MODEL_SERIES; i++)
        count += model->is_live[i] && model_has(i, name, value);
    return count;
}

static uint64_t check_pair(struct fixture *f, const struct model *model, const char *name,
                           const char *value)
{
    struct nx_str text = nx_str_from(value);
    uint64_t series = model_series(model, nx_str_from(name), &text);
    struct cardinality_row row = find(f, CARDINALITY_PAIR, name, value);
    assert_int_equal(row.count, series);
    assert_int_equal(row.series, series);
    if (strcmp(name, "__name__") == 0)
        assert_int_equal(find(f, CARDINALITY_METRIC, value, "").count, series);
    return series > 0;
}

static void check_label(struct fixture *f, const struct model *model, const char *name,
                        uint64_t values)
{
    struct cardinality_row row = find(f, CARDINALITY_LABEL, name, "");
    assert_int_equal(row.count, values);
    assert_int_equal(row.series, model_series(model, nx_str_from(name), NULL));
    assert_int_equal(row.bytes > 0, values > 0);
}

/* Every row of the view is the model's, and in order. */
static void check_view(struct fixture *f, const struct model *model, uint64_t pairs)
{
    cardinality_refresh(f->cardinality);
    struct cardinality_view *view = cardinality_view_begin(f->cardinality);
    size_t count = cardinality_view_count(view, CARDINALITY_PAIR, CARDINALITY_BY_COUNT);
    uint64_t before = UINT64_MAX;
    assert_int_equal(count, pairs);
    for (size_t i = 0; i < count; i++) {
        struct cardinality_row row =
            cardinality_view_row(view, CARDINALITY_PAIR, CARDINALITY_BY_COUNT, i);
        struct nx_str name = {.data = row.text.data, .len = row.name_len};
        struct nx_str value = {.data = row.text.data + row.name_len + 1,
                               .len = row.text.len - row.name_len - 1};
        assert_int_equal(row.text.data[row.name_len], '=');
        assert_int_equal(row.count, model_series(model, name, &value));
        assert_true(row.count <= before);
        before = row.count;
    }
    cardinality_view_end(view);
}

static void check_model(struct fixture *f, const struct model *model)
{
    char value[32];
    uint64_t metrics = 0, pods = 0, zones = 0, series = 0;
    for (uint32_t i = 0; i < MODEL_METRICS; i++) {
        snprintf(value, sizeof(value), "m%u", i);
        metrics += check_pair(f, model, "__name__", value);
    }
    for (uint32_t i = 0; i < MODEL_PODS; i++) {
        snprintf(value, sizeof(value), "p%u", i);
        pods += check_pair(f, model, "pod", value);
    }
    zones = check_pair(f, model, "zone", "z0") + check_pair(f, model, "zone", "z1");
    check_label(f, model, "__name__", metrics);
    check_label(f, model, "pod", pods);
    check_label(f, model, "zone", zones);
    for (uint32_t i = 0; i < MODEL_SERIES; i++)
        series += model->is_live[i];
    struct cardinality_totals totals;
    cardinality_totals(f->cardinality, &totals);
    assert_int_equal(totals.series, series);
    assert_int_equal(totals.metrics, metrics);
    assert_int_equal(totals.labels, (metrics > 0) + (pods > 0) + (zones > 0));
    assert_int_equal(totals.pairs, metrics + pods + zones);
    assert_int_equal(totals.hour.created, model->created);
    assert_int_equal(totals.hour.removed, model->removed);
    assert_int_equal(totals.hour.growth, series);
    check_view(f, model, metrics + pods + zones);
}

static void test_cardinality_counts_are_those_of_a_plain_table(void **state)
{
    (void)state;
    struct fixture f;
    struct model model = {0};
    struct rand_state rand;
    rand_seed(&rand, 11);
    begin(&f);
    for (unsigned round = 0; round < 40; round++) {
        /* Mostly full, mostly empty, and all gone now and then. */
        uint64_t of_ten = round % 10 == 9 ? 0 : rand_below(&rand, 10);
        for (uint32_t i = 0; i < MODEL_SERIES; i++) {
            bool is_live = rand_below(&rand, 10) < of_ten;
            struct test_labels labels;
            if (is_live == model.is_live[i])
                continue;
            model_labels(i, &labels);
            change(&f, labels.labels, i, is_live);
            model.is_live[i] = is_live;
            model.created += is_live;
            model.removed += !is_live;
        }
        if (round % 3 == 0)
            collect(&f);
        check_model(&f, &model);
    }
    end(&f);
}

/* ---- through the head ---- */

static void write_series(struct head *head, uint32_t count, int64_t time_ms)
{
    for (uint32_t i = 0; i < count; i++) {
        struct test_labels labels;
        struct series_ref ref = {.slot = HEAD_SLOT_NONE};
        model_labels(i, &labels);
        test_write(head, &ref, labels.labels, time_ms, 1);
    }
}

static void test_cardinality_follows_series_through_flushes(void **state)
{
    (void)state;
    struct fixture f;
    struct model model = {0};
    begin(&f);
    write_series(f.head, 300, START_MS);
    memset(model.is_live, true, 300);
    model.created = 300;
    check_model(&f, &model);
    test_flush(f.head, true, NULL);
    for (unsigned i = 1; i < 4; i++) { /* 100 go on, the others leave */
        write_series(f.head, 100, START_MS + i);
        test_flush(f.head, true, NULL);
    }
    memset(model.is_live + 100, false, 200);
    model.removed = 200;
    check_model(&f, &model);
    end(&f);
}

static void test_cardinality_counts_what_was_loaded(void **state)
{
    (void)state;
    struct fixture f = {.head = test_head_new(0)};
    struct model model = {0};
    uint32_t locals[HEAD_SHARD_COUNT] = {0};
    struct nx_err err;
    for (uint32_t i = 0; i < 200; i++) {
        struct test_labels labels;
        model_labels(i, &labels);
        unsigned shard = labels_hash(labels.labels) & (HEAD_SHARD_COUNT - 1);
        uint32_t slot = locals[shard]++ * HEAD_SHARD_COUNT + shard;
        assert_int_equal(head_load_series(f.head, slot, labels.labels, &err), NX_OK);
        model.is_live[i] = true;
    }
    head_load_finish(f.head);
    clock_manual_init(&f.clock, START_MS);
    f.cardinality = cardinality_new(f.head, &f.clock.clock);
    struct cardinality_totals totals;
    cardinality_totals(f.cardinality, &totals);
    assert_int_equal(totals.hour.created, 0); /* they were there when the process began */
    assert_int_equal(totals.series, 200);
    assert_int_equal(find(&f, CARDINALITY_METRIC, "m0", "").count,
                     model_series(&model, NX_STR("__name__"), &NX_STR("m0")));
    assert_int_equal(find(&f, CARDINALITY_LABEL, "pod", "").count, MODEL_PODS);
    assert_int_equal(find(&f, CARDINALITY_LABEL, "zone", "").series,
                     model_series(&model, NX_STR("zone"), NULL));
    check_view(&f, &model, totals.pairs);
    end(&f);
}

/* ---- growth ---- */

static void check_growth(struct fixture *f, const char *metric, int64_t hour, int64_t day)
{
    struct cardinality_row row = find(f, CARDINALITY_METRIC, metric, "");
    assert_true(row.has_growth);
    assert_int_equal(row.growth_1h, hour);
    assert_int_equal(row.growth_1d, day);
}

static void test_cardinality_growth_counts_from_the_start_until_an_hour_has_passed(void **state)
{
    (void)state;
    struct fixture f;
    struct cardinality_totals totals;
    begin(&f);
    add_many(&f, "old", 100);
    cardinality_free(f.cardinality);
    f.cardinality = cardinality_new(f.head, &f.clock.clock);
    check_growth(&f, "old", 0, 0);
    for (unsigned i = 0; i < 11; i++) {
        add_many(&f, "old", 1);
        pass_after(&f, 5 * MINUTE_MS);
    }
    check_growth(&f, "old", 11, 11);
    cardinality_totals(f.cardinality, &totals);
    assert_int_equal(totals.hour.since_ms, START_MS);
    for (unsigned i = 0; i < 12; i++)
        pass_after(&f, 5 * MINUTE_MS);
    check_growth(&f, "old", 0, 11);
    cardinality_totals(f.cardinality, &totals);
    assert_int_equal(totals.hour.since_ms, START_MS + HOUR_MS);
    assert_int_equal(totals.hour.growth, 0);
    assert_int_equal(totals.day.growth, 11);
    assert_int_equal(totals.day.since_ms, START_MS);
    assert_int_equal(totals.since_ms, START_MS);
    for (unsigned i = 0; i < 25; i++)
        pass_after(&f, HOUR_MS);
    check_growth(&f, "old", 0, 0);
    cardinality_totals(f.cardinality, &totals);
    assert_int_equal(totals.day.created, 0);
    end(&f);
}

/* A metric that was not there grew from nothing, also before the next pass has seen it; a pair from 64. */
static void test_cardinality_growth_of_what_is_new(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    pass_after(&f, 10 * MINUTE_MS);
    add_many(&f, "bomb", 500);
    for (unsigned i = 0; i < 2; i++) {
        check_growth(&f, "bomb", 500, 500);
        struct cardinality_row pair = find(&f, CARDINALITY_PAIR, "__name__", "bomb");
        assert_true(pair.has_growth);
        assert_int_equal(pair.growth_1h, 500 - CARDINALITY_PAIR_SERIES);
        assert_false(find(&f, CARDINALITY_PAIR, "id", "bomb-0").has_growth);
        assert_int_equal(find(&f, CARDINALITY_LABEL, "id", "").growth_1h, 500);
        pass_after(&f, 1000);
    }
    add_many(&f, "bomb", 20);
    check_growth(&f, "bomb", 520, 520);
    end(&f);
}

static void test_cardinality_growth_may_be_less_than_nothing(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    uint32_t first = add_many(&f, "m", 200);
    cardinality_refresh(f.cardinality);
    pass_after(&f, 2 * HOUR_MS); /* passes fall out while there is other work: counts stay */
    check_growth(&f, "m", 0, 200);
    uint32_t late = add_many(&f, "m", 30); /* of slots without a pass, the pass before is right */
    pass_after(&f, 2 * HOUR_MS);
    check_growth(&f, "m", 30, 230);
    remove_many(&f, "m", late, 30);
    pass_after(&f, 2 * HOUR_MS);
    check_growth(&f, "m", -30, 200);
    pass_after(&f, 2 * HOUR_MS);
    remove_many(&f, "m", first, 150);
    pass_after(&f, MINUTE_MS);
    check_growth(&f, "m", -150, 50);
    struct cardinality_totals totals;
    cardinality_totals(f.cardinality, &totals);
    assert_int_equal(totals.hour.removed, 150);
    assert_int_equal(totals.day.created, 230);
    struct cardinality_view *view = cardinality_view_begin(f.cardinality);
    assert_int_equal(cardinality_view_count(view, CARDINALITY_METRIC, CARDINALITY_BY_GROWTH_1H), 0);
    assert_int_equal(cardinality_view_count(view, CARDINALITY_METRIC, CARDINALITY_BY_GROWTH_1D), 1);
    cardinality_view_end(view);
    end(&f);
}

static void test_cardinality_lists_by_growth_in_order(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    add_many(&f, "big", 1000);
    add_many(&f, "small", 10);
    cardinality_free(f.cardinality);
    f.cardinality = cardinality_new(f.head, &f.clock.clock);
    add_many(&f, "small", 30);
    add_many(&f, "big", 5);
    add_many(&f, "new", 7);
    pass_after(&f, MINUTE_MS);
    struct cardinality_view *view = cardinality_view_begin(f.cardinality);
    static const char *const names[] = {"small", "new", "big"};
    static const int64_t growth[] = {30, 7, 5};
    assert_int_equal(cardinality_view_count(view, CARDINALITY_METRIC, CARDINALITY_BY_GROWTH_1H), 3);
    for (size_t i = 0; i < 3; i++) {
        struct cardinality_row row =
            cardinality_view_row(view, CARDINALITY_METRIC, CARDINALITY_BY_GROWTH_1H, i);
        assert_true(nx_str_eq(row.text, nx_str_from(names[i])));
        assert_int_equal(row.growth_1h, growth[i]);
    }
    assert_int_equal(cardinality_view_count(view, CARDINALITY_LABEL, CARDINALITY_BY_BYTES), 2);
    assert_int_equal(cardinality_view_count(view, CARDINALITY_PAIR, CARDINALITY_BY_BYTES), 0);
    /* A view that someone holds outlives the next pass. */
    pass_after(&f, MINUTE_MS);
    assert_int_equal(cardinality_view_row(view, CARDINALITY_METRIC, CARDINALITY_BY_COUNT, 0).count,
                     1005);
    cardinality_view_end(view);
    end(&f);
}

/* Series of nothing but a metric, or the reverse. */
static void change_bare(struct fixture *f, const char *text, uint32_t count, bool is_added)
{
    struct test_labels labels;
    test_labels_make(&labels, text);
    for (uint32_t slot = 0; slot < count; slot++)
        change(f, labels.labels, slot, is_added);
}

/* The id of a pair that died goes to another one, which has no past. */
static void test_cardinality_a_reused_id_has_no_past(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    change_bare(&f, "__name__=gone", 100, true);
    cardinality_free(f.cardinality);
    f.cardinality = cardinality_new(f.head, &f.clock.clock);
    check_growth(&f, "gone", 0, 0);
    change_bare(&f, "__name__=gone", 100, false);
    collect(&f);
    change_bare(&f, "__name__=came", 90, true);
    mutex_lock(&f.head->index.lock);
    assert_int_equal(index_find_pair(&f.head->index, NX_STR("__name__"), NX_STR("came")), 0);
    mutex_unlock(&f.head->index.lock);
    check_growth(&f, "came", 90, 90);
    pass_after(&f, MINUTE_MS);
    check_growth(&f, "came", 90, 90);
    assert_int_equal(find(&f, CARDINALITY_METRIC, "gone", "").count, 0);
    end(&f);
}

/* ---- bounds ---- */

static void test_cardinality_keeps_the_largest(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    char text[128];
    for (uint32_t i = 0; i < CARDINALITY_ROWS_MAX + 500; i++) {
        snprintf(text, sizeof(text), "__name__=m%u,other=o", i);
        add(&f, text);
        if (i % 100 == 99)
            add(&f, text);
    }
    pass_after(&f, MINUTE_MS);
    struct cardinality_view *view = cardinality_view_begin(f.cardinality);
    size_t count = cardinality_view_count(view, CARDINALITY_METRIC, CARDINALITY_BY_COUNT);
    assert_int_equal(count, CARDINALITY_ROWS_MAX);
    for (size_t i = 0; i < count; i++) {
        struct cardinality_row row =
            cardinality_view_row(view, CARDINALITY_METRIC, CARDINALITY_BY_COUNT, i);
        assert_int_equal(row.count, i < 105 ? 2 : 1);
    }
    struct cardinality_row largest =
        cardinality_view_row(view, CARDINALITY_PAIR, CARDINALITY_BY_COUNT, 0);
    assert_true(nx_str_eq(largest.text, NX_STR("other=o")));
    cardinality_view_end(view);
    /* Of one that has no row only this is sure: it has not grown from more than the smallest row has. */
    check_growth(&f, "m10401", 0, 0);
    struct cardinality_totals totals;
    cardinality_totals(f.cardinality, &totals);
    assert_int_equal(totals.metrics, CARDINALITY_ROWS_MAX + 500);
    assert_true(cardinality_bytes(f.cardinality) < 8u << 20);
    end(&f);
}

static void test_cardinality_texts_are_bounded(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    size_t length = CARDINALITY_TEXT_BYTES_MAX / 4;
    char *text = nx_alloc(length);
    memset(text, 'x', length);
    for (uint32_t i = 0; i < 6; i++) {
        text[0] = (char)('a' + i);
        struct label items[] = {{NX_STR("__name__"), NX_STR("m")},
                                {NX_STR("long"), {.data = text, .len = length}}};
        struct labels labels = {.items = items, .count = 2};
        for (uint32_t k = 0; k <= i; k++)
            change(&f, labels, f.next_slot++, true);
    }
    cardinality_refresh(f.cardinality);
    struct cardinality_view *view = cardinality_view_begin(f.cardinality);
    /* __name__=m and the three largest: a fourth and its name are too much. */
    assert_int_equal(cardinality_view_count(view, CARDINALITY_PAIR, CARDINALITY_BY_COUNT), 4);
    struct cardinality_row row =
        cardinality_view_row(view, CARDINALITY_PAIR, CARDINALITY_BY_COUNT, 1);
    assert_int_equal(row.text.data[5], 'f');
    assert_int_equal(row.count, 6);
    cardinality_view_end(view);
    nx_free(text);
    end(&f);
}

/* ---- threads ---- */

#define STRESS_PASSES 150u

struct stress {
    struct fixture f;
    _Atomic bool is_over;
};

/* Series come and go; pairs are freed and their ids reused. At the end 40 are there. */
static void run_churn(void *argument)
{
    struct stress *stress = argument;
    while (!atomic_load(&stress->is_over)) {
        uint32_t first = add_many(&stress->f, "churn", 300);
        remove_many(&stress->f, "churn", first, 300);
        collect(&stress->f);
    }
    add_many(&stress->f, "churn", 40);
}

static void run_reader(void *argument)
{
    struct stress *stress = argument;
    struct cardinality *cardinality = stress->f.cardinality;
    while (!atomic_load(&stress->is_over)) {
        struct cardinality_row row;
        struct cardinality_totals totals;
        cardinality_find(cardinality, CARDINALITY_METRIC, NX_STR("steady"), NX_STR(""), &row);
        NX_ASSERT(row.count == 500 && row.growth_1h == 500);
        cardinality_totals(cardinality, &totals);
        NX_ASSERT(totals.series >= 500 && totals.hour.created >= totals.hour.removed);
        struct cardinality_view *view = cardinality_view_begin(cardinality);
        size_t count = cardinality_view_count(view, CARDINALITY_PAIR, CARDINALITY_BY_COUNT);
        for (size_t i = 0; i < count; i++) {
            row = cardinality_view_row(view, CARDINALITY_PAIR, CARDINALITY_BY_COUNT, i);
            NX_ASSERT(row.count > 0 && row.text.data[row.name_len] == '=');
        }
        cardinality_view_end(view);
    }
}

static void test_cardinality_passes_beside_churn_and_readers(void **state)
{
    (void)state;
    static struct stress stress;
    struct nx_thread threads[3] = {0};
    struct nx_err err;
    begin(&stress.f);
    add_many(&stress.f, "steady", 500);
    assert_int_equal(thread_start(&threads[0], "churn", run_churn, &stress, &err), NX_OK);
    assert_int_equal(thread_start(&threads[1], "reader", run_reader, &stress, &err), NX_OK);
    assert_int_equal(thread_start(&threads[2], "reader", run_reader, &stress, &err), NX_OK);
    for (unsigned i = 0; i < STRESS_PASSES; i++)
        cardinality_refresh(stress.f.cardinality);
    atomic_store(&stress.is_over, true);
    for (unsigned i = 0; i < 3; i++)
        thread_join(&threads[i]);
    cardinality_refresh(stress.f.cardinality);
    assert_int_equal(find(&stress.f, CARDINALITY_METRIC, "churn", "").count, 40);
    assert_int_equal(find(&stress.f, CARDINALITY_LABEL, "id", "").count, 540);
    end(&stress.f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cardinality_counts_are_those_of_a_plain_table),
        cmocka_unit_test(test_cardinality_follows_series_through_flushes),
        cmocka_unit_test(test_cardinality_counts_what_was_loaded),
        cmocka_unit_test(test_cardinality_growth_counts_from_the_start_until_an_hour_has_passed),
        cmocka_unit_test(test_cardinality_growth_of_what_is_new),
        cmocka_unit_test(test_cardinality_growth_may_be_less_than_nothing),
        cmocka_unit_test(test_cardinality_lists_by_growth_in_order),
        cmocka_unit_test(test_cardinality_a_reused_id_has_no_past),
        cmocka_unit_test(test_cardinality_keeps_the_largest),
        cmocka_unit_test(test_cardinality_texts_are_bounded),
        cmocka_unit_test(test_cardinality_passes_beside_churn_and_readers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
