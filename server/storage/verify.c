/* SPDX-License-Identifier: Apache-2.0 */
/* verify.c - every checksum of a stopped data directory: catalog, blocks, journal; and what was set aside before.
 *
 * In       a data directory that its caller has locked
 * Out      each damage by file and place, what is only worth knowing, and the sums
 * Fails    when it is no data directory or cannot be read at all
 */
#include "narthex/base/assert.h"
#include "narthex/base/io_copy.h"
#include "narthex/block/map_guard.h"
#include "narthex/block/tombstones.h"
#include "narthex/storage/inspect_dir.h"
#include "narthex/storage/metadata_table.h"

#include "commit_value.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct verify {
    const char *dir;
    const struct verify_report *report;
    struct verify_result *result;
    char prefix[64]; /* "blocks/<ulid>/" or "journal/" */
};

static void damage(struct verify *verify, const char *file, const char *what)
{
    verify->result->damages++;
    verify->report->damage(verify->report->context, file, what);
}

/* From block_inspect and journal_check: names in a directory become paths. */
static void damage_in(void *context, const char *file, const char *what)
{
    struct verify *verify = context;
    char path[200];
    snprintf(path, sizeof(path), "%s%s", verify->prefix, strcmp(file, ".") == 0 ? "" : file);
    size_t length = strlen(path);
    if (length > 0 && path[length - 1] == '/')
        path[length - 1] = '\0';
    damage(verify, path, what);
}

static void note(struct verify *verify, const char *file, const char *format, ...) NX_PRINTF(3, 4);
static void note(struct verify *verify, const char *file, const char *format, ...)
{
    char text[600];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    NX_ASSERT(length >= 0);
    verify->report->note(verify->report->context, file, text);
}

/* ---- blocks ---- */

static void verify_block(struct verify *verify, const struct dir_block *block)
{
    struct nx_buf path = {0};
    char name[48];
    struct block_inspection found;
    snprintf(verify->prefix, sizeof(verify->prefix), "blocks/%s/", block->ulid);
    snprintf(name, sizeof(name), "blocks/%s", block->ulid);
    block_inspect(io_read_only(), path_join(&path, verify->dir, name), damage_in, verify, &found);
    snprintf(name, sizeof(name), "blocks/%s/" BLOCK_BAD_NAME, block->ulid);
    if (io_exists(path_join(&path, verify->dir, name)))
        damage_in(
            verify, BLOCK_BAD_NAME,
            "is there: index.mdb could not be read while it was served, a start sets the block "
            "aside");
    nx_buf_deinit(&path);
    if (found.has_meta && strcmp(found.meta.ulid, block->ulid) != 0)
        damage_in(verify, "block.meta", "is that of another block");
    verify->result->blocks++;
    verify->result->series += found.series;
    verify->result->samples += found.samples;
    verify->result->block_bytes += found.meta.index_bytes + found.meta.chunks_bytes;
    verify->result->hurt_series += found.hurt_series;
}

static uint64_t verify_blocks(struct verify *verify, const struct dir_blocks *blocks)
{
    bool has_catalog = blocks->catalog_damage[0] == '\0';
    uint64_t released = 0;
    for (size_t i = 0; i < blocks->count; i++) {
        const struct dir_block *block = &blocks->items[i];
        char name[48];
        snprintf(name, sizeof(name), "blocks/%s", block->ulid);
        switch (block->state) {
        case DIR_BLOCK_MISSING:
            damage(verify, name, "is live in the catalog, and there is no such directory");
            break;
        case DIR_BLOCK_RETIRED:
        case DIR_BLOCK_BUILDING:
            note(verify, name, "is %s: the next start removes it",
                 dir_block_state_name(block->state));
            break;
        case DIR_BLOCK_UNKNOWN:
            if (has_catalog)
                damage(verify, name, "is not in the catalog: a start would set it aside");
            if (!has_catalog)
                verify_block(verify, block);
            break;
        case DIR_BLOCK_LIVE:
            verify_block(verify, block);
            break;
        }
        bool counts = block->state == DIR_BLOCK_LIVE || !has_catalog;
        if (counts && block->has_meta && block->meta.commit_max > released)
            released = block->meta.commit_max;
    }
    return released;
}

/* What the catalog says of a block against its block.meta. */
static nx_code verify_row(void *context, const char *ulid, enum catalog_state state,
                          const struct block_meta *meta, struct nx_err *err)
{
    struct verify *verify = context;
    struct block_meta there;
    struct nx_buf path = {0};
    struct nx_err ignored;
    (void)err;
    char name[48];
    snprintf(name, sizeof(name), "blocks/%s", ulid);
    if (state == CATALOG_LIVE &&
        block_meta_read(io_read_only(), path_join(&path, verify->dir, name), &there, NULL,
                        &ignored) == NX_OK &&
        (there.sample_count != meta->sample_count || there.chunks_bytes != meta->chunks_bytes ||
         there.index_bytes != meta->index_bytes || there.commit_min != meta->commit_min ||
         there.commit_max != meta->commit_max))
        damage(verify, name, "is not the block that the catalog knows by this name");
    nx_buf_deinit(&path);
    return NX_OK;
}

