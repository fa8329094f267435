/* SPDX-License-Identifier: Apache-2.0 */
/* cardinality.c - the pass over the index, the views that it leaves behind, and what was counted before.
 *
 *   index --scan, piece by piece--> picks (the largest, a heap a kind) --texts--> entries by id
 *                                                       tracks by id --merge--> entries' bases --> orders --> view
 *
 * Load     1M series of Kubernetes have 42,000 pairs, of which 10,000 are picked: 3 ms a pass. Hostile ones have
 *          millions; each costs a look at its count.
 * Ids      are given to others once their pair or name was freed: an entry and its track are of one item when the hash
 *          of its text is the same, too.
 * Time     slot e of a ring is what the first pass in the e-th five minutes (hour) since the start counted; a slot
 *          without a pass has what the pass before counted.
 */
#include "narthex/head/cardinality.h"

#include "head_internal.h"

#include <stdatomic.h>
#include <stdlib.h>

#define MINUTE_SLOTS     12u
#define HOUR_SLOTS       24u
#define MINUTE_SLOT_NS   (UINT64_C(300) * 1000000000)
#define HOUR_SLOT_NS     (UINT64_C(3600) * 1000000000)
#define TEXT_PIECE       256u               /* chosen: texts copied while the lock is held, */
#define TEXT_PIECE_BYTES ((size_t)64 << 10) /* and their bytes before the last */
#define PAIR_SERIES_KEPT                                                                           \
 (CARDINALITY_PAIR_SERIES / 2) /* a pair that shrinks keeps its past until here */
#define LABEL_VALUE_BYTES (sizeof(struct index_pair) + 4 + 2 * sizeof(struct id_table_entry))
#define LABEL_SERIES_BYTES                                                                         \
 4u /* measured by bench_head: two of packed ids, two of lists, a series and label */

static_assert(CARDINALITY_ROWS_MAX <= UINT16_MAX, "orders are of uint16_t");

/* ---- types ---- */

struct pick {
    uint32_t count;
    uint32_t id;
};

/* The largest of what was offered, a heap with the smallest at its root. */
struct picks {
    struct pick *items;
    uint32_t count;
    uint32_t cap;
    bool is_cut; /* something found no room */
};

struct track {
    uint64_t hash;
    uint32_t id;
    uint32_t last;
    uint32_t minutes[MINUTE_SLOTS];
    uint32_t hours[HOUR_SLOTS];
};

struct tracks {
    struct track *items; /* by id */
    uint32_t count;
};

struct entry {
    uint64_t hash;
    uint64_t bytes;
    uint32_t id;
    uint32_t text_at;
    uint32_t text_len;
    uint32_t name_len;
    uint32_t count;
    uint32_t series;
    uint32_t base_1h;
    uint32_t base_1d;
    bool has_growth;
};

struct list {
    struct entry *entries; /* by id */
    uint32_t count;
    uint32_t floor; /* what is not in the list has at most this count */
    struct nx_buf texts;
    uint16_t *orders[CARDINALITY_ORDER_COUNT];
    uint32_t order_counts[CARDINALITY_ORDER_COUNT];
};

/* All series, at one moment. */
struct flow {
    int64_t time_ms;
    uint64_t series, created, removed;
};

struct cardinality_view {
    _Atomic unsigned refs;
    struct list lists[CARDINALITY_KIND_COUNT];
    struct flow now, hour, day;
    uint64_t bytes;
};

struct cardinality {
    struct head *head;             /* [I] */
    const struct clock *clock;     /* [I] */
    uint64_t begun_ns;             /* [I] */
    int64_t begun_ms;              /* [I] */
    struct nx_mutex lock;          /* LOCK_RANK_CARDINALITY */
    struct cardinality_view *view; /* [L:lock] the pointer; never NULL after the first pass */
    _Atomic uint64_t bytes;        /* [A] relaxed */
    struct tracks tracks[CARDINALITY_KIND_COUNT]; /* [T: who refreshes], as all below */
    uint32_t floors[CARDINALITY_KIND_COUNT];
    bool has_passed;
    uint64_t minute, hour; /* slots of the last pass */
    struct flow last;
    struct flow minutes[MINUTE_SLOTS];
    struct flow hours[HOUR_SLOTS];
};

