/* SPDX-License-Identifier: Apache-2.0 */
/* journal_record.c - columns of samples and definitions <-> the bytes of one record.
 *
 * In       up to JOURNAL_RECORD_SAMPLES samples in order of arrival; entries of journal_buffer_define and
 *          journal_buffer_push_blob
 * Out      header, payload (zstd where that is smaller), padding to 8 bytes: docs/formats/journal.md
 * Fails    decoding: NX_E_CORRUPT
 *
 * Why columns: a scrape's samples share few times, their slots ascend by small steps, and most values repeat their
 * series' last one or are a small step from it. So a time is an index into the record's few distinct times, a slot a
 * delta, and a value is coded against the last one of its slot in this segment, as an integer difference or as XOR
 * with the zero bytes cut off. How it is coded is mostly how the one before was: the control byte is told as XOR with
 * that one's. zstd then finds the runs.
 *
 *   value control byte   0x00                 the base again
 *                        t << 4 | n           n bytes (1..8) follow: XOR with the base, shifted right by t zero
 *                        bytes; t + n <= 8
 *                        0x80 | k << 4 | n    n bytes (1..8) follow: zigzag of the difference of value * 10^k and
 *                        base * 10^k, which
 *                                             both are integers q of at most 53 bits with q / 10^k exactly the value
 *
 * A value's meaning depends on earlier records, so each record carries a hash of its decoded values: after a lost
 * record the ones that needed it fail, and never come back wrong.
 */
#include "narthex/base/hash.h"
#include "narthex/base/mem.h"
#include "narthex/codec/varint.h"
#include "narthex/codec/zstd_block.h"
#include "narthex/model/staleness.h"

#include "journal_internal.h"

#define VALUE_IS_DECIMAL          0x80u
#define EXACT_INTEGER_MAX         ((double)(INT64_C(1) << 53))
#define PACK_RAW_MIN              64u /* below, zstd's own header eats the gain */
#define LABELS_PER_DEFINITION_MAX 65536u

/* ---- bases ---- */

void journal_bases_reset(struct journal_bases *bases)
{
    for (size_t i = 0; i < bases->page_count; i++) {
        if (bases->pages[i] != NULL)
            memset(bases->pages[i], 0, JOURNAL_BASE_PAGE * sizeof(struct journal_base));
    }
}

void journal_bases_deinit(struct journal_bases *bases)
{
    for (size_t i = 0; i < bases->page_count; i++)
        nx_free(bases->pages[i]);
    nx_free(bases->pages);
    *bases = (struct journal_bases){0};
}

static struct journal_base *bases_add_page(struct journal_bases *bases, size_t page)
{
    if (page >= bases->page_count) {
        size_t count = page + page / 2 + 16;
        bases->pages = nx_realloc_array(bases->pages, count, sizeof(*bases->pages));
        memset(bases->pages + bases->page_count, 0,
               (count - bases->page_count) * sizeof(*bases->pages));
        bases->page_count = count;
    }
    bases->pages[page] = nx_calloc(JOURNAL_BASE_PAGE, sizeof(struct journal_base));
    return bases->pages[page];
}

static inline struct journal_base *bases_at(struct journal_bases *bases, uint32_t slot)
{
    size_t page = slot / JOURNAL_BASE_PAGE;
    struct journal_base *items = page < bases->page_count ? bases->pages[page] : NULL;
    if (NX_UNLIKELY(items == NULL))
        items = bases_add_page(bases, page);
    return items + slot % JOURNAL_BASE_PAGE;
}

void journal_codec_init(struct journal_codec *codec)
{
    memset(codec, 0, sizeof(*codec));
}

void journal_codec_deinit(struct journal_codec *codec)
{
    journal_bases_deinit(&codec->bases);
    nx_buf_deinit(&codec->raw);
}

/* ---- framing ---- */

