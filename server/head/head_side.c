/* SPDX-License-Identifier: Apache-2.0 */
/* head_side.c - native histograms and exemplars of the series that have some.
 *
 * In       samples in any order, checked
 * Out      codes to copy under the lock and to decode outside it; what is sealed for a flush apart from what is open
 * Limits   SIDE_EXEMPLARS_MAX a series; memory is counted in sides->bytes
 *
 * A look-up of an older histogram decodes its stream from the start: that is the price of a late or repeated sample.
 */
#include "head_side.h"

#include "narthex/base/assert.h"
#include "narthex/base/mem.h"
#include "narthex/codec/exemplar_code.h"
#include "narthex/codec/histogram_code.h"

#include <string.h>

/* ---- the table ---- */

/* Local numbers are dense: multiplied by an odd constant they spread over the table. */
static uint32_t local_hash(uint32_t local)
{
    return local * UINT32_C(2654435761);
}

void sides_init(struct head_sides *sides)
{
    *sides = (struct head_sides){0};
    arena_init(&sides->scratch, 0);
}

static size_t stream_bytes(const struct side_stream *stream)
{
    return stream->times_ms.cap + stream->code.cap;
}

static size_t list_bytes(const struct side_list *list)
{
    size_t bytes = list->cap * sizeof(*list->items);
    for (uint32_t i = 0; i < list->count; i++)
        bytes += list->items[i].bytes;
    return bytes;
}

static size_t side_bytes(const struct side_series *side)
{
    return side->newest.cap + stream_bytes(&side->stream) + stream_bytes(&side->sealed_stream) +
           list_bytes(&side->late) + list_bytes(&side->sealed_late) + list_bytes(&side->exemplars) +
           list_bytes(&side->sealed_exemplars);
}

static void stream_deinit(struct side_stream *stream)
{
    nx_buf_deinit(&stream->times_ms);
    nx_buf_deinit(&stream->code);
}

static void list_deinit(struct side_list *list)
{
    for (uint32_t i = 0; i < list->count; i++)
        nx_free(list->items[i].code);
    nx_free(list->items);
    *list = (struct side_list){0};
}

static void side_deinit(struct side_series *side)
{
    nx_buf_deinit(&side->newest);
    stream_deinit(&side->stream);
    stream_deinit(&side->sealed_stream);
    list_deinit(&side->late);
    list_deinit(&side->sealed_late);
    list_deinit(&side->exemplars);
    list_deinit(&side->sealed_exemplars);
}

void sides_deinit(struct head_sides *sides)
{
    for (uint32_t i = 0; i < sides->count; i++)
        side_deinit(&sides->items[i]);
    nx_free(sides->items);
    id_table_deinit(&sides->table);
    arena_deinit(&sides->scratch);
    nx_buf_deinit(&sides->buf);
    *sides = (struct head_sides){0};
}

struct side_series *side_find(const struct head_sides *sides, uint32_t local)
{
    uint32_t hash = local_hash(local);
    uint32_t at = hash;
    uint32_t id;
    while ((id = id_table_next(&sides->table, hash, &at)) != ID_TABLE_NONE)
        if (sides->items[id].local == local)
            return &sides->items[id];
    return NULL;
}

struct side_series *side_get(struct head_sides *sides, uint32_t local)
{
    struct side_series *found = side_find(sides, local);
    if (found != NULL)
        return found;
    uint32_t id;
    if (sides->free != 0) {
        id = sides->free - 1;
        sides->free = sides->items[id].local;
    } else {
        if (sides->count == sides->cap) {
            uint32_t cap = sides->cap == 0 ? 16 : sides->cap * 2;
            sides->items = nx_realloc_array(sides->items, cap, sizeof(*sides->items));
            sides->bytes += (cap - sides->cap) * sizeof(*sides->items);
            sides->cap = cap;
        }
        id = sides->count++;
    }
    sides->items[id] = (struct side_series){.local = local};
    id_table_insert(&sides->table, local_hash(local), id);
    return &sides->items[id];
}