/* ---- picks ---- */

/* Of two with one count the older id stays, so that passes agree. */
static bool pick_is_less(struct pick a, struct pick b)
{
    return a.count != b.count ? a.count < b.count : a.id > b.id;
}

static void sift_down(struct pick *items, uint32_t count)
{
    uint32_t at = 0;
    struct pick moved = items[0];
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= count)
            break;
        if (child + 1 < count && pick_is_less(items[child + 1], items[child]))
            child++;
        if (!pick_is_less(items[child], moved))
            break;
        items[at] = items[child];
        at = child;
    }
    items[at] = moved;
}

static void sift_up(struct pick *items, uint32_t at)
{
    struct pick moved = items[at];
    while (at > 0 && pick_is_less(moved, items[(at - 1) / 2])) {
        items[at] = items[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    items[at] = moved;
}

static void picks_offer(struct picks *picks, uint32_t id, uint32_t count)
{
    struct pick pick = {.count = count, .id = id};
    if (picks->count == CARDINALITY_ROWS_MAX) {
        picks->is_cut = true;
        if (!pick_is_less(picks->items[0], pick))
            return;
        picks->items[0] = pick;
        sift_down(picks->items, picks->count);
        return;
    }
    if (picks->count == picks->cap) {
        picks->cap = picks->cap == 0 ? 256 : picks->cap * 2;
        picks->items = nx_realloc_array(picks->items, picks->cap, sizeof(*picks->items));
    }
    picks->items[picks->count] = pick;
    sift_up(picks->items, picks->count++);
}

static int compare_picks(const void *a, const void *b)
{
    const struct pick *left = a;
    const struct pick *right = b;
    return pick_is_less(*left, *right) ? 1 : -1; /* no two are equal; descending */
}

/* ---- scan ---- */

static uint32_t piece_end(uint32_t from, uint32_t limit)
{
    return limit - from > CARDINALITY_PIECE ? from + CARDINALITY_PIECE : limit;
}

static void scan_names(struct head_index *index, struct picks *picks) NX_REQUIRES(index->lock)
{
    for (uint32_t from = 0; from < index->name_limit;) {
        uint32_t end = piece_end(from, index->name_limit);
        for (uint32_t id = from; id < end; id++) {
            const struct index_name *name = index_name_at(index, id);
            if (name->live > 0)
                picks_offer(picks, id, name->live);
        }
        from = end;
        lock_pause(&index->lock);
    }
}

static void scan_pairs(struct head_index *index, struct picks *metrics, struct picks *pairs)
    NX_REQUIRES(index->lock)
{
    for (uint32_t from = 0; from < index->pair_limit;) {
        uint32_t end = piece_end(from, index->pair_limit);
        uint32_t metric_name = index_find_name(index, NX_STR(LABEL_NAME_METRIC));
        for (uint32_t id = from; id < end; id++) {
            const struct index_pair *pair = index_pair_at(index, id);
            if (pair->count == 0)
                continue;
            picks_offer(pairs, id, pair->count);
            if (pair->name == metric_name)
                picks_offer(metrics, id, pair->count);
        }
        from = end;
        lock_pause(&index->lock);
    }
}

/* ---- entries ---- */

static uint64_t label_bytes(const struct index_name *name)
{
    return name->len + name->value_bytes + (uint64_t)name->live * LABEL_VALUE_BYTES +
           (uint64_t)name->series * LABEL_SERIES_BYTES;
}

/* What is known of a name or a pair that lives; its texts by the caller. */
static struct entry entry_of_name(const struct head_index *index, uint32_t id)
{
    const struct index_name *name = index_name_at(index, id);
    return (struct entry){.hash = name->hash,
                          .bytes = label_bytes(name),
                          .id = id,
                          .count = name->live,
                          .series = name->series};
}

static struct entry entry_of_pair(const struct head_index *index, uint32_t id)
{
    const struct index_pair *pair = index_pair_at(index, id);
    return (struct entry){.hash = index_hash_value(index, pair->name, index_pair_value(pair)),
                          .id = id,
                          .count = pair->count,
                          .series = pair->count};
}

/* False: there is no room for its text. What died since the scan is left out. */
static bool list_add(struct list *list, const struct head_index *index, enum cardinality_kind kind,
                     uint32_t metric_name, uint32_t id)
{
    struct entry entry;
    struct nx_str name = NX_STR("");
    struct nx_str value;
    if (kind == CARDINALITY_LABEL) {
        if (index_name_at(index, id)->live == 0)
            return true;
        entry = entry_of_name(index, id);
        value = index_name_text(index, id);
    } else {
        const struct index_pair *pair = index_pair_at(index, id);
        if (pair->count == 0 || (kind == CARDINALITY_METRIC && pair->name != metric_name))
            return true;
        entry = entry_of_pair(index, id);
        value = index_pair_value(pair);
        if (kind == CARDINALITY_PAIR)
            name = index_name_text(index, pair->name);
    }
    bool is_pair = kind == CARDINALITY_PAIR;
    if (list->texts.len + name.len + is_pair + value.len > CARDINALITY_TEXT_BYTES_MAX)
        return false;
    entry.text_at = (uint32_t)list->texts.len;
    entry.text_len = (uint32_t)(name.len + is_pair + value.len);
    entry.name_len = (uint32_t)(is_pair ? name.len : value.len);
    nx_buf_append_str(&list->texts, name);
    if (is_pair)
        nx_buf_append_byte(&list->texts, '=');
    nx_buf_append_str(&list->texts, value);
    list->entries[list->count++] = entry;
    return true;
}

static int compare_entries(const void *a, const void *b)
{
    const struct entry *left = a;
    const struct entry *right = b;
    return (left->id > right->id) - (left->id < right->id);
}

/* The largest first, so that a lack of room hits the small ones. */
static void list_fill(struct list *list, struct head_index *index, enum cardinality_kind kind,
                      struct picks *picks)
{
    bool is_cut = picks->is_cut;
    list->entries = nx_alloc(picks->count * sizeof(*list->entries));
    list->floor = kind == CARDINALITY_PAIR ? CARDINALITY_PAIR_SERIES : 0;
    if (picks->count == 0)
        return;
    uint32_t smallest = picks->items[0].count;
    qsort(picks->items, picks->count, sizeof(*picks->items), compare_picks);
    size_t piece_at = 0;
    mutex_lock(&index->lock);
    uint32_t metric_name = index_find_name(index, NX_STR(LABEL_NAME_METRIC));
    for (uint32_t i = 0; i < picks->count; i++) {
        if (i % TEXT_PIECE == TEXT_PIECE - 1 || list->texts.len - piece_at > TEXT_PIECE_BYTES) {
            lock_pause(&index->lock);
            metric_name = index_find_name(index, NX_STR(LABEL_NAME_METRIC));
            piece_at = list->texts.len;
        }
        if (list_add(list, index, kind, metric_name, picks->items[i].id))
            continue;
        is_cut = true;
        smallest = picks->items[i].count;
        break;
    }
    mutex_unlock(&index->lock);
    qsort(list->entries, list->count, sizeof(*list->entries), compare_entries);
    if (is_cut && smallest > list->floor)
        list->floor = smallest;
}

static const struct entry *list_find(const struct list *list, uint32_t id)
{
    struct entry key = {.id = id};
    return bsearch(&key, list->entries, list->count, sizeof(key), compare_entries);
}

/* ---- what was counted before ---- */

/* The oldest slot that a ring still has when `now` is the newest. */
static uint64_t oldest_slot(uint64_t now, uint64_t slots)
{
    return now < slots ? 0 : (now + 1) % slots;
}

/* First slot to be filled by a pass in slot `now` after one in slot `before`. */
static uint64_t first_missing(uint64_t before, uint64_t now, uint64_t slots)
{
    return now - before < slots ? before + 1 : now - slots + 1;
}

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static void track_begin(struct track *track, const struct entry *entry, uint32_t base)
{
    *track = (struct track){.hash = entry->hash, .id = entry->id, .last = base};
    for (unsigned i = 0; i < MINUTE_SLOTS; i++)
        track->minutes[i] = base;
    for (unsigned i = 0; i < HOUR_SLOTS; i++)
        track->hours[i] = base;
}

static void track_move(struct track *track, const struct cardinality *cardinality, uint64_t minute,
                       uint64_t hour, uint32_t count)
{
    for (uint64_t e = first_missing(cardinality->minute, minute, MINUTE_SLOTS); e <= minute; e++)
        track->minutes[e % MINUTE_SLOTS] = e == minute ? count : track->last;
    for (uint64_t e = first_missing(cardinality->hour, hour, HOUR_SLOTS); e <= hour; e++)
        track->hours[e % HOUR_SLOTS] = e == hour ? count : track->last;
    track->last = count;
}

static void flow_move(struct cardinality *cardinality, uint64_t minute, uint64_t hour,
                      const struct flow *now)
{
    for (uint64_t e = first_missing(cardinality->minute, minute, MINUTE_SLOTS); e <= minute; e++)
        cardinality->minutes[e % MINUTE_SLOTS] = e == minute ? *now : cardinality->last;
    for (uint64_t e = first_missing(cardinality->hour, hour, HOUR_SLOTS); e <= hour; e++)
        cardinality->hours[e % HOUR_SLOTS] = e == hour ? *now : cardinality->last;
    cardinality->last = *now;
}

/* The next tracks of a kind, and the entries' bases from them. */
static void tracks_merge(struct cardinality *cardinality, enum cardinality_kind kind,
                         struct list *list, uint64_t minute, uint64_t hour)
{
    struct tracks *tracks = &cardinality->tracks[kind];
    struct track *merged = nx_alloc(list->count * sizeof(*merged));
    uint32_t count = 0;
    uint32_t old = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        struct entry *entry = &list->entries[i];
        while (old < tracks->count && tracks->items[old].id < entry->id)
            old++;
        const struct track *before = old < tracks->count ? &tracks->items[old] : NULL;
        bool is_known = before != NULL && before->id == entry->id && before->hash == entry->hash;
        if (kind == CARDINALITY_PAIR &&
            entry->count <= (is_known ? PAIR_SERIES_KEPT : CARDINALITY_PAIR_SERIES))
            continue;
        struct track *track = &merged[count++];
        if (is_known)
            *track = *before;
        else
            track_begin(track, entry,
                        cardinality->has_passed ? smaller(entry->count, cardinality->floors[kind])
                                                : entry->count);
        track_move(track, cardinality, minute, hour, entry->count);
        entry->base_1h = track->minutes[oldest_slot(minute, MINUTE_SLOTS)];
        entry->base_1d = track->hours[oldest_slot(hour, HOUR_SLOTS)];
        entry->has_growth = true;
    }
    nx_free(tracks->items);
    tracks->items = nx_realloc_array(merged, count == 0 ? 1 : count, sizeof(*merged));
    tracks->count = count;
}

/* ---- orders ---- */

struct ranked {
    int64_t key;
    struct nx_str text;
    uint16_t entry;
};

static int compare_ranked(const void *a, const void *b)
{
    const struct ranked *left = a;
    const struct ranked *right = b;
    if (left->key != right->key)
        return left->key < right->key ? 1 : -1;
    return nx_str_cmp(left->text, right->text);
}

static int64_t growth_since(uint32_t count, uint32_t base)
{
    return (int64_t)count - (int64_t)base;
}

/* False: not in this order. */
static bool order_key(const struct entry *entry, enum cardinality_kind kind,
                      enum cardinality_order order, int64_t *out_key)
{
    switch (order) {
    case CARDINALITY_BY_COUNT:
        *out_key = entry->count;
        return true;
    case CARDINALITY_BY_GROWTH_1H:
        *out_key = growth_since(entry->count, entry->base_1h);
        return entry->has_growth && *out_key > 0;
    case CARDINALITY_BY_GROWTH_1D:
        *out_key = growth_since(entry->count, entry->base_1d);
        return entry->has_growth && *out_key > 0;
    case CARDINALITY_BY_BYTES:
        *out_key = (int64_t)entry->bytes;
        return kind == CARDINALITY_LABEL;
    case CARDINALITY_ORDER_COUNT:
        break;
    }
    return false;
}

static struct nx_str entry_text(const struct list *list, const struct entry *entry)
{
    return (struct nx_str){.data = (const char *)list->texts.data + entry->text_at,
                           .len = entry->text_len};
}

static void list_order(struct list *list, enum cardinality_kind kind, enum cardinality_order order,
                       struct ranked *scratch)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        const struct entry *entry = &list->entries[i];
        struct ranked *ranked = &scratch[count];
        ranked->entry = (uint16_t)i;
        ranked->text = entry_text(list, entry);
        count += order_key(entry, kind, order, &ranked->key);
    }
    if (count == 0)
        return;
    qsort(scratch, count, sizeof(*scratch), compare_ranked);
    list->orders[order] = nx_alloc(count * sizeof(*list->orders[order]));
    list->order_counts[order] = count;
    for (uint32_t i = 0; i < count; i++)
        list->orders[order][i] = scratch[i].entry;
}