/* Header in front of the payload that begins at out->len - payload, then padding. */
static void record_seal(struct nx_buf *out, size_t begin, enum journal_record_type type,
                        bool is_packed, size_t raw_bytes, size_t count, uint64_t values_hash,
                        uint64_t epoch, uint64_t offset)
{
    size_t payload = out->len - begin - JOURNAL_RECORD_HEADER;
    uint8_t *header = out->data + begin;
    le64_put(header + 8, values_hash);
    le32_put(header + 16, (uint32_t)payload);
    le32_put(header + 20, (uint32_t)raw_bytes);
    le32_put(header + 24, (uint32_t)count);
    header[28] = (uint8_t)type;
    header[29] = is_packed ? 1 : 0;
    header[30] = 0;
    header[31] = 0;
    le64_put(header, nx_hash64(header + 8, JOURNAL_RECORD_HEADER - 8 + payload, epoch ^ offset));
    size_t padding = journal_align(out->len, 8) - out->len;
    if (padding > 0)
        memset(nx_buf_extend(out, padding), 0, padding);
}

/* `out` is 8-aligned in length: the records of a commit stay aligned. */
static void record_put(struct nx_bytes raw, enum journal_record_type type, size_t count,
                       uint64_t values_hash, uint64_t epoch, uint64_t offset, struct nx_buf *out)
{
    NX_ASSERT(out->len % 8 == 0 && raw.len <= JOURNAL_RECORD_RAW_MAX);
    size_t begin = out->len;
    memset(nx_buf_extend(out, JOURNAL_RECORD_HEADER), 0, JOURNAL_RECORD_HEADER);
    bool is_packed = false;
    if (raw.len >= PACK_RAW_MIN) {
        zstd_pack(raw, JOURNAL_ZSTD_LEVEL, out);
        is_packed = out->len - begin - JOURNAL_RECORD_HEADER < raw.len;
    }
    if (!is_packed) {
        out->len = begin + JOURNAL_RECORD_HEADER;
        nx_buf_append(out, raw.data, raw.len);
    }
    record_seal(out, begin, type, is_packed, raw.len, count, values_hash, epoch, offset);
}

bool journal_record_parse(struct nx_bytes at, struct journal_record *out)
{
    if (at.len < JOURNAL_RECORD_HEADER)
        return false;
    *out = (struct journal_record){
        .checksum = le64_get(at.data),
        .values_hash = le64_get(at.data + 8),
        .payload_bytes = le32_get(at.data + 16),
        .raw_bytes = le32_get(at.data + 20),
        .count = le32_get(at.data + 24),
        .type = at.data[28],
        .is_packed = at.data[29],
    };
    if (out->payload_bytes > at.len - JOURNAL_RECORD_HEADER ||
        out->raw_bytes > JOURNAL_RECORD_RAW_MAX)
        return false;
    if (out->is_packed > 1 || (out->is_packed == 0 && out->payload_bytes != out->raw_bytes))
        return false;
    if (out->type < JOURNAL_RECORD_DEFINITIONS || out->type > JOURNAL_RECORD_METADATA)
        return false;
    out->bytes = (size_t)journal_align(JOURNAL_RECORD_HEADER + (uint64_t)out->payload_bytes, 8);
    return out->bytes <= at.len;
}

bool journal_record_verifies(struct nx_bytes at, const struct journal_record *record,
                             uint64_t epoch, uint64_t offset)
{
    NX_ASSERT(at.len >= record->bytes);
    size_t covered = JOURNAL_RECORD_HEADER - 8 + (size_t)record->payload_bytes;
    return nx_hash64(at.data + 8, covered, epoch ^ offset) == record->checksum;
}

/* The payload unpacked: in place when it is plain, else in codec->raw. */
static nx_code record_raw(struct journal_codec *codec, const struct journal_record *record,
                          struct nx_bytes payload, struct nx_bytes *out_raw)
{
    if (record->is_packed == 0) {
        *out_raw = payload;
        return NX_OK;
    }
    nx_buf_reset(&codec->raw);
    nx_buf_reserve(&codec->raw, (size_t)record->raw_bytes + 1);
    nx_code code = zstd_unpack(payload, codec->raw.data, record->raw_bytes);
    if (code != NX_OK)
        return code;
    *out_raw = (struct nx_bytes){.data = codec->raw.data, .len = record->raw_bytes};
    return NX_OK;
}

/* ---- samples: encode ---- */

