/* SPDX-License-Identifier: Apache-2.0 */
/* catalog_salvage.c - rows of a damaged catalog, taken from its pages without LMDB.
 *
 * In       the file of a catalog, damaged anyhow
 * Out      every row of `kv` and `tomb` whose checksum is right, and whether these are all
 * Fails    when it cannot be read
 *
 * Each row's checksum is over table, key and payload, so a row is known wherever it lies: all leaf pages are looked
 * through, those that are no longer in use too. What is reached from the newest meta page is current; how many rows
 * there should be is in the records of the tables. With a damaged meta page nothing is called current, since the other
 * one may be older.
 */
#include "narthex/base/buf.h"
#include "narthex/base/io_copy.h"
#include "narthex/base/mem.h"
#include "narthex/block/catalog.h"

#include "block_format.h"
#include "catalog_internal.h"

#include <string.h>

#define PAGE_BYTES             4096u
#define PAGE_HEADER            16u
#define NODE_HEADER            8u
#define TABLE_BYTES            48u
#define META_AT                16u
#define META_MAGIC             UINT32_C(0xBEEFC0DE)
#define META_MAIN_AT           72u
#define META_TXN_AT            128u
#define DEPTH_MAX              16u
#define FILE_BYTES_MAX         ((size_t)1 << 30)
#define SUM_BYTES              8u
#define FORMAT_WITH_TOMBSTONES 2u

enum {
    PAGE_BRANCH = 0x01,
    PAGE_LEAF = 0x02,
    PAGE_OVERFLOW = 0x04,
    PAGE_META = 0x08,
    PAGE_DIRTY = 0x10,
};
enum {
    NODE_BIG = 0x01,
    NODE_TABLE = 0x02,
};

struct salvage {
    struct catalog_salvage *out;
    struct nx_bytes bytes;
    uint64_t page_count;
    uint8_t *is_reached; /* per page */
    size_t cap;
    bool has_main;                         /* the list of tables was read */
    uint64_t entries[CATALOG_TABLE_COUNT]; /* as the tables' records say */
    uint64_t found[CATALOG_TABLE_COUNT];   /* current rows */
};

struct node {
    unsigned flags;
    uint64_t child; /* of a branch */
    struct nx_bytes key, value;
    uint64_t value_bytes; /* value.len, or that of the overflow run */
};

static const uint8_t *page_at(const struct salvage *salvage, uint64_t number)
{
    return salvage->bytes.data + number * PAGE_BYTES;
}

static unsigned page_kind(const struct salvage *salvage, uint64_t number)
{
    const uint8_t *page = page_at(salvage, number);
    unsigned lower = load_u16(page + 12), upper = load_u16(page + 14);
    unsigned kind = load_u16(page + 10) & ~(unsigned)PAGE_DIRTY;
    bool is_tree = load_u64(page) == number && (kind == PAGE_LEAF || kind == PAGE_BRANCH) &&
                   lower >= PAGE_HEADER && lower <= upper && upper <= PAGE_BYTES;
    return is_tree ? kind : 0;
}

static unsigned node_count(const struct salvage *salvage, uint64_t number)
{
    return (load_u16(page_at(salvage, number) + 12) - PAGE_HEADER) / 2;
}

/* False when it does not lie in its page. */
static bool node_read(const struct salvage *salvage, uint64_t number, unsigned index,
                      struct node *out)
{
    const uint8_t *page = page_at(salvage, number);
    unsigned offset = load_u16(page + PAGE_HEADER + 2 * (size_t)index);
    if (offset < PAGE_HEADER || offset > PAGE_BYTES - NODE_HEADER)
        return false;
    const uint8_t *at = page + offset;
    size_t left = PAGE_BYTES - NODE_HEADER - offset, key_bytes = load_u16(at + 6);
    if (key_bytes > left)
        return false;
    uint64_t low = load_u16(at) | (uint64_t)load_u16(at + 2) << 16;
    *out = (struct node){.flags = load_u16(at + 4),
                         .child = low | (uint64_t)load_u16(at + 4) << 32,
                         .key = {at + NODE_HEADER, key_bytes},
                         .value_bytes = low};
    out->value = (struct nx_bytes){at + NODE_HEADER + key_bytes, left - key_bytes};
    return true;
}

