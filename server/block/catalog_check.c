/* SPDX-License-Identifier: Apache-2.0 */
/* catalog_check.c - the structure of an LMDB file, read without LMDB.
 *
 * A bit flipped in a tree page makes LMDB return other rows, abort or read outside its map; nothing in the file tells.
 * This walk reads the pages through a buffer and follows each reference once:
 *
 *   page 0, 1    meta pages. Transaction n is in page n & 1, so the two numbers differ by one; the higher wins
 *   page         number u64, pad u16, flags u16, lower u16, upper u16 | node offsets u16 ... | free | nodes
 *                an overflow run has its length in pages (u32) where others have lower and upper
 *   node         branch: child page (48 bits), key size u16, key
 *                leaf:   value size u32, flags u16, key size u16, key, value (or page of an overflow run, or a table)
 *   table        pad u32, flags u16, depth u16, branch, leaf, overflow pages u64, entries u64, root u64
 *
 * One flip goes unseen: bit 1 of the newest transaction number makes that meta page the older one, as if its commit had
 * been cut off by a crash. Layout as of LMDB 0.9, data version 1. What the rows say is checked by catalog.c.
 */
#include "narthex/base/buf.h"
#include "narthex/base/io.h"
#include "narthex/base/mem.h"

#include "block_format.h"
#include "catalog_internal.h"

#include <inttypes.h>
#include <stdbool.h>

#define LMDB_PAGE_BYTES   4096u
#define LMDB_MAGIC        UINT32_C(0xBEEFC0DE)
#define LMDB_DATA_VERSION 1u
#define LMDB_PAGE_HEADER  16u
#define LMDB_NODE_HEADER  8u
#define LMDB_TABLE_BYTES  48u
#define LMDB_META_AT      16u /* in a meta page */
#define LMDB_NO_PAGE      UINT64_MAX
#define LMDB_DEPTH_MAX    16u
#define CATALOG_BYTES_MAX ((size_t)1 << 30)

enum {
    LMDB_PAGE_BRANCH = 0x01,
    LMDB_PAGE_LEAF = 0x02,
    LMDB_PAGE_OVERFLOW = 0x04,
    LMDB_PAGE_META = 0x08,
    LMDB_PAGE_DIRTY = 0x10, /* pages are written with this bit in some versions */
};
enum {
    LMDB_NODE_BIG = 0x01,
    LMDB_NODE_TABLE = 0x02,
};

struct lmdb_table {
    uint16_t flags, depth;
    uint64_t branch_pages, leaf_pages, overflow_pages, entries, root;
};

struct lmdb_meta {
    struct lmdb_table free, main;
    uint64_t last_page, txn;
};

struct lmdb_file {
    struct nx_bytes bytes;
    struct lmdb_meta meta;
    uint8_t *is_used;    /* per page */
    uint64_t last_freed; /* highest key of the free list: the transaction that freed pages last */
};

/* What one table's walk has counted, and what it does with a leaf's value. */
struct lmdb_walk {
    struct lmdb_file *file;
    const struct lmdb_table *table;
    bool is_free_list;
    uint64_t branch_pages, leaf_pages, overflow_pages, entries;
};

static void table_load(const uint8_t *at, struct lmdb_table *out)
{
    *out = (struct lmdb_table){
        .flags = load_u16(at + 4),
        .depth = load_u16(at + 6),
        .branch_pages = load_u64(at + 8),
        .leaf_pages = load_u64(at + 16),
        .overflow_pages = load_u64(at + 24),
        .entries = load_u64(at + 32),
        .root = load_u64(at + 40),
    };
}

static bool meta_load(struct nx_bytes bytes, uint64_t number, struct lmdb_meta *out)
{
    const uint8_t *page = bytes.data + number * LMDB_PAGE_BYTES;
    const uint8_t *meta = page + LMDB_META_AT;
    if (load_u64(page) != number || load_u16(page + 10) != LMDB_PAGE_META ||
        load_u32(meta) != LMDB_MAGIC || load_u32(meta + 4) != LMDB_DATA_VERSION ||
        load_u32(meta + 24) != LMDB_PAGE_BYTES)
        return false;
    table_load(meta + 24, &out->free);
    table_load(meta + 72, &out->main);
    out->last_page = load_u64(meta + 120);
    out->txn = load_u64(meta + 128);
    return true;
}