static inline uint32_t slot_rotate(uint32_t slot)
{
    return slot >> JOURNAL_SHARD_BITS | slot << (32 - JOURNAL_SHARD_BITS);
}

static inline uint32_t slot_rotate_back(uint32_t rotated)
{
    return rotated << JOURNAL_SHARD_BITS | rotated >> (32 - JOURNAL_SHARD_BITS);
}

static inline size_t time_table_at(int64_t time_ms)
{
    return (size_t)(((uint64_t)time_ms * UINT64_C(0x9e3779b97f4a7c15)) >> 51);
}
static_assert(2 * JOURNAL_RECORD_SAMPLES == 1u << (64 - 51), "the hash covers the table");

/* Numbers the distinct times in order of appearance; returns how many there are. */
static size_t times_index(struct journal_codec *codec, size_t count)
{
    const size_t mask = NX_ARRAY_LEN(codec->time_table) - 1;
    size_t distinct = 1;
    codec->distinct_ms[0] = codec->times_ms[0];
    codec->time_index[0] = 0;
    size_t same = 1;
    while (same < count && codec->times_ms[same] == codec->times_ms[0])
        codec->time_index[same++] = 0;
    if (same == count)
        return 1;
    memset(codec->time_table, 0, sizeof(codec->time_table));
    codec->time_table[time_table_at(codec->times_ms[0])] = 1;
    for (size_t i = same; i < count; i++) {
        int64_t time_ms = codec->times_ms[i];
        if (time_ms == codec->times_ms[i - 1]) {
            codec->time_index[i] = codec->time_index[i - 1];
            continue;
        }
        size_t at = time_table_at(time_ms);
        while (codec->time_table[at] != 0 &&
               codec->distinct_ms[codec->time_table[at] - 1] != time_ms)
            at = (at + 1) & mask;
        if (codec->time_table[at] == 0) {
            codec->distinct_ms[distinct++] = time_ms;
            codec->time_table[at] = (uint16_t)distinct;
        }
        codec->time_index[i] = (uint16_t)(codec->time_table[at] - 1);
    }
    return distinct;
}

static uint8_t *times_put(const struct journal_codec *codec, size_t distinct, uint8_t *out)
{
    out += varint_put(out, distinct);
    uint64_t before = 0;
    for (size_t i = 0; i < distinct; i++) {
        uint64_t now = (uint64_t)codec->distinct_ms[i];
        out += varint_put(out, zigzag((int64_t)(now - before)));
        before = now;
    }
    return out;
}

static uint8_t *time_indexes_put(const struct journal_codec *codec, size_t distinct, size_t count,
                                 uint8_t *out)
{
    if (distinct == 1)
        return out;
    unsigned before = 0;
    bool is_wide = distinct > 256;
    for (size_t i = 0; i < count; i++) {
        unsigned step = codec->time_index[i] - before;
        before = codec->time_index[i];
        out[i] = (uint8_t)step;
        if (is_wide)
            out[count + i] = (uint8_t)(step >> 8);
    }
    return out + (is_wide ? 2 : 1) * count;
}

static uint8_t *slots_put(struct journal_codec *codec, size_t count, uint8_t *out)
{
    uint32_t before = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t slot = codec->slots[i];
        NX_ASSERT(slot < JOURNAL_SLOT_LIMIT);
        codec->base_of[i] = bases_at(&codec->bases, slot);
        __builtin_prefetch(codec->base_of[i], 1);
        uint32_t now = slot_rotate(slot);
        out += varint_put(out, zigzag((int64_t)(int32_t)(now - before)));
        before = now;
    }
    return out;
}

static inline unsigned bytes_of(uint64_t value) /* value != 0 */
{
    return (unsigned)(71 - __builtin_clzll(value)) / 8;
}

static const double powers_of_ten[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7};

/* True when value = q / 10^k for an integer q of at most 53 bits, to the bit: not for -0, nor for anything not
 * finite. */