/* The node's value, from its page or its overflow run; false when that lies outside. */
static bool node_value(const struct salvage *salvage, const struct node *node, struct nx_bytes *out)
{
    if (node->flags == 0 && node->value_bytes <= node->value.len) {
        *out = (struct nx_bytes){node->value.data, node->value_bytes};
        return true;
    }
    if (node->flags != NODE_BIG || node->value.len < 8)
        return false;
    uint64_t run = load_u64(node->value.data);
    if (run < 2 || run >= salvage->page_count ||
        node->value_bytes > (salvage->page_count - run) * PAGE_BYTES - PAGE_HEADER)
        return false;
    *out = (struct nx_bytes){page_at(salvage, run) + PAGE_HEADER, node->value_bytes};
    return true;
}

/* ---- what is current ---- */

static bool key_is(struct nx_bytes key, const char *text)
{
    return key.len == strlen(text) && memcmp(key.data, text, key.len) == 0;
}

static void reach(struct salvage *salvage, uint64_t number, unsigned depth, bool is_main)
{
    if (depth == 0 || number < 2 || number >= salvage->page_count || salvage->is_reached[number])
        return;
    unsigned kind = page_kind(salvage, number);
    if (kind == 0)
        return;
    salvage->is_reached[number] = 1;
    salvage->has_main = salvage->has_main || (is_main && kind == PAGE_LEAF);
    for (unsigned i = 0; i < node_count(salvage, number); i++) {
        struct node node;
        if (!node_read(salvage, number, i, &node)) {
            salvage->has_main = salvage->has_main && !is_main;
            continue;
        }
        if (kind == PAGE_BRANCH)
            reach(salvage, node.child, depth - 1, is_main);
        if (kind != PAGE_LEAF || !is_main || node.flags != NODE_TABLE ||
            node.value.len < TABLE_BYTES)
            continue;
        if (key_is(node.key, "kv"))
            salvage->entries[CATALOG_TABLE_KV] = load_u64(node.value.data + 32);
        if (key_is(node.key, "tomb"))
            salvage->entries[CATALOG_TABLE_TOMB] = load_u64(node.value.data + 32);
        if (key_is(node.key, "block"))
            salvage->entries[CATALOG_TABLE_BLOCK] = 1;
        if (key_is(node.key, "state"))
            salvage->entries[CATALOG_TABLE_STATE] = 1;
        reach(salvage, load_u64(node.value.data + 40), DEPTH_MAX, false);
    }
}

static bool meta_is_good(const struct salvage *salvage, uint64_t number)
{
    const uint8_t *page = page_at(salvage, number);
    return load_u64(page) == number && load_u16(page + 10) == PAGE_META &&
           load_u32(page + META_AT) == META_MAGIC && load_u32(page + META_AT + 4) == 1;
}

static void reach_all(struct salvage *salvage)
{
    if (salvage->page_count < 2 || !meta_is_good(salvage, 0) || !meta_is_good(salvage, 1))
        return;
    const uint8_t *even = page_at(salvage, 0) + META_AT, *odd = page_at(salvage, 1) + META_AT;
    uint64_t even_txn = load_u64(even + META_TXN_AT), odd_txn = load_u64(odd + META_TXN_AT);
    const uint8_t *newest = even_txn > odd_txn ? even : odd;
    uint64_t gap = even_txn > odd_txn ? even_txn - odd_txn : odd_txn - even_txn;
    if (gap == 1 && (even_txn & 1) == 0)
        reach(salvage, load_u64(newest + META_MAIN_AT + 40), DEPTH_MAX, true);
    /* All tables of format 1 are always there: else the list of them is damaged. */
    if (salvage->entries[CATALOG_TABLE_BLOCK] == 0 || salvage->entries[CATALOG_TABLE_STATE] == 0)
        salvage->has_main = false;
}