static uint64_t list_bytes(const struct list *list)
{
    uint64_t bytes = list->count * sizeof(*list->entries) + list->texts.cap;
    for (unsigned i = 0; i < CARDINALITY_ORDER_COUNT; i++)
        bytes += list->order_counts[i] * sizeof(*list->orders[i]);
    return bytes;
}

/* ---- views ---- */

static void view_free(struct cardinality_view *view)
{
    for (unsigned k = 0; k < CARDINALITY_KIND_COUNT; k++) {
        struct list *list = &view->lists[k];
        nx_free(list->entries);
        nx_buf_deinit(&list->texts);
        for (unsigned i = 0; i < CARDINALITY_ORDER_COUNT; i++)
            nx_free(list->orders[i]);
    }
    nx_free(view);
}

struct cardinality_view *cardinality_view_begin(struct cardinality *cardinality)
{
    mutex_lock(&cardinality->lock);
    struct cardinality_view *view = cardinality->view;
    atomic_fetch_add_explicit(&view->refs, 1, memory_order_relaxed);
    mutex_unlock(&cardinality->lock);
    return view;
}

void cardinality_view_end(struct cardinality_view *view)
{
    if (view != NULL && atomic_fetch_sub_explicit(&view->refs, 1, memory_order_acq_rel) == 1)
        view_free(view);
}