static inline bool bits_to_decimal(uint64_t bits, unsigned k, int64_t *out_q)
{
    double value = float_from_bits(bits);
    double scaled = value * powers_of_ten[k];
    if (!(scaled >= -EXACT_INTEGER_MAX && scaled <= EXACT_INTEGER_MAX))
        return false;
    *out_q = (int64_t)(scaled + (scaled < 0 ? -0.5 : 0.5));
    return float_bits((double)*out_q / powers_of_ten[k]) == bits;
}

static inline bool bits_are_integer(uint64_t bits)
{
    double value = float_from_bits(bits);
    if (!(value >= -EXACT_INTEGER_MAX && value <= EXACT_INTEGER_MAX))
        return false;
    return float_bits((double)(int64_t)value) == bits;
}

/* Control byte of the difference as decimals with the fewest digits that both have; 0 when they have none. */
static uint8_t decimal_code(uint64_t bits, uint64_t base, uint64_t *out_rest)
{
    bool is_integer = bits_are_integer(bits) && bits_are_integer(base);
    for (unsigned k = is_integer ? 0 : 1; k < NX_ARRAY_LEN(powers_of_ten); k++) {
        int64_t now;
        int64_t before;
        if (bits_to_decimal(bits, k, &now) && bits_to_decimal(base, k, &before) && now != before) {
            *out_rest = zigzag(now - before);
            return (uint8_t)(VALUE_IS_DECIMAL | k << 4 | bytes_of(*out_rest));
        }
    }
    return 0;
}

/* As decimals with the digits that the series' last difference had. 0: they have more, or are none. */
static inline uint8_t decimal_again(uint64_t bits, uint64_t base, unsigned k, uint64_t *out_rest)
{
    int64_t now;
    int64_t before;
    if (!bits_to_decimal(bits, k, &now) || !bits_to_decimal(base, k, &before))
        return 0;
    *out_rest = zigzag(now - before);
    return (uint8_t)(VALUE_IS_DECIMAL | k << 4 | bytes_of(*out_rest));
}

/* Control byte; *out_rest has the bytes that follow it. */
static inline uint8_t value_code(uint64_t bits, uint64_t base, unsigned control_before,
                                 uint64_t *out_rest)
{
    uint64_t difference = bits ^ base;
    if (difference == 0)
        return 0;
    if (control_before & VALUE_IS_DECIMAL) {
        uint8_t decimal = decimal_again(bits, base, (control_before >> 4) & 7, out_rest);
        if (decimal != 0)
            return decimal;
    }
    unsigned zeros = (unsigned)__builtin_ctzll(difference) / 8;
    uint64_t rest = difference >> (8 * zeros);
    unsigned n = bytes_of(rest);
    if (n > 1) {
        uint8_t decimal = decimal_code(bits, base, out_rest);
        if (decimal != 0 && (decimal & 15) <= n)
            return decimal;
    }
    *out_rest = rest;
    return (uint8_t)(zeros << 4 | n);
}

/* Controls, then value bytes. 8 bytes may be written beyond the end. */
static uint8_t *values_put(struct journal_codec *codec, size_t count, uint8_t *out)
{
    uint8_t *control = out;
    out += count;
    for (size_t i = 0; i < count; i++) {
        uint64_t bits = codec->value_bits[i];
        uint64_t rest = 0;
        struct journal_base *base = codec->base_of[i];
        uint8_t code = value_code(bits, base->bits, (unsigned)base->control, &rest);
        control[i] = (uint8_t)(code ^ base->control);
        *base = (struct journal_base){.bits = bits, .control = code};
        le64_put(out, rest);
        out += code & 15;
    }
    return out;
}

void journal_record_put_samples(struct journal_codec *codec, size_t count, uint64_t epoch,
                                uint64_t offset, struct nx_buf *out)
{
    NX_ASSERT(count >= 1 && count <= JOURNAL_RECORD_SAMPLES);
    nx_buf_reset(&codec->raw);
    nx_buf_reserve(&codec->raw, journal_samples_bound(count) + 8);
    size_t distinct = times_index(codec, count);
    uint8_t *next = codec->raw.data;
    next = times_put(codec, distinct, next);
    next = slots_put(codec, count, next);
    next = time_indexes_put(codec, distinct, count, next);
    next = values_put(codec, count, next);
    codec->raw.len = (size_t)(next - codec->raw.data);
    NX_ASSERT(codec->raw.len + JOURNAL_RECORD_HEADER <= journal_samples_bound(count));
    uint64_t values_hash = nx_hash64(codec->value_bits, count * sizeof(uint64_t), 0);
    record_put(nx_buf_bytes(&codec->raw), JOURNAL_RECORD_SAMPLE_COLUMNS, count, values_hash, epoch,
               offset, out);
}

