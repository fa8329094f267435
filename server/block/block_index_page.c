/* SPDX-License-Identifier: Apache-2.0 */
/* block_index_page.c - pages of index.mdb: what is in a value, read and built.
 *
 * A series page relies on label order: a series mostly shares its names with the one before and many pairs too, and
 * a pair that differs is often a near one. A row is therefore
 *
 *   varint mask << 1        same names as before: bit i set when pair i differs;
 *   signed varint           per set bit, the step from the old pair number to the new
 * or
 *   varint count << 1 | 1   other names;
 *   varint                  per pair, its number less that of the pair before it, less 1 (the first: its number)
 *
 * and, with flag 1, its slot + 1 as a varint (0: none). The first row of a page has the second form.
 */
#include "block_index_page.h"

#include "narthex/base/mem.h"

#define SERIES_MASK_BITS 62u /* mask << 1 is a 64-bit varint */

nx_code index_page_read(struct nx_bytes page, struct index_page_head *out_head)
{
    if (page.len < INDEX_PAGE_HEADER)
        return NX_E_CORRUPT;
    struct index_page_head head = {load_u32(page.data), load_u16(page.data + 4),
                                   load_u16(page.data + 6)};
    if (head.count == 0 || head.first > UINT32_MAX - head.count)
        return NX_E_CORRUPT;
    *out_head = head;
    return NX_OK;
}

static void index_page_store_head(uint8_t *page, uint32_t first, uint32_t count, unsigned flags)
{
    NX_ASSERT(count > 0 && count <= INDEX_PAGE_COUNT_MAX);
    store_u32(page, first);
    store_u16(page + 4, (uint16_t)count);
    store_u16(page + 6, (uint16_t)flags);
}

/* ---- blob pages ---- */

nx_code blob_page_get(struct nx_bytes page, uint32_t i, struct nx_bytes *out_blob)
{
    if (page.len < INDEX_PAGE_HEADER || i >= load_u16(page.data + 4))
        return NX_E_CORRUPT;
    size_t width = page.len > INDEX_PAGE_WIDE_BYTES ? 4 : 2;
    size_t data_at = INDEX_PAGE_HEADER + width * ((size_t)load_u16(page.data + 4) + 1);
    if (data_at > page.len)
        return NX_E_CORRUPT;
    const uint8_t *at = page.data + INDEX_PAGE_HEADER + width * i;
    size_t begin = width == 4 ? load_u32(at) : load_u16(at);
    size_t end = width == 4 ? load_u32(at + 4) : load_u16(at + 2);
    if (begin < data_at || end < begin || end > page.len)
        return NX_E_CORRUPT;
    *out_blob = (struct nx_bytes){page.data + begin, end - begin};
    return NX_OK;
}

void blob_page_builder_deinit(struct blob_page_builder *builder)
{
    nx_buf_deinit(&builder->bytes);
    nx_buf_deinit(&builder->page);
    nx_free(builder->ends);
    *builder = (struct blob_page_builder){0};
}

bool blob_page_builder_fits(const struct blob_page_builder *builder, size_t bytes)
{
    if (builder->count == 0)
        return true;
    size_t size = INDEX_PAGE_HEADER + 2 * ((size_t)builder->count + 2) + builder->bytes.len + bytes;
    return builder->count < INDEX_PAGE_COUNT_MAX && size <= INDEX_BLOB_PAGE_BYTES;
}

void blob_page_builder_add(struct blob_page_builder *builder, struct nx_bytes blob)
{
    if (builder->count == builder->cap) {
        builder->cap = builder->cap == 0 ? 512 : builder->cap * 2;
        builder->ends = nx_realloc_array(builder->ends, builder->cap, sizeof(*builder->ends));
    }
    nx_buf_append(&builder->bytes, blob.data, blob.len);
    NX_ASSERT(builder->bytes.len < UINT32_MAX / 2);
    builder->ends[builder->count++] = (uint32_t)builder->bytes.len;
}

struct nx_bytes blob_page_builder_finish(struct blob_page_builder *builder)
{
    NX_ASSERT(builder->count > 0);
    size_t width = 2;
    size_t data_at = INDEX_PAGE_HEADER + width * ((size_t)builder->count + 1);
    if (data_at + builder->bytes.len > INDEX_PAGE_WIDE_BYTES) {
        width = 4;
        data_at = INDEX_PAGE_HEADER + width * ((size_t)builder->count + 1);
    }
    struct nx_buf *page = &builder->page;
    nx_buf_reset(page);
    uint8_t *head = nx_buf_extend(page, data_at);
    index_page_store_head(head, builder->first, builder->count, 0);
    for (uint32_t i = 0; i <= builder->count; i++) {
        size_t offset = data_at + (i == 0 ? 0 : builder->ends[i - 1]);
        if (width == 4)
            store_u32(head + INDEX_PAGE_HEADER + 4 * i, (uint32_t)offset);
        else
            store_u16(head + INDEX_PAGE_HEADER + 2 * i, (uint16_t)offset);
    }
    nx_buf_append(page, builder->bytes.data, builder->bytes.len);
    builder->first += builder->count;
    builder->count = 0;
    nx_buf_reset(&builder->bytes);
    return nx_buf_bytes(page);
}