/* ---- rows ---- */

static void add_row(struct salvage *salvage, enum catalog_salvaged_kind kind, struct nx_bytes key,
                    struct nx_bytes payload, bool is_current)
{
    struct catalog_salvage *out = salvage->out;
    if (out->count == salvage->cap) {
        salvage->cap = salvage->cap == 0 ? 64 : salvage->cap * 2;
        out->rows = nx_realloc_array(out->rows, salvage->cap, sizeof(*out->rows));
    }
    struct catalog_salvaged_row *row = &out->rows[out->count++];
    *row = (struct catalog_salvaged_row){.kind = kind, .is_current = is_current, .value = payload};
    memcpy(row->key, key.data, key.len);
}

static void take_node(struct salvage *salvage, const struct node *node, bool is_current)
{
    struct nx_bytes value;
    struct catalog_salvage *out = salvage->out;
    if (node->key.len == 0 || node->key.len >= sizeof(out->rows[0].key) ||
        memchr(node->key.data, 0, node->key.len) != NULL || !node_value(salvage, node, &value) ||
        value.len < SUM_BYTES)
        return;
    struct nx_bytes payload = {value.data, value.len - SUM_BYTES};
    uint64_t sum = load_u64(value.data + payload.len);
    if (sum == catalog_row_sum(CATALOG_TABLE_KV, node->key, payload)) {
        salvage->found[CATALOG_TABLE_KV] += is_current;
        add_row(salvage, CATALOG_SALVAGED_VALUE, node->key, payload, is_current);
    } else if (sum == catalog_row_sum(CATALOG_TABLE_TOMB, node->key, payload)) {
        salvage->found[CATALOG_TABLE_TOMB] += is_current;
        out->had_tombstones = true;
        add_row(salvage, CATALOG_SALVAGED_TOMBSTONES, node->key, payload, is_current);
    } else if (sum == catalog_row_sum(CATALOG_TABLE_STATE, node->key, payload) &&
               payload.len >= 4 && load_u32(payload.data) >= FORMAT_WITH_TOMBSTONES) {
        out->had_tombstones = true;
    }
}

static void take_all(struct salvage *salvage)
{
    for (uint64_t number = 2; number < salvage->page_count; number++) {
        if (page_kind(salvage, number) != PAGE_LEAF)
            continue;
        for (unsigned i = 0; i < node_count(salvage, number); i++) {
            struct node node;
            if (node_read(salvage, number, i, &node))
                take_node(salvage, &node, salvage->is_reached[number] != 0);
        }
    }
}

nx_code catalog_salvage(const char *path, struct catalog_salvage *out, struct nx_err *err)
{
    *out = (struct catalog_salvage){0};
    nx_code code = io_read_file(io_read_only(), path, FILE_BYTES_MAX, &out->file, err);
    if (code == NX_E_NOT_FOUND)
        return NX_OK;
    if (code != NX_OK) {
        catalog_salvage_deinit(out);
        return code;
    }
    struct salvage salvage = {
        .out = out, .bytes = nx_buf_bytes(&out->file), .page_count = out->file.len / PAGE_BYTES};
    salvage.is_reached = nx_calloc(salvage.page_count + 1, 1);
    reach_all(&salvage);
    take_all(&salvage);
    out->has_all_values =
        salvage.has_main && salvage.found[CATALOG_TABLE_KV] == salvage.entries[CATALOG_TABLE_KV];
    out->has_all_tombstones = salvage.has_main && salvage.found[CATALOG_TABLE_TOMB] ==
                                                      salvage.entries[CATALOG_TABLE_TOMB];
    nx_free(salvage.is_reached);
    return NX_OK;
}

void catalog_salvage_deinit(struct catalog_salvage *salvage)
{
    nx_free(salvage->rows);
    nx_buf_deinit(&salvage->file);
    *salvage = (struct catalog_salvage){0};
}