static void side_drop(struct head_sides *sides, struct side_series *side)
{
    uint32_t id = (uint32_t)(side - sides->items);
    bool was_there = id_table_remove(&sides->table, local_hash(side->local), id);
    NX_ASSERT(was_there);
    sides->bytes -= side_bytes(side);
    side_deinit(side);
    *side = (struct side_series){.local = sides->free};
    sides->free = id + 1;
}

/* ---- lists ---- */

/* Position of the first entry at or after the time. */
static uint32_t list_position(const struct side_list *list, int64_t time_ms)
{
    uint32_t low = 0;
    uint32_t high = list->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (list->items[middle].time_ms < time_ms)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void list_insert(struct head_sides *sides, struct side_list *list, uint32_t at,
                        int64_t time_ms, struct nx_bytes code)
{
    if (list->count == list->cap) {
        uint32_t cap = list->cap == 0 ? 2 : list->cap + list->cap / 2;
        list->items = nx_realloc_array(list->items, cap, sizeof(*list->items));
        sides->bytes += (cap - list->cap) * sizeof(*list->items);
        list->cap = cap;
    }
    memmove(&list->items[at + 1], &list->items[at], (list->count - at) * sizeof(*list->items));
    list->items[at] = (struct side_item){
        .time_ms = time_ms, .code = nx_alloc(code.len), .bytes = (uint32_t)code.len};
    memcpy(list->items[at].code, code.data, code.len);
    list->count++;
    sides->bytes += code.len;
}

/* Moves all entries of `from` to `to`; of one time those of `to` come first. */
static void list_join(struct head_sides *sides, struct side_list *to, struct side_list *from)
{
    if (from->count == 0)
        return;
    if (to->count == 0) {
        struct side_list empty = *to;
        *to = *from;
        *from = empty;
        return;
    }
    uint32_t count = to->count + from->count;
    struct side_item *items = nx_alloc(count * sizeof(*items));
    uint32_t a = 0;
    uint32_t b = 0;
    for (uint32_t i = 0; i < count; i++) {
        bool is_old =
            b == from->count || (a < to->count && to->items[a].time_ms <= from->items[b].time_ms);
        items[i] = is_old ? to->items[a++] : from->items[b++];
    }
    sides->bytes += count * sizeof(*items);
    sides->bytes -= ((size_t)to->cap + from->cap) * sizeof(*items);
    nx_free(to->items);
    nx_free(from->items);
    *to = (struct side_list){.items = items, .count = count, .cap = count};
    *from = (struct side_list){0};
}

static struct nx_bytes item_code(const struct side_item *item)
{
    return (struct nx_bytes){.data = item->code, .len = item->bytes};
}

/* ---- histograms ---- */

static size_t stream_count(const struct side_stream *stream)
{
    return stream->times_ms.len / sizeof(int64_t);
}

static const int64_t *stream_times(const struct side_stream *stream)
{
    return (const int64_t *)(const void *)stream->times_ms.data;
}

/* Index of the sample at this time, or the number of samples. */
static size_t stream_index(const struct side_stream *stream, int64_t time_ms)
{
    const int64_t *times = stream_times(stream);
    size_t count = stream_count(stream);
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (times[middle] < time_ms)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && times[low] == time_ms ? low : count;
}

int64_t side_newest_ms(const struct side_series *side)
{
    const struct side_stream *newest =
        stream_count(&side->stream) > 0 ? &side->stream : &side->sealed_stream;
    size_t count = stream_count(newest);
    return count == 0 ? INT64_MIN : stream_times(newest)[count - 1];
}

static bool list_has(const struct side_list *list, int64_t time_ms)
{
    uint32_t at = list_position(list, time_ms);
    return at < list->count && list->items[at].time_ms == time_ms;
}

bool side_has_histogram_at(const struct side_series *side, int64_t time_ms)
{
    return stream_index(&side->stream, time_ms) < stream_count(&side->stream) ||
           stream_index(&side->sealed_stream, time_ms) < stream_count(&side->sealed_stream) ||
           list_has(&side->late, time_ms) || list_has(&side->sealed_late, time_ms);
}

/* Our own codes: they decode. */
static struct histogram decode_next(struct byte_reader *reader, const struct histogram *before,
                                    struct arena *arena)
{
    struct histogram histogram;
    nx_code code = histogram_get(reader, before, arena, &histogram);
    NX_ASSERT(code == NX_OK);
    return histogram;
}

/* The stream's sample at `index`, in the scratch. */
static struct histogram stream_at(struct head_sides *sides, const struct side_stream *stream,
                                  size_t index)
{
    struct byte_reader reader = byte_reader_of(nx_buf_bytes(&stream->code));
    struct histogram at = decode_next(&reader, NULL, &sides->scratch);
    for (size_t i = 0; i < index; i++) {
        struct histogram before = at;
        at = decode_next(&reader, &before, &sides->scratch);
    }
    return at;
}

static bool find_histogram(struct head_sides *sides, const struct side_series *side,
                           int64_t time_ms, struct histogram *out)
{
    const struct side_stream *streams[2] = {&side->stream, &side->sealed_stream};
    for (unsigned i = 0; i < 2; i++) {
        size_t index = stream_index(streams[i], time_ms);
        if (index == stream_count(streams[i]))
            continue;
        *out = stream_at(sides, streams[i], index);
        return true;
    }
    const struct side_list *lists[2] = {&side->late, &side->sealed_late};
    for (unsigned i = 0; i < 2; i++) {
        uint32_t at = list_position(lists[i], time_ms);
        if (at == lists[i]->count || lists[i]->items[at].time_ms != time_ms)
            continue;
        struct byte_reader reader = byte_reader_of(item_code(&lists[i]->items[at]));
        *out = decode_next(&reader, NULL, &sides->scratch);
        return true;
    }
    return false;
}

static void push_histogram(struct head_sides *sides, struct side_series *side,
                           const struct histogram_sample *sample)
{
    struct side_stream *stream = &side->stream;
    size_t before_bytes = stream_bytes(stream) + side->newest.cap;
    if (stream_count(stream) == 0) {
        nx_buf_append(&stream->code, sides->buf.data, sides->buf.len);
    } else {
        struct byte_reader reader = byte_reader_of(nx_buf_bytes(&side->newest));
        struct histogram before = decode_next(&reader, NULL, &sides->scratch);
        histogram_put(sample->histogram, &before, &stream->code);
    }
    nx_buf_append(&stream->times_ms, &sample->time_ms, sizeof(sample->time_ms));
    nx_buf_reset(&side->newest);
    nx_buf_append(&side->newest, sides->buf.data, sides->buf.len);
    sides->bytes += stream_bytes(stream) + side->newest.cap - before_bytes;
}

enum side_result side_add_histogram(struct head_sides *sides, struct side_series *side,
                                    const struct histogram_sample *sample)
{
    enum side_result result = SIDE_NEW;
    struct histogram stored;
    nx_buf_reset(&sides->buf);
    histogram_put(sample->histogram, NULL, &sides->buf);
    if (sample->time_ms > side_newest_ms(side) && !list_has(&side->late, sample->time_ms) &&
        !list_has(&side->sealed_late, sample->time_ms)) {
        push_histogram(sides, side, sample);
    } else if (find_histogram(sides, side, sample->time_ms, &stored)) {
        result = histogram_equal(&stored, sample->histogram) ? SIDE_SAME : SIDE_CONFLICT;
    } else {
        list_insert(sides, &side->late, list_position(&side->late, sample->time_ms),
                    sample->time_ms, nx_buf_bytes(&sides->buf));
    }
    arena_reset(&sides->scratch);
    sides->histograms += result == SIDE_NEW;
    return result;
}

/* ---- exemplars ---- */

static bool list_has_code(const struct side_list *list, int64_t time_ms, struct nx_bytes code)
{
    for (uint32_t i = list_position(list, time_ms);
         i < list->count && list->items[i].time_ms == time_ms; i++)
        if (list->items[i].bytes == code.len &&
            memcmp(list->items[i].code, code.data, code.len) == 0)
            return true;
    return false;
}

enum side_result side_add_exemplar(struct head_sides *sides, struct side_series *side,
                                   const struct exemplar *exemplar)
{
    nx_buf_reset(&sides->buf);
    exemplar_put(exemplar, 0, &sides->buf);
    struct nx_bytes code = nx_buf_bytes(&sides->buf);
    if (list_has_code(&side->exemplars, exemplar->time_ms, code) ||
        list_has_code(&side->sealed_exemplars, exemplar->time_ms, code))
        return SIDE_SAME;
    if (side->exemplars.count >= SIDE_EXEMPLARS_MAX)
        return SIDE_FULL;
    /* Behind those of the same time: exemplars of one time stand in the order of arrival. */
    uint32_t at = exemplar->time_ms == INT64_MAX
                      ? side->exemplars.count
                      : list_position(&side->exemplars, exemplar->time_ms + 1);
    list_insert(sides, &side->exemplars, at, exemplar->time_ms, code);
    sides->exemplars++;
    return SIDE_NEW;
}

/* ---- flush ---- */

static void stream_join(struct head_sides *sides, struct side_stream *to, struct side_stream *from)
{
    if (stream_count(from) == 0)
        return;
    if (stream_count(to) == 0) {
        struct side_stream empty = *to;
        *to = *from;
        *from = empty;
        return;
    }
    size_t before_bytes = stream_bytes(to) + stream_bytes(from);
    nx_buf_append(&to->times_ms, from->times_ms.data, from->times_ms.len);
    nx_buf_append(&to->code, from->code.data, from->code.len);
    stream_deinit(from);
    sides->bytes += stream_bytes(to);
    sides->bytes -= before_bytes;
}

bool side_has_sealed(const struct side_series *side)
{
    return stream_count(&side->sealed_stream) > 0 || side->sealed_late.count > 0 ||
           side->sealed_exemplars.count > 0;
}

bool side_seal(struct head_sides *sides, struct side_series *side)
{
    stream_join(sides, &side->sealed_stream, &side->stream);
    list_join(sides, &side->sealed_late, &side->late);
    list_join(sides, &side->sealed_exemplars, &side->exemplars);
    return side_has_sealed(side);
}

bool side_let_go(struct head_sides *sides, struct side_series *side)
{
    sides->bytes -= stream_bytes(&side->sealed_stream) + list_bytes(&side->sealed_late) +
                    list_bytes(&side->sealed_exemplars);
    stream_deinit(&side->sealed_stream);
    list_deinit(&side->sealed_late);
    list_deinit(&side->sealed_exemplars);
    if (stream_count(&side->stream) > 0 || side->late.count > 0 || side->exemplars.count > 0)
        return true;
    side_drop(sides, side);
    return false;
}

/* ---- read ---- */

void side_copy_deinit(struct side_copy *copy)
{
    nx_buf_deinit(&copy->times_ms);
    nx_buf_deinit(&copy->code);
    nx_buf_deinit(&copy->places);
    nx_buf_deinit(&copy->list_code);
}

void side_copy_reset(struct side_copy *copy)
{
    nx_buf_reset(&copy->times_ms);
    nx_buf_reset(&copy->code);
    nx_buf_reset(&copy->places);
    nx_buf_reset(&copy->list_code);
}

static void copy_stream(const struct side_stream *stream, struct side_copy *copy)
{
    nx_buf_append(&copy->times_ms, stream->times_ms.data, stream->times_ms.len);
    nx_buf_append(&copy->code, stream->code.data, stream->code.len);
}

/* Both lists as one, ascending; of one time those of `old` first. */
static void copy_lists(const struct side_list *old, const struct side_list *young,
                       struct side_copy *copy)
{
    uint32_t a = 0;
    uint32_t b = 0;
    while (a < old->count || b < young->count) {
        bool is_old = b == young->count ||
                      (a < old->count && old->items[a].time_ms <= young->items[b].time_ms);
        const struct side_item *item = is_old ? &old->items[a++] : &young->items[b++];
        struct side_place place = {.time_ms = item->time_ms,
                                   .offset = (uint32_t)copy->list_code.len,
                                   .bytes = item->bytes};
        nx_buf_append(&copy->places, &place, sizeof(place));
        nx_buf_append(&copy->list_code, item->code, item->bytes);
    }
}

static const struct side_list no_list;

void side_copy_histograms(const struct side_series *side, bool is_sealed_only,
                          struct side_copy *copy)
{
    copy_stream(&side->sealed_stream, copy);
    if (!is_sealed_only)
        copy_stream(&side->stream, copy);
    copy_lists(&side->sealed_late, is_sealed_only ? &no_list : &side->late, copy);
}

void side_copy_exemplars(const struct side_series *side, bool is_sealed_only,
                         struct side_copy *copy)
{
    copy_lists(&side->sealed_exemplars, is_sealed_only ? &no_list : &side->exemplars, copy);
}

static size_t place_count(const struct side_copy *copy)
{
    return copy->places.len / sizeof(struct side_place);
}

static struct byte_reader place_reader(const struct side_copy *copy, size_t i,
                                       const struct side_place **out_place)
{
    const struct side_place *place =
        &((const struct side_place *)(const void *)copy->places.data)[i];
    *out_place = place;
    return byte_reader_of(
        (struct nx_bytes){.data = copy->list_code.data + place->offset, .len = place->bytes});
}

/* Appends the late ones below `below_ms` that lie in the range. */
static nx_code decode_late(const struct side_copy *copy, size_t *next, int64_t below_ms,
                           int64_t min_ms, int64_t max_ms, struct arena *arena, struct nx_buf *out)
{
    for (; *next < place_count(copy); (*next)++) {
        const struct side_place *place;
        struct byte_reader reader = place_reader(copy, *next, &place);
        if (place->time_ms >= below_ms)
            return NX_OK;
        if (place->time_ms < min_ms || place->time_ms > max_ms)
            continue;
        struct histogram *histogram = arena_alloc(arena, sizeof(*histogram));
        if (histogram == NULL)
            return NX_E_LIMIT;
        nx_code code = histogram_get(&reader, NULL, arena, histogram);
        if (code != NX_OK)
            return code;
        struct histogram_sample sample = {.time_ms = place->time_ms, .histogram = histogram};
        nx_buf_append(out, &sample, sizeof(sample));
    }
    return NX_OK;
}

nx_code side_decode_histograms(const struct side_copy *copy, int64_t min_ms, int64_t max_ms,
                               struct arena *arena, struct nx_buf *out)
{
    const int64_t *times = (const int64_t *)(const void *)copy->times_ms.data;
    size_t count = copy->times_ms.len / sizeof(int64_t);
    struct byte_reader reader = byte_reader_of(nx_buf_bytes(&copy->code));
    const struct histogram *before = NULL;
    size_t late = 0;
    for (size_t i = 0; i < count && times[i] <= max_ms; i++) {
        struct histogram *histogram = arena_alloc(arena, sizeof(*histogram));
        if (histogram == NULL)
            return NX_E_LIMIT;
        nx_code code = histogram_get(&reader, before, arena, histogram);
        if (code == NX_OK)
            code = decode_late(copy, &late, times[i], min_ms, max_ms, arena, out);
        if (code != NX_OK)
            return code;
        before = histogram;
        if (times[i] < min_ms)
            continue;
        struct histogram_sample sample = {.time_ms = times[i], .histogram = histogram};
        nx_buf_append(out, &sample, sizeof(sample));
    }
    return decode_late(copy, &late, INT64_MAX, min_ms, max_ms, arena, out);
}

nx_code side_decode_exemplars(const struct side_copy *copy, int64_t min_ms, int64_t max_ms,
                              struct arena *arena, struct nx_buf *out)
{
    for (size_t i = 0; i < place_count(copy); i++) {
        const struct side_place *place;
        struct byte_reader reader = place_reader(copy, i, &place);
        if (place->time_ms < min_ms || place->time_ms > max_ms)
            continue;
        struct exemplar exemplar;
        nx_code code = exemplar_get(&reader, 0, arena, &exemplar);
        if (code == NX_OK && !exemplar_copy(arena, &exemplar, &exemplar))
            code = NX_E_LIMIT;
        if (code != NX_OK)
            return code;
        nx_buf_append(out, &exemplar, sizeof(exemplar));
    }
    return NX_OK;
}