/* ---- row pages ---- */

void index_group_row_store(const struct index_group_row *row, uint8_t *out)
{
    store_u64(out, row->offset);
    store_u32(out + 8, row->stored_bytes);
    store_u32(out + 12, row->first_rank);
    store_u32(out + 16, row->last_rank);
    store_u32(out + 20, 0);
    store_u64(out + 24, (uint64_t)row->min_ms);
    store_u64(out + 32, (uint64_t)row->max_ms);
}

void index_group_row_load(const uint8_t *in, struct index_group_row *out_row)
{
    *out_row = (struct index_group_row){
        .offset = load_u64(in),
        .stored_bytes = load_u32(in + 8),
        .first_rank = load_u32(in + 12),
        .last_rank = load_u32(in + 16),
        .min_ms = (int64_t)load_u64(in + 24),
        .max_ms = (int64_t)load_u64(in + 32),
    };
}

void index_vector_row_store(const struct index_vector_row *row, uint8_t *out)
{
    store_u64(out, row->offset);
    store_u32(out + 8, row->stored_bytes);
    store_u32(out + 12, row->first_vector);
    store_u32(out + 16, row->vector_count);
    store_u32(out + 20, 0);
}

void index_vector_row_load(const uint8_t *in, struct index_vector_row *out_row)
{
    *out_row = (struct index_vector_row){
        .offset = load_u64(in),
        .stored_bytes = load_u32(in + 8),
        .first_vector = load_u32(in + 12),
        .vector_count = load_u32(in + 16),
    };
}

/* ---- series pages: read ---- */

void series_cursor_deinit(struct series_cursor *cursor)
{
    nx_free(cursor->pairs);
    *cursor = (struct series_cursor){0};
}

nx_code series_cursor_begin(struct series_cursor *cursor, struct nx_bytes page)
{
    struct index_page_head head;
    if (index_page_read(page, &head) != NX_OK || head.flags > INDEX_PAGE_FLAG_SLOTS)
        return NX_E_CORRUPT;
    cursor->in = byte_reader_of(page);
    cursor->in.next += INDEX_PAGE_HEADER;
    cursor->left = head.count;
    cursor->next_rank = head.first;
    cursor->has_slots = head.flags == INDEX_PAGE_FLAG_SLOTS;
    cursor->count = 0;
    return NX_OK;
}

static void series_cursor_reserve(struct series_cursor *cursor, uint32_t count)
{
    if (count <= cursor->cap)
        return;
    cursor->cap = count < 64 ? 64 : count;
    cursor->pairs = nx_realloc_array(cursor->pairs, cursor->cap, sizeof(*cursor->pairs));
}

/* Other names: every pair anew. */
static nx_code series_cursor_read_all(struct series_cursor *cursor, uint64_t count,
                                      uint32_t pair_bound)
{
    /* A pair takes a byte at least, so a count beyond what is left is known to be false before memory is taken. */
    if (count == 0 || count > SERIES_LABELS_MAX || count > byte_reader_left(&cursor->in))
        return NX_E_CORRUPT;
    series_cursor_reserve(cursor, (uint32_t)count);
    uint64_t next = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t step = byte_reader_varint(&cursor->in);
        if (step >= pair_bound || next + step >= pair_bound)
            return NX_E_CORRUPT;
        cursor->pairs[i] = (uint32_t)(next + step);
        next += step + 1;
    }
    cursor->count = (uint32_t)count;
    cursor->is_new_shape = true;
    return NX_OK;
}

