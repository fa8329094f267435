/* SPDX-License-Identifier: Apache-2.0 */
/* postings.c - sets of ids over CRoaring, and three packed forms of a list.
 *
 *   kind   payload behind kind byte and varint count          wins when
 *   1      deltas: first id, then gap - 1 each, as varints     a few scattered ids (95 of 100 lists)
 *   2      runs: (gap, length - 1) pairs, as varints           neighbours: all series of one metric
 *   3      Roaring's portable form                             long lists, dense without being runs
 *
 * In       packed lists come from disk: hostile. CRoaring's own reader checks lengths but not what it reads (order of
 *          keys and values, cardinalities), and later operations trust those; so roaring_is_sound checks every byte
 *          of the portable form first, and only then is CRoaring given it.
 * Memory   CRoaring allocates by malloc; a NULL from it aborts, as nx_alloc would.
 * Threads  one set, one thread, unless all only read.
 */
#include "narthex/codec/postings.h"

#include "narthex/base/assert.h"
#include "narthex/codec/varint.h"

#include <roaring/roaring.h>
#include <string.h>

enum postings_kind {
    POSTINGS_DELTAS = 1,
    POSTINGS_RUNS = 2,
    POSTINGS_ROARING = 3,
};

#define POSTINGS_HEAD_MAX  (1 + VARINT_BYTES_MAX)
#define POSTINGS_IDS_MAX   (UINT64_C(1) << 32)
#define ROARING_WORTH_MIN  64u   /* chosen: below this, Roaring's headers leave nothing to win */
#define ROARING_ARRAY_MAX  4096u /* the format's: more values than this are a bitmap */
#define ROARING_BITMAP_LEN 8192u
#define ROARING_OFFSETS_AT                                                                         \
 4u /* the format's: with run containers, fewer containers have no offsets */
#define DECODE_BATCH 256u

/* A set is a Roaring bitmap under another name; nothing ever looks inside `struct postings`. */
static roaring_bitmap_t *roaring_of(struct postings *set)
{
    return (roaring_bitmap_t *)(void *)set;
}

static const roaring_bitmap_t *roaring_of_const(const struct postings *set)
{
    return (const roaring_bitmap_t *)(const void *)set;
}

static struct postings *postings_of(roaring_bitmap_t *set)
{
    NX_ASSERT(set != NULL);
    return (struct postings *)(void *)set;
}

struct postings *postings_new(void)
{
    return postings_of(roaring_bitmap_create());
}

struct postings *postings_from_array(const uint32_t *ids, size_t count)
{
    struct postings *set = postings_new();
    postings_add_many(set, ids, count);
    return set;
}

struct postings *postings_from_range(uint32_t first, uint32_t end)
{
    struct postings *set = postings_new();
    if (first < end)
        roaring_bitmap_add_range_closed(roaring_of(set), first, end - 1);
    return set;
}

void postings_free(struct postings *set)
{
    if (set != NULL)
        roaring_bitmap_free(roaring_of(set));
}

void postings_add(struct postings *set, uint32_t id)
{
    roaring_bitmap_add(roaring_of(set), id);
}

void postings_add_many(struct postings *set, const uint32_t *ids, size_t count)
{
    if (count != 0)
        roaring_bitmap_add_many(roaring_of(set), count, ids);
}

void postings_remove(struct postings *set, uint32_t id)
{
    roaring_bitmap_remove(roaring_of(set), id);
}

bool postings_has(const struct postings *set, uint32_t id)
{
    return roaring_bitmap_contains(roaring_of_const(set), id);
}

uint64_t postings_count(const struct postings *set)
{
    return roaring_bitmap_get_cardinality(roaring_of_const(set));
}

void postings_and(struct postings *a, const struct postings *b)
{
    if (a != b)
        roaring_bitmap_and_inplace(roaring_of(a), roaring_of_const(b));
}

void postings_or(struct postings *a, const struct postings *b)
{
    if (a != b)
        roaring_bitmap_or_inplace(roaring_of(a), roaring_of_const(b));
}

void postings_and_not(struct postings *a, const struct postings *b)
{
    if (a == b)
        roaring_bitmap_clear(roaring_of(a)); /* CRoaring's does not expect itself */
    else
        roaring_bitmap_andnot_inplace(roaring_of(a), roaring_of_const(b));
}