static void view_publish(struct cardinality *cardinality, struct cardinality_view *view)
{
    uint64_t bytes = sizeof(*cardinality) + view->bytes;
    for (unsigned k = 0; k < CARDINALITY_KIND_COUNT; k++)
        bytes += cardinality->tracks[k].count * sizeof(struct track);
    atomic_store_explicit(&cardinality->bytes, bytes, memory_order_relaxed);
    mutex_lock(&cardinality->lock);
    struct cardinality_view *before = cardinality->view;
    cardinality->view = view;
    mutex_unlock(&cardinality->lock);
    cardinality_view_end(before);
}

size_t cardinality_view_count(const struct cardinality_view *view, enum cardinality_kind kind,
                              enum cardinality_order order)
{
    return view->lists[kind].order_counts[order];
}

static struct cardinality_row row_of(const struct entry *entry)
{
    struct cardinality_row row = {.name_len = entry->name_len,
                                  .count = entry->count,
                                  .series = entry->series,
                                  .bytes = entry->bytes,
                                  .has_growth = entry->has_growth};
    if (!entry->has_growth)
        return row;
    row.growth_1h = growth_since(entry->count, entry->base_1h);
    row.growth_1d = growth_since(entry->count, entry->base_1d);
    return row;
}

struct cardinality_row cardinality_view_row(const struct cardinality_view *view,
                                            enum cardinality_kind kind,
                                            enum cardinality_order order, size_t i)
{
    const struct list *list = &view->lists[kind];
    NX_ASSERT(i < list->order_counts[order]);
    const struct entry *entry = &list->entries[list->orders[order][i]];
    struct cardinality_row row = row_of(entry);
    row.text = entry_text(list, entry);
    return row;
}

