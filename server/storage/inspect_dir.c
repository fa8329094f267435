/* SPDX-License-Identifier: Apache-2.0 */
/* inspect_dir.c - which blocks a data directory has: what the catalog says against what is there. */
#include "narthex/storage/inspect_dir.h"

#include "narthex/base/assert.h"
#include "narthex/base/io_copy.h"
#include "narthex/base/mem.h"
#include "narthex/block/tombstones.h"
#include "narthex/storage/data_dir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SHARED_TRIES   5u
#define SHARED_WAIT_US 20000u

struct reading {
    struct dir_blocks *out;
    size_t cap;
    const char *blocks_dir;
};

const char *dir_block_state_name(enum dir_block_state state)
{
    static const char *const names[] = {"live", "retired", "building", "unknown", "missing"};
    return names[state];
}

void dir_blocks_deinit(struct dir_blocks *blocks)
{
    nx_free(blocks->items);
    blocks->items = NULL;
    blocks->count = 0;
}

static struct dir_block *add_block(struct reading *reading, const char *ulid)
{
    struct dir_blocks *out = reading->out;
    for (size_t i = 0; i < out->count; i++)
        if (strcmp(out->items[i].ulid, ulid) == 0)
            return &out->items[i];
    if (out->count == reading->cap) {
        reading->cap = reading->cap == 0 ? 16 : reading->cap * 2;
        out->items = nx_realloc_array(out->items, reading->cap, sizeof(*out->items));
    }
    struct dir_block *block = &out->items[out->count++];
    *block = (struct dir_block){.state = DIR_BLOCK_UNKNOWN};
    snprintf(block->ulid, sizeof(block->ulid), "%s", ulid);
    return block;
}

static nx_code read_row(void *context, const char *ulid, enum catalog_state state,
                        const struct block_meta *meta, struct nx_err *err)
{
    (void)err;
    struct dir_block *block = add_block(context, ulid);
    if (meta != NULL)
        block->meta = *meta; /* for one whose directory is gone */
    switch (state) {
    case CATALOG_BUILDING:
        block->state = DIR_BLOCK_BUILDING;
        break;
    case CATALOG_LIVE:
        block->state = DIR_BLOCK_MISSING; /* until its directory is met */
        break;
    case CATALOG_RETIRED:
        block->state = DIR_BLOCK_RETIRED;
        break;
    }
    return NX_OK;
}

static nx_code read_tombstones(void *context, const char *ulid, struct nx_bytes packed,
                               struct nx_err *err)
{
    struct dir_block *block = add_block(context, ulid);
    struct tombstones *found = NULL;
    struct nx_buf ranks = {0};
    (void)err;
    struct nx_err ignored;
    if (tombstones_unpack(packed, (uint32_t)block->meta.series_count, &found, &ignored) == NX_OK) {
        tombstones_ranks(found, &ranks);
        block->tombstones = tombstones_count(found);
        block->tombstone_series = ranks.len / sizeof(uint32_t);
    }
    tombstones_unref(found);
    nx_buf_deinit(&ranks);
    return NX_OK;
}

static nx_code read_entry(void *context, const char *name, bool is_directory, struct nx_err *err)
{
    struct reading *reading = context;
    (void)err;
    if (!is_directory || strlen(name) != ULID_TEXT_LEN)
        return NX_OK;
    struct dir_block *block = add_block(reading, name);
    struct nx_buf path = {0};
    struct nx_err why;
    path_join(&path, reading->blocks_dir, name);
    if (block->state == DIR_BLOCK_MISSING)
        block->state = DIR_BLOCK_LIVE;
    block->has_meta =
        block_meta_read(io_read_only(), (const char *)path.data, &block->meta, NULL, &why) == NX_OK;
    if (!block->has_meta)
        snprintf(block->why, sizeof(block->why), "block.meta %.200s", why.msg);
    else if (strcmp(block->meta.ulid, name) != 0)
        snprintf(block->why, sizeof(block->why), "block.meta is that of block %s",
                 block->meta.ulid);
    block->has_meta = block->has_meta && block->why[0] == '\0';
    nx_buf_deinit(&path);
    return NX_OK;
}

static int compare_blocks(const void *a, const void *b)
{
    const struct dir_block *left = a, *right = b;
    if (left->has_meta != right->has_meta)
        return left->has_meta ? 1 : -1;
    if (left->has_meta && left->meta.min_time_ms != right->meta.min_time_ms)
        return left->meta.min_time_ms < right->meta.min_time_ms ? -1 : 1;
    return strcmp(left->ulid, right->ulid);
}

/* Directories that a running server removed after their row was read are no news. */
static void forget_gone(struct dir_blocks *blocks, bool is_shared)
{
    size_t kept = 0;
    for (size_t i = 0; i < blocks->count; i++) {
        const struct dir_block *block = &blocks->items[i];
        bool has_dir = block->has_meta || block->why[0] != '\0';
        bool is_news = block->state == DIR_BLOCK_MISSING ? !is_shared : has_dir;
        if (is_shared && !block->has_meta && block->state != DIR_BLOCK_LIVE)
            is_news = false; /* being removed, or moved */
        if (is_news)
            blocks->items[kept++] = *block;
    }
    blocks->count = kept;
}

static nx_code read_once(const char *dir, bool is_shared, struct dir_blocks *out,
                         struct nx_err *err)
{
    struct dir_blocks blocks = {0};
    struct nx_buf path = {0}, blocks_dir = {0};
    struct catalog *catalog = NULL;
    struct reading reading = {.out = &blocks, .blocks_dir = path_join(&blocks_dir, dir, "blocks")};
    nx_code code = data_dir_check(dir, err);
    if (code == NX_OK) {
        struct nx_err why;
        nx_code read =
            catalog_open_read_only(&catalog, path_join(&path, dir, "catalog.mdb"), is_shared, &why);
        if (read == NX_OK)
            read = catalog_each(catalog, read_row, &reading, &why);
        if (read == NX_OK)
            read = catalog_each_tombstones(catalog, read_tombstones, &reading, &why);
        if (read == NX_E_NOT_FOUND)
            nx_err_set(&why, read, "is missing");
        if (read != NX_OK)
            snprintf(blocks.catalog_damage, sizeof(blocks.catalog_damage), "%.230s", why.msg);
        catalog_close(catalog);
        if (io_exists(reading.blocks_dir))
            code = io_each_entry(io_read_only(), reading.blocks_dir, read_entry, &reading, err);
    }
    nx_buf_deinit(&path);
    nx_buf_deinit(&blocks_dir);
    if (code != NX_OK) {
        dir_blocks_deinit(&blocks);
        return code;
    }
    forget_gone(&blocks, is_shared);
    if (blocks.count > 0)
        qsort(blocks.items, blocks.count, sizeof(*blocks.items), compare_blocks);
    *out = blocks;
    return NX_OK;
}

/* A block that was live when the catalog was read, and is gone a moment later. */
static bool has_changed(const struct dir_blocks *blocks)
{
    for (size_t i = 0; i < blocks->count; i++)
        if (blocks->items[i].state == DIR_BLOCK_LIVE && !blocks->items[i].has_meta)
            return true;
    return false;
}

nx_code dir_blocks_read(const char *dir, bool is_shared, struct dir_blocks *out, struct nx_err *err)
{
    nx_code code = read_once(dir, is_shared, out, err);
    for (unsigned i = 0; code == NX_OK && is_shared && i < SHARED_TRIES && has_changed(out); i++) {
        usleep(SHARED_WAIT_US);
        dir_blocks_deinit(out);
        code = read_once(dir, is_shared, out, err);
    }
    return code;
}