bool postings_intersects(const struct postings *a, const struct postings *b)
{
    return roaring_bitmap_intersect(roaring_of_const(a), roaring_of_const(b));
}

void postings_to_array(const struct postings *set, uint32_t *out_ids)
{
    roaring_bitmap_to_uint32_array(roaring_of_const(set), out_ids);
}

size_t postings_memory(const struct postings *set)
{
    roaring_statistics_t stats;
    roaring_bitmap_statistics(roaring_of_const(set), &stats);
    size_t per_container = sizeof(void *) + sizeof(uint16_t) + sizeof(uint8_t) + 16 + 16;
    return sizeof(roaring_bitmap_t) + stats.n_containers * per_container +
           stats.n_bytes_array_containers + stats.n_bytes_run_containers +
           stats.n_bytes_bitset_containers;
}

/* Bytes of the payloads of both varint forms. */
static void list_sizes(const uint32_t *ids, size_t count, size_t *out_deltas, size_t *out_runs)
{
    size_t deltas = varint_length(ids[0]);
    size_t runs = deltas;
    size_t run_start = 0;
    for (size_t i = 1; i < count; i++) {
        NX_DCHECK(ids[i] > ids[i - 1]);
        size_t gap_bytes = varint_length(ids[i] - ids[i - 1] - 1);
        deltas += gap_bytes;
        if (ids[i] - ids[i - 1] != 1) {
            runs += varint_length(i - run_start - 1) + varint_length(ids[i] - ids[i - 1] - 2);
            run_start = i;
        }
    }
    *out_deltas = deltas;
    *out_runs = runs + varint_length(count - run_start - 1);
}

static uint8_t *put_deltas(uint8_t *at, const uint32_t *ids, size_t count)
{
    at += varint_put(at, ids[0]);
    for (size_t i = 1; i < count; i++)
        at += varint_put(at, ids[i] - ids[i - 1] - 1);
    return at;
}

/* A gap is counted from the last id plus two: an id right behind a run would belong to it. */
static uint8_t *put_runs(uint8_t *at, const uint32_t *ids, size_t count)
{
    size_t run_start = 0;
    at += varint_put(at, ids[0]);
    for (size_t i = 1; i < count; i++) {
        if (ids[i] - ids[i - 1] == 1)
            continue;
        at += varint_put(at, i - run_start - 1);
        at += varint_put(at, ids[i] - ids[i - 1] - 2);
        run_start = i;
    }
    return at + varint_put(at, count - run_start - 1);
}

/* Appends the Roaring form if it takes less than bytes_max, head included. */
static bool try_put_roaring(const uint32_t *ids, size_t count, size_t bytes_max, struct nx_buf *out)
{
    roaring_bitmap_t *set = roaring_of(postings_from_array(ids, count));
    roaring_bitmap_run_optimize(set);
    size_t bytes = roaring_bitmap_portable_size_in_bytes(set);
    bool is_smaller = bytes < bytes_max;
    if (is_smaller) {
        nx_buf_append_byte(out, POSTINGS_ROARING);
        varint_append(out, count);
        size_t written = roaring_bitmap_portable_serialize(set, (char *)nx_buf_extend(out, bytes));
        NX_ASSERT(written == bytes);
    }
    roaring_bitmap_free(set);
    return is_smaller;
}

void postings_encode(const uint32_t *ids, size_t count, struct nx_buf *out)
{
    size_t deltas = 0;
    size_t runs = 0;
    if (count != 0)
        list_sizes(ids, count, &deltas, &runs);
    size_t smaller = deltas <= runs ? deltas : runs;
    if (smaller >= ROARING_WORTH_MIN && try_put_roaring(ids, count, smaller, out))
        return;
    nx_buf_reserve(out, POSTINGS_HEAD_MAX + smaller);
    uint8_t *at = out->data + out->len;
    *at++ = deltas <= runs ? POSTINGS_DELTAS : POSTINGS_RUNS;
    at += varint_put(at, count);
    if (count != 0)
        at = deltas <= runs ? put_deltas(at, ids, count) : put_runs(at, ids, count);
    out->len = (size_t)(at - out->data);
}