/* Marks `count` pages from `number` on as used; false when one lies outside or is used already. */
static bool pages_use(struct lmdb_file *file, uint64_t number, uint64_t count)
{
    if (number < 2 || number > file->meta.last_page || count == 0 ||
        count > file->meta.last_page - number + 1)
        return false;
    for (uint64_t i = number; i < number + count; i++) {
        if (file->is_used[i])
            return false;
        file->is_used[i] = 1;
    }
    return true;
}

static bool table_walk(struct lmdb_file *file, const struct lmdb_table *table, bool is_free_list);

/* An entry of the free list: the transaction; count, then that many page numbers. */
static bool free_list_use(struct lmdb_file *file, const uint8_t *node, const uint8_t *value,
                          uint64_t bytes)
{
    if (load_u16(node + 6) != 8 || bytes < 8 || load_u64(value) > bytes / 8 - 1)
        return false;
    uint64_t txn = load_u64(node + LMDB_NODE_HEADER);
    if (txn > file->last_freed)
        file->last_freed = txn;
    for (uint64_t i = 1; i <= load_u64(value); i++)
        if (!pages_use(file, load_u64(value + 8 * i), 1))
            return false;
    return true;
}

static bool leaf_node_walk(struct lmdb_walk *walk, const uint8_t *node, const uint8_t *page_end)
{
    struct lmdb_file *file = walk->file;
    uint64_t bytes = load_u16(node) | (uint64_t)load_u16(node + 2) << 16;
    unsigned flags = load_u16(node + 4);
    const uint8_t *value = node + LMDB_NODE_HEADER + load_u16(node + 6);
    if (value > page_end || flags > LMDB_NODE_TABLE)
        return false;
    uint64_t left = (uint64_t)(page_end - value);
    walk->entries++;
    if (flags == LMDB_NODE_TABLE) {
        if (walk->is_free_list || walk->table != &file->meta.main || bytes != LMDB_TABLE_BYTES ||
            left < bytes)
            return false;
        struct lmdb_table table;
        table_load(value, &table);
        return table_walk(file, &table, false);
    }
    if (flags == LMDB_NODE_BIG) {
        if (left < 8)
            return false;
        uint64_t number = load_u64(value);
        uint64_t pages = (bytes + LMDB_PAGE_HEADER + LMDB_PAGE_BYTES - 1) / LMDB_PAGE_BYTES;
        if (!pages_use(file, number, pages))
            return false;
        const uint8_t *run = file->bytes.data + number * LMDB_PAGE_BYTES;
        if (load_u64(run) != number ||
            (load_u16(run + 10) & ~LMDB_PAGE_DIRTY) != LMDB_PAGE_OVERFLOW ||
            load_u32(run + 12) != pages)
            return false;
        walk->overflow_pages += pages;
        return !walk->is_free_list || free_list_use(file, node, run + LMDB_PAGE_HEADER, bytes);
    }
    /* The main table holds tables only. */
    return left >= bytes && walk->table != &file->meta.main &&
           (!walk->is_free_list || free_list_use(file, node, value, bytes));
}