/* ---- samples: decode ---- */

static bool times_get(struct byte_reader *reader, struct journal_codec *codec, size_t count,
                      size_t *out_distinct)
{
    uint64_t distinct = byte_reader_varint(reader);
    if (reader->is_bad || distinct == 0 || distinct > count)
        return false;
    uint64_t now = 0;
    for (size_t i = 0; i < distinct; i++) {
        now += (uint64_t)byte_reader_varint_signed(reader);
        codec->distinct_ms[i] = (int64_t)now;
    }
    *out_distinct = (size_t)distinct;
    return !reader->is_bad;
}

static bool slots_get(struct byte_reader *reader, struct journal_codec *codec, size_t count)
{
    uint32_t now = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t step = reader->next < reader->end && *reader->next < 0x80
                            ? *reader->next++
                            : byte_reader_varint(reader);
        now += (uint32_t)unzigzag(step);
        uint32_t slot = slot_rotate_back(now);
        if (reader->is_bad || slot >= JOURNAL_SLOT_LIMIT)
            return false;
        codec->slots[i] = slot;
        codec->base_of[i] = bases_at(&codec->bases, slot);
        __builtin_prefetch(codec->base_of[i], 1);
    }
    return true;
}

static bool time_indexes_get(struct byte_reader *reader, struct journal_codec *codec,
                             size_t distinct, size_t count)
{
    size_t width = distinct == 1 ? 0 : distinct <= 256 ? 1 : 2;
    struct nx_bytes column = byte_reader_take(reader, count * width);
    if (reader->is_bad)
        return false;
    size_t mask = width == 2 ? UINT16_MAX : UINT8_MAX;
    size_t index = 0;
    for (size_t i = 0; i < count; i++) {
        if (width > 0)
            index += column.data[i];
        if (width == 2)
            index += (size_t)column.data[count + i] << 8;
        index &= mask;
        if (index >= distinct)
            return false;
        codec->times_ms[i] = codec->distinct_ms[index];
    }
    return true;
}

static inline uint64_t rest_load(const uint8_t *next, const uint8_t *end, unsigned n)
{
    if (NX_LIKELY(end - next >= 8)) {
        uint64_t value = le64_get(next);
        return n >= 8 ? value : value & ((UINT64_C(1) << (8 * n)) - 1);
    }
    uint64_t value = 0;
    for (unsigned i = 0; i < n; i++)
        value |= (uint64_t)next[i] << (8 * i);
    return value;
}

static bool values_get(struct byte_reader *reader, struct journal_codec *codec, size_t count)
{
    struct nx_bytes control = byte_reader_take(reader, count);
    if (reader->is_bad)
        return false;
    const uint8_t *next = reader->next;
    for (size_t i = 0; i < count; i++) {
        struct journal_base *base = codec->base_of[i];
        unsigned code = control.data[i] ^ (unsigned)base->control;
        unsigned n = code & 15;
        uint64_t bits = base->bits;
        if (n > 8 || (size_t)(reader->end - next) < n)
            return false;
        if (code & VALUE_IS_DECIMAL) {
            unsigned k = (code >> 4) & 7;
            int64_t before;
            if (!bits_to_decimal(bits, k, &before))
                return false;
            uint64_t step = (uint64_t)unzigzag(rest_load(next, reader->end, n));
            bits = float_bits((double)(int64_t)((uint64_t)before + step) / powers_of_ten[k]);
        } else {
            unsigned zeros = code >> 4;
            if (zeros + n > 8 || (n == 0 && zeros != 0))
                return false;
            bits ^= n == 0 ? 0 : rest_load(next, reader->end, n) << (8 * zeros);
        }
        next += n;
        codec->value_bits[i] = bits;
        *base = (struct journal_base){.bits = bits, .control = code};
    }
    return next == reader->end;
}

