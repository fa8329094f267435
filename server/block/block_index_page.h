/* block_index_page.h - the values of index.mdb as bytes: pages of texts, of rows, of series. Pure functions, no LMDB.
 *
 *   every page      first u32 | count u16 | flags u16 | ...       entries first .. first + count - 1
 *   blob page       offset[count + 1] (u16, or u32 in a page over 64 KiB) | bytes
 *   row page        count rows of a fixed size
 *   series page     count series, each told as its difference from the one before; flag 1: with slots
 */
#pragma once

#include "narthex/base/buf.h"
#include "narthex/base/err.h"
#include "narthex/codec/varint.h"

#include "block_format.h"

#include <stdint.h>

/* LMDB puts a value above 2 KB on pages of its own, behind a header of 16 bytes: 4096k - 16 wastes nothing. */
#define INDEX_PAGE_BYTES      4080u
#define INDEX_BLOB_PAGE_BYTES 16368u
#define INDEX_PAGE_HEADER     8u
#define INDEX_PAGE_COUNT_MAX  UINT16_MAX
#define INDEX_PAGE_WIDE_BYTES UINT16_MAX /* a blob page longer than this has offsets of 32 bits */
#define INDEX_PAGE_FLAG_SLOTS 1u

struct index_page_head {
    uint32_t first;
    uint16_t count;
    uint16_t flags;
};
/* NX_E_CORRUPT when there is no whole header or no entry. */
NX_NODISCARD nx_code index_page_read(struct nx_bytes page, struct index_page_head *out_head);

/* ---- blob pages ---- */

/* Entry i of the page (i counts from 0). NX_E_CORRUPT when its bounds are impossible. */
NX_NODISCARD nx_code blob_page_get(struct nx_bytes page, uint32_t i, struct nx_bytes *out_blob);

struct blob_page_builder {
    struct nx_buf bytes;
    struct nx_buf page; /* scratch of the last finish */
    uint32_t *ends;     /* of each blob in bytes */
    uint32_t cap;
    uint32_t first, count;
};
void blob_page_builder_deinit(struct blob_page_builder *builder);
/* Whether a blob of this size still belongs into the page; an empty page takes any. */
bool blob_page_builder_fits(const struct blob_page_builder *builder, size_t bytes);
void blob_page_builder_add(struct blob_page_builder *builder, struct nx_bytes blob);
struct nx_bytes
blob_page_builder_finish(struct blob_page_builder *builder); /* valid until the builder changes */

/* ---- row pages: groups and vector groups ---- */

struct index_group_row {
    uint64_t offset;
    uint32_t stored_bytes;
    uint32_t first_rank, last_rank;
    int64_t min_ms, max_ms;
};
#define INDEX_GROUP_ROW_BYTES 40u
#define INDEX_GROUP_ROWS      ((INDEX_PAGE_BYTES - INDEX_PAGE_HEADER) / INDEX_GROUP_ROW_BYTES)
void index_group_row_store(const struct index_group_row *row, uint8_t *out);
void index_group_row_load(const uint8_t *in, struct index_group_row *out_row);

struct index_vector_row {
    uint64_t offset;
    uint32_t stored_bytes;
    uint32_t first_vector, vector_count;
};
#define INDEX_VECTOR_ROW_BYTES 24u
#define INDEX_VECTOR_ROWS      ((INDEX_PAGE_BYTES - INDEX_PAGE_HEADER) / INDEX_VECTOR_ROW_BYTES)
void index_vector_row_store(const struct index_vector_row *row, uint8_t *out);
void index_vector_row_load(const uint8_t *in, struct index_vector_row *out_row);

/* ---- series pages ---- */

#define SERIES_LABELS_MAX 65536u

/* Reads a page front to back. A series is its pairs' numbers, which ascend as its label names do. */
struct series_cursor {
    struct byte_reader in;
    uint32_t left; /* series not yet read */
    uint32_t rank; /* of the series last read */
    uint32_t next_rank;
    uint32_t slot;
    bool has_slots;
    bool is_new_shape; /* its names are not those of the series before */
    uint64_t
        changed; /* bit i: pairs[i] is not that of the series before; meaningless with a new shape */
    uint32_t *pairs;
    uint32_t count, cap;
};
void series_cursor_deinit(struct series_cursor *cursor);
NX_NODISCARD nx_code series_cursor_begin(struct series_cursor *cursor, struct nx_bytes page);
/* NX_E_NOT_FOUND at the end of the page; NX_E_CORRUPT unless pairs ascend below pair_bound. */
NX_NODISCARD nx_code series_cursor_next(struct series_cursor *cursor, uint32_t pair_bound);

struct series_page_builder {
    struct nx_buf page;
    struct nx_buf row; /* scratch */
    uint32_t *pairs;   /* of the last series */
    uint32_t pair_count, pair_cap;
    uint32_t first, count;
    bool has_slots;
};
void series_page_builder_deinit(struct series_page_builder *builder);
/* Adds the series unless the page is full (false): then finish and add it again. */
bool series_page_builder_try_add(struct series_page_builder *builder, const uint32_t *pairs,
                                 uint32_t count, bool is_same_shape, uint32_t slot);
struct nx_bytes
series_page_builder_finish(struct series_page_builder *builder); /* valid until the next add */