/* ---- the pass ---- */

/* Series come and go with a change each, so two numbers of the index tell three. */
static struct flow flow_now(const struct cardinality *cardinality, const struct head_index *index)
    NX_REQUIRES(index->lock)
{
    return (struct flow){.time_ms = clock_wall_ms(cardinality->clock),
                         .series = index->series,
                         .created = (index->changes + index->series) / 2,
                         .removed = (index->changes - index->series) / 2};
}

static void fill_view(struct cardinality *cardinality, struct cardinality_view *view,
                      uint64_t minute, uint64_t hour)
{
    struct head_index *index = &cardinality->head->index;
    struct picks picks[CARDINALITY_KIND_COUNT] = {0};
    mutex_lock(&index->lock);
    view->now = flow_now(cardinality, index);
    scan_names(index, &picks[CARDINALITY_LABEL]);
    scan_pairs(index, &picks[CARDINALITY_METRIC], &picks[CARDINALITY_PAIR]);
    mutex_unlock(&index->lock);
    view->bytes = sizeof(*view);
    for (unsigned k = 0; k < CARDINALITY_KIND_COUNT; k++) {
        struct list *list = &view->lists[k];
        list_fill(list, index, k, &picks[k]);
        nx_free(picks[k].items);
        tracks_merge(cardinality, k, list, minute, hour);
        cardinality->floors[k] = list->floor;
        struct ranked *scratch = nx_alloc(list->count * sizeof(*scratch));
        for (unsigned order = 0; order < CARDINALITY_ORDER_COUNT; order++)
            list_order(list, k, order, scratch);
        nx_free(scratch);
        view->bytes += list_bytes(list);
    }
}