nx_code journal_record_get_samples(struct journal_codec *codec, const struct journal_record *record,
                                   struct nx_bytes payload)
{
    size_t count = record->count;
    if (count == 0 || count > JOURNAL_RECORD_SAMPLES ||
        record->raw_bytes > journal_samples_bound(count))
        return NX_E_CORRUPT;
    struct nx_bytes raw;
    if (record_raw(codec, record, payload, &raw) != NX_OK)
        return NX_E_CORRUPT;
    struct byte_reader reader = byte_reader_of(raw);
    size_t distinct;
    if (!times_get(&reader, codec, count, &distinct) || !slots_get(&reader, codec, count) ||
        !time_indexes_get(&reader, codec, distinct, count) || !values_get(&reader, codec, count))
        return NX_E_CORRUPT;
    if (nx_hash64(codec->value_bits, count * sizeof(uint64_t), 0) != record->values_hash)
        return NX_E_CORRUPT;
    return NX_OK;
}

/* ---- definitions ---- */

void journal_record_put_entries(enum journal_record_type type, struct nx_bytes raw, size_t count,
                                uint64_t epoch, uint64_t offset, struct nx_buf *out)
{
    NX_ASSERT(type != JOURNAL_RECORD_SAMPLE_COLUMNS);
    record_put(raw, type, count, 0, epoch, offset, out);
}

static struct nx_str text_get(struct byte_reader *reader)
{
    uint64_t length = byte_reader_varint(reader);
    return nx_str_from_bytes(byte_reader_take(reader, length));
}

/* One entry: views into it. False when it is not exactly one. */
static bool definition_get(struct nx_bytes entry, uint32_t *out_slot, struct label **items,
                           size_t *items_cap, size_t *out_count)
{
    struct byte_reader reader = byte_reader_of(entry);
    uint64_t slot = byte_reader_varint(&reader);
    uint64_t count = byte_reader_varint(&reader);
    if (reader.is_bad || slot >= JOURNAL_SLOT_LIMIT || count > LABELS_PER_DEFINITION_MAX ||
        count > byte_reader_left(&reader))
        return false;
    if (count > *items_cap) {
        *items = nx_realloc_array(*items, (size_t)count, sizeof(**items));
        *items_cap = (size_t)count;
    }
    for (size_t i = 0; i < count; i++) {
        (*items)[i].name = text_get(&reader);
        (*items)[i].value = text_get(&reader);
        if (reader.is_bad || (*items)[i].name.len == 0 || (*items)[i].value.len == 0)
            return false;
        if (i > 0 && nx_str_cmp((*items)[i - 1].name, (*items)[i].name) >= 0)
            return false;
    }
    *out_slot = (uint32_t)slot;
    *out_count = (size_t)count;
    return byte_reader_left(&reader) == 0;
}

nx_code journal_record_get_definitions(struct journal_codec *codec,
                                       const struct journal_record *record, struct nx_bytes payload,
                                       const struct journal_visitor *visitor, bool *out_is_visitor,
                                       struct nx_err *err)
{
    *out_is_visitor = false;
    struct nx_bytes raw;
    if (record_raw(codec, record, payload, &raw) != NX_OK)
        return nx_err_set(err, NX_E_CORRUPT, "definitions do not unpack");
    struct byte_reader reader = byte_reader_of(raw);
    struct label *items = NULL;
    size_t items_cap = 0;
    nx_code code = NX_OK;
    for (uint32_t i = 0; i < record->count && code == NX_OK; i++) {
        uint64_t bytes = byte_reader_varint(&reader);
        struct nx_bytes entry = byte_reader_take(&reader, bytes);
        uint32_t slot;
        size_t count;
        if (reader.is_bad || !definition_get(entry, &slot, &items, &items_cap, &count)) {
            code = nx_err_set(err, NX_E_CORRUPT, "definition %u of a record is malformed", i);
            break;
        }
        code = visitor->define(visitor->context, slot,
                               (struct labels){.items = items, .count = count}, err);
        *out_is_visitor = code != NX_OK;
    }
    if (code == NX_OK && byte_reader_left(&reader) > 0)
        code = nx_err_set(err, NX_E_CORRUPT, "a record of definitions has bytes behind its last");
    nx_free(items);
    return code;
}