static bool page_walk(struct lmdb_walk *walk, uint64_t number, unsigned depth)
{
    struct lmdb_file *file = walk->file;
    if (depth == 0 || !pages_use(file, number, 1))
        return false;
    const uint8_t *page = file->bytes.data + number * LMDB_PAGE_BYTES,
                  *end = page + LMDB_PAGE_BYTES;
    unsigned flags = load_u16(page + 10) & ~(unsigned)LMDB_PAGE_DIRTY;
    unsigned lower = load_u16(page + 12), upper = load_u16(page + 14);
    bool is_leaf = flags == LMDB_PAGE_LEAF;
    if (load_u64(page) != number || (!is_leaf && flags != LMDB_PAGE_BRANCH) ||
        is_leaf != (depth == 1) || lower <= LMDB_PAGE_HEADER || lower % 2 != 0 || lower > upper ||
        upper > LMDB_PAGE_BYTES)
        return false;
    if (is_leaf)
        walk->leaf_pages++;
    else
        walk->branch_pages++;
    for (unsigned at = LMDB_PAGE_HEADER; at < lower; at += 2) {
        unsigned offset = load_u16(page + at);
        const uint8_t *node = page + offset;
        if (offset < upper || offset > LMDB_PAGE_BYTES - LMDB_NODE_HEADER)
            return false;
        if (is_leaf) {
            if (!leaf_node_walk(walk, node, end))
                return false;
            continue;
        }
        uint64_t child = load_u16(node) | (uint64_t)load_u16(node + 2) << 16 |
                         (uint64_t)load_u16(node + 4) << 32;
        if (node + LMDB_NODE_HEADER + load_u16(node + 6) > end ||
            !page_walk(walk, child, depth - 1))
            return false;
    }
    return true;
}

static bool table_walk(struct lmdb_file *file, const struct lmdb_table *table, bool is_free_list)
{
    struct lmdb_walk walk = {.file = file, .table = table, .is_free_list = is_free_list};
    if (table->depth > LMDB_DEPTH_MAX || (table->depth == 0) != (table->root == LMDB_NO_PAGE))
        return false;
    if (table->depth > 0 && !page_walk(&walk, table->root, table->depth))
        return false;
    return walk.branch_pages == table->branch_pages && walk.leaf_pages == table->leaf_pages &&
           walk.overflow_pages == table->overflow_pages && walk.entries == table->entries;
}

static nx_code damaged(struct nx_err *err, const char *what)
{
    return nx_err_set(err, NX_E_CORRUPT, "catalog: %s", what);
}

static nx_code check_bytes(struct nx_bytes bytes, struct nx_err *err)
{
    if (bytes.len < 2 * (size_t)LMDB_PAGE_BYTES)
        return damaged(err, "shorter than its meta pages");
    struct lmdb_file file = {.bytes = bytes};
    struct lmdb_meta other;
    if (!meta_load(bytes, 0, &file.meta) || !meta_load(bytes, 1, &other))
        return damaged(err, "a meta page is damaged or of another LMDB format");
    /* A new file has transaction 0 in both. */
    bool is_new = file.meta.txn == 0 && other.txn == 0;
    uint64_t gap =
        file.meta.txn > other.txn ? file.meta.txn - other.txn : other.txn - file.meta.txn;
    if (!is_new && ((file.meta.txn & 1) != 0 || (other.txn & 1) != 1 || gap != 1))
        return damaged(err, "the meta pages do not follow each other");
    if (other.txn > file.meta.txn)
        file.meta = other;
    if (file.meta.last_page >= bytes.len / LMDB_PAGE_BYTES)
        return damaged(err, "shorter than its last page");
    if (file.meta.main.flags != 0 || file.meta.main.depth > 1)
        return damaged(err, "the main table is not ours");
    file.is_used = nx_calloc(file.meta.last_page + 1, 1);
    bool is_good =
        table_walk(&file, &file.meta.main, false) && table_walk(&file, &file.meta.free, true);
    nx_free(file.is_used);
    /* Every transaction but the first frees the pages that it replaces: an older state cannot pass for the newest. */
    is_good = is_good && (file.meta.txn < 2 || file.last_freed == file.meta.txn);
    return is_good ? NX_OK : damaged(err, "a page is damaged");
}

nx_code catalog_check_file(const char *path, struct nx_err *err)
{
    struct nx_buf bytes = {0};
    nx_code code = io_read_file(io_real(), path, CATALOG_BYTES_MAX, &bytes, err);
    if (code == NX_OK && bytes.len == 0)
        code = nx_err_set(err, NX_E_NOT_FOUND, "catalog: empty");
    if (code == NX_OK)
        code = check_bytes(nx_buf_bytes(&bytes), err);
    nx_buf_deinit(&bytes);
    return code;
}