/* The names of the series before: only the pairs that differ. */
static nx_code series_cursor_read_changes(struct series_cursor *cursor, uint64_t mask,
                                          uint32_t pair_bound)
{
    if (cursor->count == 0 || (cursor->count < 64 && mask >> cursor->count != 0))
        return NX_E_CORRUPT;
    cursor->is_new_shape = false;
    cursor->changed = mask;
    for (uint64_t rest = mask; rest != 0; rest &= rest - 1) {
        uint32_t *pair = &cursor->pairs[__builtin_ctzll(rest)];
        uint64_t changed = *pair + (uint64_t)byte_reader_varint_signed(&cursor->in);
        if (changed >= pair_bound)
            return NX_E_CORRUPT;
        *pair = (uint32_t)changed;
    }
    bool is_ascending = true;
    for (uint32_t i = 1; i < cursor->count; i++)
        is_ascending &= cursor->pairs[i - 1] < cursor->pairs[i];
    return is_ascending ? NX_OK : NX_E_CORRUPT;
}

nx_code series_cursor_next(struct series_cursor *cursor, uint32_t pair_bound)
{
    if (cursor->left == 0)
        return NX_E_NOT_FOUND;
    uint64_t head = byte_reader_varint(&cursor->in);
    nx_code code = (head & 1) != 0 ? series_cursor_read_all(cursor, head >> 1, pair_bound)
                                   : series_cursor_read_changes(cursor, head >> 1, pair_bound);
    if (code != NX_OK)
        return code;
    cursor->slot = UINT32_MAX;
    if (cursor->has_slots) {
        uint64_t slot = byte_reader_varint(&cursor->in);
        if (slot > UINT32_MAX)
            return NX_E_CORRUPT;
        if (slot != 0)
            cursor->slot = (uint32_t)(slot - 1);
    }
    if (cursor->in.is_bad)
        return NX_E_CORRUPT;
    cursor->rank = cursor->next_rank++;
    cursor->left--;
    if (cursor->left == 0 && byte_reader_left(&cursor->in) != 0)
        return NX_E_CORRUPT;
    return NX_OK;
}

/* ---- series pages: build ---- */

void series_page_builder_deinit(struct series_page_builder *builder)
{
    nx_buf_deinit(&builder->page);
    nx_buf_deinit(&builder->row);
    nx_free(builder->pairs);
    *builder = (struct series_page_builder){0};
}

static void series_row_encode(struct series_page_builder *builder, const uint32_t *pairs,
                              uint32_t count, bool is_difference, uint32_t slot)
{
    struct nx_buf *row = &builder->row;
    nx_buf_reset(row);
    if (is_difference) {
        uint64_t mask = 0;
        for (uint32_t i = 0; i < count; i++)
            mask |= (uint64_t)(pairs[i] != builder->pairs[i]) << i;
        varint_append(row, mask << 1);
        for (uint64_t rest = mask; rest != 0; rest &= rest - 1) {
            unsigned i = (unsigned)__builtin_ctzll(rest);
            varint_append_signed(row, (int64_t)pairs[i] - builder->pairs[i]);
        }
    } else {
        varint_append(row, (uint64_t)count << 1 | 1);
        for (uint32_t i = 0; i < count; i++)
            varint_append(row, i == 0 ? pairs[0] : pairs[i] - pairs[i - 1] - 1);
    }
    if (builder->has_slots)
        varint_append(row, slot == UINT32_MAX ? 0 : (uint64_t)slot + 1);
}

bool series_page_builder_try_add(struct series_page_builder *builder, const uint32_t *pairs,
                                 uint32_t count, bool is_same_shape, uint32_t slot)
{
    NX_ASSERT(count > 0 && count <= SERIES_LABELS_MAX);
    bool is_difference = builder->count > 0 && is_same_shape && count <= SERIES_MASK_BITS;
    NX_DCHECK(!is_difference || count == builder->pair_count);
    series_row_encode(builder, pairs, count, is_difference, slot);
    if (builder->count == 0) {
        nx_buf_reset(&builder->page);
        memset(nx_buf_extend(&builder->page, INDEX_PAGE_HEADER), 0, INDEX_PAGE_HEADER);
    } else if (builder->page.len + builder->row.len > INDEX_PAGE_BYTES) {
        return false;
    }
    nx_buf_append(&builder->page, builder->row.data, builder->row.len);
    if (count > builder->pair_cap) {
        builder->pair_cap = count < 64 ? 64 : count;
        builder->pairs =
            nx_realloc_array(builder->pairs, builder->pair_cap, sizeof(*builder->pairs));
    }
    memcpy(builder->pairs, pairs, count * sizeof(*pairs));
    builder->pair_count = count;
    builder->count++;
    return true;
}

struct nx_bytes series_page_builder_finish(struct series_page_builder *builder)
{
    index_page_store_head(builder->page.data, builder->first, builder->count,
                          builder->has_slots ? INDEX_PAGE_FLAG_SLOTS : 0);
    builder->first += builder->count;
    builder->count = 0;
    return nx_buf_bytes(&builder->page);
}