/* Tombstones against the block that they mask. */
static nx_code verify_tombstones(void *context, const char *ulid, struct nx_bytes packed,
                                 struct nx_err *err)
{
    struct verify *verify = context;
    struct nx_buf path = {0};
    struct block_meta meta;
    struct tombstones *found = NULL;
    struct nx_err why;
    char name[48], text[400];
    (void)err;
    snprintf(name, sizeof(name), "blocks/%s", ulid);
    nx_code code = block_meta_read(io_read_only(), path_join(&path, verify->dir, name), &meta, NULL,
                                   &why); /* a block that is damaged is told for itself */
    if (code == NX_OK &&
        tombstones_unpack(packed, (uint32_t)meta.series_count, &found, &why) != NX_OK) {
        snprintf(text, sizeof(text), "deletes of block %s: %.300s", ulid, why.msg);
        damage(verify, "catalog.mdb", text);
    }
    tombstones_unref(found);
    nx_buf_deinit(&path);
    return NX_OK;
}

/* The values whose format is known. */
static nx_code verify_value(void *context, const char *key, struct nx_bytes value,
                            struct nx_err *err)
{
    struct verify *verify = context;
    (void)err;
    bool is_commit = strcmp(key, COVERED_KEY) == 0;
    if (is_commit && value.len != COMMIT_VALUE_BYTES)
        damage(verify, "catalog.mdb", "value " COVERED_KEY " is damaged");
    return NX_OK;
}

static nx_code verify_metadata(struct verify *verify, struct catalog *catalog)
{
    struct metadata_table *table = metadata_table_new();
    struct nx_err err;
    nx_code code = metadata_table_load(table, catalog, &err);
    if (code == NX_E_CORRUPT)
        damage(verify, "catalog.mdb", err.msg);
    metadata_table_free(table);
    return code == NX_E_CORRUPT ? NX_OK : code;
}

static void verify_catalog(struct verify *verify, const struct dir_blocks *blocks)
{
    if (blocks->catalog_damage[0] != '\0') {
        const char *what = blocks->catalog_damage;
        damage(verify, "catalog.mdb", strncmp(what, "catalog: ", 9) == 0 ? what + 9 : what);
        return;
    }
    struct nx_buf path = {0};
    struct catalog *catalog = NULL;
    struct nx_err err;
    nx_code code =
        catalog_open_read_only(&catalog, path_join(&path, verify->dir, "catalog.mdb"), false, &err);
    if (code == NX_OK)
        code = catalog_each(catalog, verify_row, verify, &err);
    if (code == NX_OK)
        code = catalog_each_tombstones(catalog, verify_tombstones, verify, &err);
    if (code == NX_OK)
        code = catalog_each_value(catalog, verify_value, verify, &err);
    if (code == NX_OK)
        code = verify_metadata(verify, catalog);
    if (code != NX_OK)
        damage(verify, "catalog.mdb", err.msg);
    catalog_close(catalog);
    nx_buf_deinit(&path);
}

/* ---- journal ---- */

static void verify_journal(struct verify *verify, uint64_t released)
{
    struct nx_buf path = {0};
    struct nx_err err;
    struct journal_check_result *result = &verify->result->journal;
    path_join(&path, verify->dir, "journal");
    snprintf(verify->prefix, sizeof(verify->prefix), "journal/");
    if (!io_exists((const char *)path.data))
        damage(verify, "journal", "is missing");
    else if (journal_check((const char *)path.data, released, damage_in, verify, result, &err) !=
             NX_OK)
        damage(verify, "journal", err.msg);
    else if (result->replayed.has_torn_tail)
        note(verify, "journal", "the last commit is torn: it was never acknowledged");
    nx_buf_deinit(&path);
}

/* ---- what was set aside ---- */

struct set_aside {
    struct verify *verify;
    const char *dir;
};

static nx_code verify_aside(void *context, const char *name, bool is_directory, struct nx_err *err)
{
    struct set_aside *aside = context;
    (void)is_directory, (void)err;
    if (nx_str_ends_with(nx_str_from(name), NX_STR(".reason")))
        return NX_OK;
    struct nx_buf path = {0}, reason = {0};
    struct nx_err ignored;
    char file[300];
    nx_buf_printf(&path, "%s/%s.reason", aside->dir, name);
    nx_buf_append_byte(&path, 0);
    snprintf(file, sizeof(file), "quarantine/%.200s", name);
    nx_ignore(io_read_file(io_read_only(), (const char *)path.data, 4096, &reason, &ignored));
    struct nx_str text = nx_str_trim(nx_buf_str(&reason));
    note(aside->verify, file, "was set aside: %.*s",
         text.len == 0 ? 13 : (int)(text.len < 400 ? text.len : 400),
         text.len == 0 ? "no reason file" : text.data);
    aside->verify->result->quarantined++;
    nx_buf_deinit(&path);
    nx_buf_deinit(&reason);
    return NX_OK;
}

static nx_code verify_quarantine(struct verify *verify, struct nx_err *err)
{
    struct nx_buf path = {0};
    struct set_aside aside = {verify, path_join(&path, verify->dir, "quarantine")};
    nx_code code = NX_OK;
    if (io_exists(aside.dir))
        code = io_each_entry(io_read_only(), aside.dir, verify_aside, &aside, err);
    nx_buf_deinit(&path);
    return code;
}

nx_code dir_verify(const char *dir, const struct verify_report *report, struct verify_result *out,
                   struct nx_err *err)
{
    *out = (struct verify_result){0};
    struct verify verify = {.dir = dir, .report = report, .result = out};
    struct dir_blocks blocks;
    nx_code code = dir_blocks_read(dir, false, &blocks, err);
    if (code != NX_OK)
        return code;
    verify_catalog(&verify, &blocks);
    uint64_t released = verify_blocks(&verify, &blocks);
    verify_journal(&verify, released);
    code = verify_quarantine(&verify, err);
    dir_blocks_deinit(&blocks);
    return code;
}