/* ---- side entries ---- */

struct blob {
    uint32_t slot;
    int64_t time_ms;
    struct nx_bytes payload;
};

static bool blob_get(struct byte_reader *reader, struct blob *out)
{
    uint64_t bytes = byte_reader_varint(reader);
    struct byte_reader entry = byte_reader_of(byte_reader_take(reader, bytes));
    if (reader->is_bad)
        return false;
    uint64_t slot = byte_reader_varint(&entry);
    out->time_ms = byte_reader_varint_signed(&entry);
    out->payload = byte_reader_take(&entry, byte_reader_left(&entry));
    out->slot = (uint32_t)slot;
    return !entry.is_bad && slot < JOURNAL_SLOT_LIMIT && out->payload.len <= JOURNAL_BLOB_BYTES_MAX;
}

nx_code journal_record_get_blobs(struct journal_codec *codec, const struct journal_record *record,
                                 struct nx_bytes payload, const struct journal_visitor *visitor,
                                 bool *out_is_visitor, struct nx_err *err)
{
    *out_is_visitor = false;
    struct nx_bytes raw;
    if (record_raw(codec, record, payload, &raw) != NX_OK)
        return nx_err_set(err, NX_E_CORRUPT, "side entries do not unpack");
    struct byte_reader reader = byte_reader_of(raw);
    struct blob blob;
    for (uint32_t i = 0; i < record->count; i++) {
        if (!blob_get(&reader, &blob))
            return nx_err_set(err, NX_E_CORRUPT, "side entry %u of a record is malformed", i);
    }
    if (byte_reader_left(&reader) > 0)
        return nx_err_set(err, NX_E_CORRUPT, "a record of side entries has bytes behind its last");
    if (visitor->blob == NULL)
        return NX_OK;
    reader = byte_reader_of(raw);
    while (byte_reader_left(&reader) > 0) {
        bool is_blob = blob_get(&reader, &blob);
        NX_ASSERT(is_blob);
        nx_code code = visitor->blob(visitor->context, (enum journal_blob_kind)record->type,
                                     blob.slot, blob.time_ms, blob.payload, err);
        if (code != NX_OK) {
            *out_is_visitor = true;
            return code;
        }
    }
    return NX_OK;
}

/* ---- commit header ---- */

#define COMMIT_MAGIC 0x434a584eu /* "NXJC" */

void journal_commit_header_put(uint8_t out[JOURNAL_COMMIT_HEADER],
                               const struct journal_commit_header *header, uint64_t offset)
{
    memset(out, 0, JOURNAL_COMMIT_HEADER);
    le32_put(out + 8, COMMIT_MAGIC);
    le32_put(out + 12, header->bytes);
    le64_put(out + 16, header->number);
    le64_put(out + 24, header->epoch);
    le64_put(out + 32, header->sequence);
    le64_put(out + 40, header->sample_count);
    le32_put(out + 48, header->record_count);
    le64_put(out, nx_hash64(out + 8, JOURNAL_COMMIT_HEADER - 8, header->epoch ^ offset));
}

bool journal_commit_header_get(const uint8_t in[JOURNAL_COMMIT_HEADER], uint64_t epoch,
                               uint64_t offset, struct journal_commit_header *out)
{
    if (le32_get(in + 8) != COMMIT_MAGIC)
        return false;
    struct journal_commit_header header = {
        .bytes = le32_get(in + 12),
        .number = le64_get(in + 16),
        .epoch = le64_get(in + 24),
        .sequence = le64_get(in + 32),
        .sample_count = le64_get(in + 40),
        .record_count = le32_get(in + 48),
    };
    if (epoch != 0 && header.epoch != epoch)
        return false;
    if (nx_hash64(in + 8, JOURNAL_COMMIT_HEADER - 8, header.epoch ^ offset) != le64_get(in))
        return false;
    if (header.bytes < JOURNAL_COMMIT_HEADER || header.number == 0)
        return false;
    *out = header;
    return true;
}