/* Walks a deltas payload; adds to `set` unless that is NULL. */
static bool walk_deltas(struct byte_reader reader, uint64_t count, uint32_t id_bound,
                        struct postings *set)
{
    uint32_t batch[DECODE_BATCH];
    size_t batched = 0;
    uint64_t next = 0; /* the smallest id that may follow */
    for (uint64_t i = 0; i < count; i++) {
        uint64_t gap = byte_reader_varint(&reader);
        if (reader.is_bad || gap >= id_bound || next + gap >= id_bound)
            return false;
        batch[batched++] = (uint32_t)(next + gap);
        next += gap + 1;
        if (batched == DECODE_BATCH || i + 1 == count) {
            if (set != NULL)
                postings_add_many(set, batch, batched);
            batched = 0;
        }
    }
    return byte_reader_left(&reader) == 0;
}

static bool walk_runs(struct byte_reader reader, uint64_t count, uint32_t id_bound,
                      struct postings *set)
{
    uint64_t next = 0;
    uint64_t seen = 0;
    while (byte_reader_left(&reader) != 0) {
        uint64_t gap = byte_reader_varint(&reader);
        uint64_t more = byte_reader_varint(&reader);
        if (reader.is_bad || gap >= id_bound || more >= id_bound || next + gap + more >= id_bound)
            return false;
        uint32_t first = (uint32_t)(next + gap);
        if (set != NULL)
            roaring_bitmap_add_range_closed(roaring_of(set), first, first + (uint32_t)more);
        next = (uint64_t)first + more + 2;
        seen += more + 1;
    }
    return seen == count;
}

static bool array_container_is_sound(struct nx_bytes values, uint32_t *out_last)
{
    uint32_t last = 0;
    for (size_t i = 0; i < values.len; i += 2) {
        uint32_t value = values.data[i] | (uint32_t)values.data[i + 1] << 8;
        if (i != 0 && value <= last)
            return false;
        last = value;
    }
    *out_last = last;
    return true;
}

static bool bitmap_container_is_sound(struct nx_bytes words, uint32_t cardinality,
                                      uint32_t *out_last)
{
    uint32_t bits = 0;
    for (uint32_t i = 0; i < ROARING_BITMAP_LEN / 8; i++) {
        uint64_t word;
        memcpy(&word, words.data + 8 * (size_t)i, sizeof(word));
        bits += (uint32_t)__builtin_popcountll(word);
        if (word != 0)
            *out_last = 64 * i + 63 - (uint32_t)__builtin_clzll(word);
    }
    return bits == cardinality;
}

static bool run_container_is_sound(struct byte_reader *reader, uint32_t cardinality,
                                   uint32_t *out_last)
{
    uint32_t runs = byte_reader_u16(reader);
    uint32_t total = 0;
    uint32_t last = 0;
    for (uint32_t i = 0; i < runs; i++) {
        uint32_t start = byte_reader_u16(reader);
        uint32_t more = byte_reader_u16(reader);
        if (reader->is_bad || (i != 0 && start <= last + 1) || start + more > UINT16_MAX)
            return false;
        last = start + more;
        total += more + 1;
    }
    *out_last = last;
    return !reader->is_bad && total == cardinality;
}

struct roaring_head {
    uint32_t containers;
    bool has_runs;
    struct nx_bytes run_flags; /* a bit per container; empty without runs */
    struct nx_bytes keys;      /* 4 bytes per container: key, cardinality - 1 */
    struct nx_bytes offsets;   /* 4 bytes per container, from the start of the form; may be empty */
};

static bool roaring_head_read(struct byte_reader *reader, struct roaring_head *head)
{
    uint32_t cookie = byte_reader_u32(reader);
    head->has_runs = (cookie & 0xffff) == SERIAL_COOKIE;
    if (head->has_runs) {
        head->containers = (cookie >> 16) + 1;
        head->run_flags = byte_reader_take(reader, (head->containers + 7) / 8);
    } else if (cookie == SERIAL_COOKIE_NO_RUNCONTAINER) {
        head->containers = byte_reader_u32(reader);
    }
    if (head->containers == 0 || head->containers > MAX_CONTAINERS)
        return false;
    head->keys = byte_reader_take(reader, 4 * (uint64_t)head->containers);
    if (!head->has_runs || head->containers >= ROARING_OFFSETS_AT)
        head->offsets = byte_reader_take(reader, 4 * (uint64_t)head->containers);
    return !reader->is_bad;
}