void cardinality_refresh(struct cardinality *cardinality)
{
    uint64_t age_ns = clock_mono_ns(cardinality->clock) - cardinality->begun_ns;
    uint64_t minute = age_ns / MINUTE_SLOT_NS;
    uint64_t hour = age_ns / HOUR_SLOT_NS;
    struct cardinality_view *view = nx_calloc(1, sizeof(*view));
    atomic_init(&view->refs, 1);
    fill_view(cardinality, view, minute, hour);
    if (cardinality->has_passed)
        flow_move(cardinality, minute, hour, &view->now);
    else
        cardinality->last = cardinality->minutes[0] = cardinality->hours[0] = view->now;
    view->hour = cardinality->minutes[oldest_slot(minute, MINUTE_SLOTS)];
    view->day = cardinality->hours[oldest_slot(hour, HOUR_SLOTS)];
    cardinality->minute = minute;
    cardinality->hour = hour;
    cardinality->has_passed = true;
    view_publish(cardinality, view);
}

/* ---- look-ups ---- */

/* False: it does not live. */
static bool find_live(struct head_index *index, enum cardinality_kind kind, struct nx_str name,
                      struct nx_str value, struct entry *out) NX_REQUIRES(index->lock)
{
    if (kind == CARDINALITY_LABEL) {
        uint32_t id = index_find_name(index, name);
        if (id == PAIR_NONE || index_name_at(index, id)->live == 0)
            return false;
        *out = entry_of_name(index, id);
        return true;
    }
    uint32_t id = kind == CARDINALITY_METRIC
                      ? index_find_pair(index, NX_STR(LABEL_NAME_METRIC), name)
                      : index_find_pair(index, name, value);
    if (id == PAIR_NONE || index_pair_at(index, id)->count == 0)
        return false;
    *out = entry_of_pair(index, id);
    return true;
}