/* One container, which begins where the reader stands. */
static bool roaring_container_is_sound(struct byte_reader *reader, const struct roaring_head *head,
                                       uint32_t index, uint32_t cardinality, uint32_t *out_last)
{
    if (head->has_runs && (head->run_flags.data[index / 8] >> (index % 8) & 1) != 0)
        return run_container_is_sound(reader, cardinality, out_last);
    bool is_bitmap = cardinality > ROARING_ARRAY_MAX;
    struct nx_bytes body =
        byte_reader_take(reader, is_bitmap ? ROARING_BITMAP_LEN : 2 * (uint64_t)cardinality);
    if (reader->is_bad)
        return false;
    return is_bitmap ? bitmap_container_is_sound(body, cardinality, out_last)
                     : array_container_is_sound(body, out_last);
}

/* All of the portable form: sizes, order, cardinalities, offsets, and every id below id_bound. */
static bool roaring_is_sound(struct nx_bytes form, uint64_t count, uint32_t id_bound)
{
    struct byte_reader reader = byte_reader_of(form);
    struct roaring_head head = {0};
    if (!roaring_head_read(&reader, &head))
        return false;
    struct byte_reader keys = byte_reader_of(head.keys);
    struct byte_reader offsets = byte_reader_of(head.offsets);
    uint64_t seen = 0;
    uint32_t key_before = 0;
    for (uint32_t i = 0; i < head.containers; i++) {
        uint32_t key = byte_reader_u16(&keys);
        uint32_t cardinality = (uint32_t)byte_reader_u16(&keys) + 1;
        uint32_t last = 0;
        if (i != 0 && key <= key_before)
            return false;
        if (head.offsets.len != 0 &&
            byte_reader_u32(&offsets) != (uint64_t)(reader.next - form.data))
            return false;
        if (!roaring_container_is_sound(&reader, &head, i, cardinality, &last))
            return false;
        if ((key << 16 | last) >= id_bound)
            return false;
        key_before = key;
        seen += cardinality;
    }
    return byte_reader_left(&reader) == 0 && seen == count;
}

static nx_code decode_roaring(struct nx_bytes form, uint64_t count, uint32_t id_bound,
                              struct postings *set)
{
    if (!roaring_is_sound(form, count, id_bound))
        return NX_E_CORRUPT;
    roaring_bitmap_t *loaded =
        roaring_bitmap_portable_deserialize_safe((const char *)form.data, form.len);
    if (loaded == NULL)
        return NX_E_CORRUPT;
    roaring_bitmap_or_inplace(roaring_of(set), loaded);
    roaring_bitmap_free(loaded);
    return NX_OK;
}

nx_code postings_decode_into(struct nx_bytes bytes, uint32_t id_bound, struct postings *set)
{
    struct byte_reader reader = byte_reader_of(bytes);
    uint8_t kind = byte_reader_u8(&reader);
    uint64_t count = byte_reader_varint(&reader);
    if (reader.is_bad || count > id_bound)
        return NX_E_CORRUPT;
    switch (kind) {
    case POSTINGS_DELTAS:
        if (!walk_deltas(reader, count, id_bound, NULL))
            return NX_E_CORRUPT;
        return walk_deltas(reader, count, id_bound, set) ? NX_OK : NX_E_CORRUPT;
    case POSTINGS_RUNS:
        if (!walk_runs(reader, count, id_bound, NULL))
            return NX_E_CORRUPT;
        return walk_runs(reader, count, id_bound, set) ? NX_OK : NX_E_CORRUPT;
    case POSTINGS_ROARING:
        return decode_roaring(byte_reader_take(&reader, byte_reader_left(&reader)), count, id_bound,
                              set);
    default:
        return NX_E_CORRUPT;
    }
}

uint64_t postings_encoded_count(struct nx_bytes bytes)
{
    struct byte_reader reader = byte_reader_of(bytes);
    uint8_t kind = byte_reader_u8(&reader);
    uint64_t count = byte_reader_varint(&reader);
    bool is_kind = kind >= POSTINGS_DELTAS && kind <= POSTINGS_ROARING;
    if (reader.is_bad || !is_kind || count > POSTINGS_IDS_MAX)
        return 0;
    if (kind == POSTINGS_DELTAS && count > byte_reader_left(&reader))
        return 0; /* an id takes a byte at least */
    return count;
}