/* From the view, or as the next pass would take what it does not have. */
static void find_bases(struct cardinality *cardinality, enum cardinality_kind kind,
                       struct entry *entry)
{
    struct cardinality_view *view = cardinality_view_begin(cardinality);
    const struct list *list = &view->lists[kind];
    const struct entry *known = list_find(list, entry->id);
    if (known != NULL && known->hash == entry->hash && known->has_growth) {
        entry->base_1h = known->base_1h;
        entry->base_1d = known->base_1d;
        entry->has_growth = true;
    } else {
        entry->base_1h = entry->base_1d = smaller(entry->count, list->floor);
        entry->has_growth = kind != CARDINALITY_PAIR || entry->count > CARDINALITY_PAIR_SERIES;
    }
    cardinality_view_end(view);
}

bool cardinality_find(struct cardinality *cardinality, enum cardinality_kind kind,
                      struct nx_str name, struct nx_str value, struct cardinality_row *out_row)
{
    struct head_index *index = &cardinality->head->index;
    struct entry entry;
    mutex_lock(&index->lock);
    bool is_live = find_live(index, kind, name, value, &entry);
    mutex_unlock(&index->lock);
    *out_row = (struct cardinality_row){0};
    if (is_live) {
        find_bases(cardinality, kind, &entry);
        *out_row = row_of(&entry);
    }
    out_row->text = kind == CARDINALITY_PAIR ? NX_STR("") : name;
    out_row->name_len = name.len;
    return is_live;
}

static struct cardinality_window window_since(const struct flow *now, const struct flow *base)
{
    return (struct cardinality_window){.since_ms = base->time_ms,
                                       .growth = (int64_t)now->series - (int64_t)base->series,
                                       .created = now->created - base->created,
                                       .removed = now->removed - base->removed};
}

void cardinality_totals(struct cardinality *cardinality, struct cardinality_totals *out)
{
    struct head_index *index = &cardinality->head->index;
    mutex_lock(&index->lock);
    struct flow now = flow_now(cardinality, index);
    uint32_t metric_name = index_find_name(index, NX_STR(LABEL_NAME_METRIC));
    *out = (struct cardinality_totals){
        .series = index->series,
        .metrics = metric_name == PAIR_NONE ? 0 : index_name_at(index, metric_name)->live,
        .labels = index->live_names,
        .pairs = index->live_pairs};
    mutex_unlock(&index->lock);
    struct cardinality_view *view = cardinality_view_begin(cardinality);
    out->refreshed_ms = view->now.time_ms;
    out->hour = window_since(&now, &view->hour);
    out->day = window_since(&now, &view->day);
    cardinality_view_end(view);
    out->since_ms = cardinality->begun_ms;
}

uint64_t cardinality_bytes(struct cardinality *cardinality)
{
    return atomic_load_explicit(&cardinality->bytes, memory_order_relaxed);
}

/* ---- life ---- */

struct cardinality *cardinality_new(struct head *head, const struct clock *clock)
{
    struct cardinality *cardinality = nx_calloc(1, sizeof(*cardinality));
    cardinality->head = head;
    cardinality->clock = clock;
    cardinality->begun_ns = clock_mono_ns(clock);
    cardinality->begun_ms = clock_wall_ms(clock);
    mutex_init(&cardinality->lock, LOCK_RANK_CARDINALITY);
    cardinality_refresh(cardinality);
    return cardinality;
}

void cardinality_free(struct cardinality *cardinality)
{
    if (cardinality == NULL)
        return;
    cardinality_view_end(cardinality->view);
    for (unsigned k = 0; k < CARDINALITY_KIND_COUNT; k++)
        nx_free(cardinality->tracks[k].items);
    mutex_deinit(&cardinality->lock);
    nx_free(cardinality);
}
