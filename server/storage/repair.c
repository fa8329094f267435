/* SPDX-License-Identifier: Apache-2.0 */
/* repair.c - decides which blocks are live, moves the others to quarantine/, and writes a new catalog.
 *
 * Without a catalog, which of a merge's outputs and sources serve? The catalog's transaction would know; the files
 * know this: a directory of a source is removed only after that transaction, and outputs name all sources. So
 *   a source is gone, from quarantine/ too           the merge was published: its other sources are replaced
 *   outputs have as many samples as the sources      all outputs are there: the sources are replaced
 *   they have fewer                                  duplicates were dropped or outputs are missing: both stay
 * That both stay is harmless: of equal samples one is answered, and the next merge drops the rest.
 *
 * The new catalog is written beside, synced, and renamed over the old one, of which quarantine/ has kept a name.
 */
#include "narthex/storage/repair.h"

#include "narthex/base/assert.h"
#include "narthex/base/clock.h"
#include "narthex/base/mem.h"
#include "narthex/base/rand.h"
#include "narthex/block/map_guard.h"

#include "repair_carry.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NEW_CATALOG "catalog.mdb.new"

enum fate {
    FATE_LIVE,
    FATE_LEFT,  /* the start does what the catalog says */
    FATE_ASIDE, /* to quarantine/ */
    FATE_GONE,  /* only its row goes */
};

struct candidate {
    struct dir_block block;
    enum fate fate;
    bool is_new;           /* not live before */
    bool has_mark;         /* a read of its index failed once; now it verifies */
    bool is_in_quarantine; /* to be taken back */
    struct nx_buf sources; /* ulids, ULID_TEXT_LEN + 1 bytes each */
    char reason[400];
};

struct repair {
    const char *dir;
    const struct io *io;
    const struct repair_options *options;
    const struct repair_report *report;
    struct repair_result *result;
    struct dir_blocks blocks;
    struct candidate *items;
    size_t count, cap;
    bool has_catalog;
};

static void say(void (*to)(void *, const char *), void *context, const char *format, va_list args)
    NX_PRINTF(3, 0);
static void say(void (*to)(void *, const char *), void *context, const char *format, va_list args)
{
    char text[900];
    int length = vsnprintf(text, sizeof(text), format, args);
    NX_ASSERT(length >= 0);
    to(context, text);
}

static void did(struct repair *repair, const char *format, ...) NX_PRINTF(2, 3);
static void did(struct repair *repair, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    repair->result->has_changed = true;
    say(repair->report->did, repair->report->context, format, args);
    va_end(args);
}

static void lost(struct repair *repair, const char *format, ...) NX_PRINTF(2, 3);
static void lost(struct repair *repair, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    repair->result->losses++;
    say(repair->report->lost, repair->report->context, format, args);
    va_end(args);
}

/* ---- what is there ---- */

static struct candidate *add(struct repair *repair, const struct dir_block *block)
{
    if (repair->count == repair->cap) {
        repair->cap = repair->cap == 0 ? 16 : repair->cap * 2;
        repair->items = nx_realloc_array(repair->items, repair->cap, sizeof(*repair->items));
    }
    struct candidate *item = &repair->items[repair->count++];
    *item = (struct candidate){.block = *block};
    return item;
}

struct damage_seen {
    bool is_unusable;
    uint64_t groups;
    char first[300];
};

static void see_damage(void *context, const char *file, const char *what)
{
    struct damage_seen *seen = context;
    if (strcmp(file, "chunks.nxc") == 0)
        seen->groups++;
    else
        seen->is_unusable = true;
    if (seen->first[0] == '\0' || strcmp(file, "chunks.nxc") != 0)
        snprintf(seen->first, sizeof(seen->first), "%.40s: %.250s", file, what);
}

static bool has_mark(const char *dir)
{
    struct nx_buf path = {0};
    bool exists = io_exists(path_join(&path, dir, BLOCK_BAD_NAME));
    nx_buf_deinit(&path);
    return exists;
}

/* Reads all of the block. False: it cannot serve, item->reason says why. */
static bool is_usable(struct repair *repair, struct candidate *item, const char *dir)
{
    struct damage_seen seen = {0};
    struct block_inspection found;
    struct nx_err err;
    if (item->block.has_meta &&
        block_meta_read(repair->io, dir, &item->block.meta, &item->sources, &err) != NX_OK)
        item->block.has_meta = false;
    block_inspect(repair->io, dir, see_damage, &seen, &found);
    if (seen.is_unusable || !item->block.has_meta) {
        snprintf(item->reason, sizeof(item->reason), "damaged: %.300s",
                 seen.first[0] != '\0' ? seen.first : item->block.why);
        return false;
    }
    if (has_mark(dir))
        item->has_mark = true;
    if (seen.groups > 0)
        lost(repair,
             "block %s: %" PRIu64
             " of its series have samples that cannot be read (%s); the rest serves",
             item->block.ulid, found.hurt_series, seen.first);
    return true;
}

static void judge_block(struct repair *repair, struct candidate *item)
{
    struct nx_buf path = {0};
    char name[48];
    snprintf(name, sizeof(name), "blocks/%s", item->block.ulid);
    switch (item->block.state) {
    case DIR_BLOCK_RETIRED:
    case DIR_BLOCK_BUILDING:
        item->fate = FATE_LEFT;
        break;
    case DIR_BLOCK_MISSING:
        item->fate = FATE_GONE;
        break;
    case DIR_BLOCK_LIVE:
    case DIR_BLOCK_UNKNOWN:
        item->is_new = item->block.state == DIR_BLOCK_UNKNOWN;
        item->fate =
            is_usable(repair, item, path_join(&path, repair->dir, name)) ? FATE_LIVE : FATE_ASIDE;
        break;
    }
    nx_buf_deinit(&path);
}

static bool is_in(const struct repair *repair, const char *parent, const char *ulid)
{
    struct nx_buf path = {0};
    nx_buf_printf(&path, "%s/%s/%s", repair->dir, parent, ulid);
    nx_buf_append_byte(&path, 0);
    bool exists = io_exists((const char *)path.data);
    nx_buf_deinit(&path);
    return exists;
}

/* ---- merges ---- */

static bool names_source(const struct candidate *output, const char *ulid)
{
    for (size_t at = 0; at < output->sources.len; at += ULID_TEXT_LEN + 1)
        if (strcmp((const char *)output->sources.data + at, ulid) == 0)
            return true;
    return false;
}

static struct candidate *find(struct repair *repair, const char *ulid)
{
    for (size_t i = 0; i < repair->count; i++)
        if (strcmp(repair->items[i].block.ulid, ulid) == 0)
            return &repair->items[i];
    return NULL;
}

static bool has_same_sources(const struct candidate *a, const struct candidate *b)
{
    return a->sources.len == b->sources.len && a->sources.len > 0 &&
           memcmp(a->sources.data, b->sources.data, a->sources.len) == 0;
}

/* Whether the merge that made `output` was surely published, with all of its outputs. */
static bool is_published(struct repair *repair, const struct candidate *output)
{
    if (repair->has_catalog && !output->is_new)
        return true;
    uint64_t in = 0, out = 0;
    for (size_t at = 0; at < output->sources.len; at += ULID_TEXT_LEN + 1) {
        const char *ulid = (const char *)output->sources.data + at;
        const struct candidate *source = find(repair, ulid);
        if (source == NULL && !is_in(repair, "quarantine", ulid))
            return true;
        if (source == NULL || !source->block.has_meta)
            return false;
        in += source->block.meta.sample_count;
    }
    for (size_t i = 0; i < repair->count; i++)
        if (repair->items[i].fate == FATE_LIVE && has_same_sources(&repair->items[i], output))
            out += repair->items[i].block.meta.sample_count;
    return in == out;
}

/* Blocks that the catalog does not vouch for, and that live newer ones were made from, are set aside. */
static void retire_replaced(struct repair *repair)
{
    for (size_t i = 0; i < repair->count; i++) {
        struct candidate *output = &repair->items[i];
        if (output->fate != FATE_LIVE || output->sources.len == 0 || !is_published(repair, output))
            continue;
        for (size_t j = 0; j < repair->count; j++) {
            struct candidate *source = &repair->items[j];
            if (source->fate != FATE_LIVE || !source->is_new ||
                !names_source(output, source->block.ulid))
                continue;
            source->fate = FATE_ASIDE;
            snprintf(source->reason, sizeof(source->reason), "replaced by block %s",
                     output->block.ulid);
        }
    }
}

/* ---- quarantine/ looked through ---- */

static nx_code look_at_aside(void *context, const char *name, bool is_directory, struct nx_err *err)
{
    struct repair *repair = context;
    (void)err;
    if (!is_directory || strlen(name) != ULID_TEXT_LEN || find(repair, name) != NULL)
        return NX_OK;
    struct dir_block block = {.state = DIR_BLOCK_UNKNOWN, .has_meta = true};
    struct nx_buf path = {0};
    snprintf(block.ulid, sizeof(block.ulid), "%s", name);
    nx_buf_printf(&path, "%s/quarantine/%s", repair->dir, name);
    nx_buf_append_byte(&path, 0);
    struct candidate *item = add(repair, &block);
    item->is_new = true;
    item->is_in_quarantine = true;
    uint64_t losses = repair->result->losses;
    bool is_good = is_usable(repair, item, (const char *)path.data) &&
                   strcmp(item->block.meta.ulid, name) == 0 && repair->result->losses == losses;
    nx_buf_deinit(&path);
    if (is_good)
        return NX_OK;
    nx_buf_deinit(&item->sources);
    repair->count--;
    return NX_OK;
}

/* ---- what is done ---- */

static nx_code move_aside(struct repair *repair, const struct candidate *item, struct nx_err *err)
{
    const struct io *io = repair->io;
    struct nx_buf quarantine = {0}, blocks = {0}, from = {0}, to = {0}, reason_path = {0},
                  reason = {0};
    path_join(&quarantine, repair->dir, "quarantine");
    path_join(&blocks, repair->dir, "blocks");
    nx_buf_printf(&reason_path, "%s/%s.reason", (const char *)quarantine.data, item->block.ulid);
    nx_buf_append_byte(&reason_path, 0);
    nx_buf_printf(&reason, "%s\n", item->reason);
    /* As a start reads it: block.meta may be what is damaged. */
    if (item->block.meta.sample_count > 0)
        nx_buf_printf(&reason, "samples in ms: %" PRId64 " to %" PRId64 "\n",
                      item->block.meta.min_time_ms, item->block.meta.max_time_ms);
    nx_code code = io->mkdir(io, (const char *)quarantine.data, err);
    if (code == NX_OK)
        code = io_write_file(io, (const char *)reason_path.data, nx_buf_bytes(&reason), err);
    if (code == NX_OK)
        code = io->rename(io, path_join(&from, (const char *)blocks.data, item->block.ulid),
                          path_join(&to, (const char *)quarantine.data, item->block.ulid), err);
    if (code == NX_OK)
        code = io_sync_dir(io, (const char *)quarantine.data, err);
    if (code == NX_OK)
        code = io_sync_dir(io, (const char *)blocks.data, err);
    nx_buf_deinit(&quarantine);
    nx_buf_deinit(&blocks);
    nx_buf_deinit(&from);
    nx_buf_deinit(&to);
    nx_buf_deinit(&reason_path);
    nx_buf_deinit(&reason);
    return code;
}

static nx_code take_back(struct repair *repair, const struct candidate *item, struct nx_err *err)
{
    const struct io *io = repair->io;
    struct nx_buf from = {0}, to = {0}, blocks = {0};
    char name[64];
    path_join(&blocks, repair->dir, "blocks");
    snprintf(name, sizeof(name), "quarantine/%s", item->block.ulid);
    path_join(&from, repair->dir, name);
    nx_code code = io->mkdir(io, (const char *)blocks.data, err);
    if (code == NX_OK)
        code = io->rename(io, (const char *)from.data,
                          path_join(&to, (const char *)blocks.data, item->block.ulid), err);
    if (code == NX_OK)
        code = io_sync_dir(io, (const char *)blocks.data, err);
    /* Its reason no longer holds. */
    snprintf(name, sizeof(name), "quarantine/%s.reason", item->block.ulid);
    struct nx_err ignored;
    if (code == NX_OK)
        nx_ignore(io->unlink(io, path_join(&from, repair->dir, name), &ignored));
    nx_buf_deinit(&from);
    nx_buf_deinit(&to);
    nx_buf_deinit(&blocks);
    return code;
}

static nx_code remove_mark(struct repair *repair, const struct candidate *item, struct nx_err *err)
{
    struct nx_buf path = {0};
    char name[80];
    snprintf(name, sizeof(name), "%s/%s/%s", item->is_in_quarantine ? "quarantine" : "blocks",
             item->block.ulid, BLOCK_BAD_NAME);
    nx_code code = repair->io->unlink(repair->io, path_join(&path, repair->dir, name), err);
    nx_buf_deinit(&path);
    return code;
}

/* "12345 samples from MIN to MAX ms". */
static const char *content(const struct candidate *item, char out[120])
{
    const struct block_meta *meta = &item->block.meta;
    if (meta->sample_count == 0)
        snprintf(out, 120, "nobody knows how many samples");
    else
        snprintf(out, 120, "%" PRIu64 " samples, %" PRId64 " to %" PRId64 " ms", meta->sample_count,
                 meta->min_time_ms, meta->max_time_ms);
    return out;
}

/* A directory with the block.meta of another block, which is there under its own name. */
static bool is_copy(struct repair *repair, const struct candidate *item)
{
    const char *ulid = item->block.meta.ulid;
    if (ulid[0] == '\0' || strcmp(ulid, item->block.ulid) == 0)
        return false;
    const struct candidate *other = find(repair, ulid);
    return other != NULL && other->fate == FATE_LIVE;
}

static nx_code carry_out(struct repair *repair, struct nx_err *err)
{
    bool is_dry = repair->options->is_dry_run;
    nx_code code = NX_OK;
    for (size_t i = 0; code == NX_OK && i < repair->count; i++) {
        struct candidate *item = &repair->items[i];
        const char *ulid = item->block.ulid;
        char samples[120];
        switch (item->fate) {
        case FATE_LEFT:
            break;
        case FATE_GONE:
            did(repair, "block %s: its directory is gone, its row goes too", ulid);
            lost(repair, "block %s: %s", ulid, content(item, samples));
            break;
        case FATE_ASIDE:
            if (item->is_in_quarantine)
                break;
            repair->result->set_aside++;
            did(repair, "block %s: to quarantine/ (%s)", ulid, item->reason);
            if (strncmp(item->reason, "damaged", 7) == 0 && !is_copy(repair, item))
                lost(repair, "block %s: %s", ulid, content(item, samples));
            if (!is_dry)
                code = move_aside(repair, item, err);
            break;
        case FATE_LIVE:
            repair->result->live++;
            if (item->has_mark)
                did(repair, "block %s: verifies, its mark \"%s\" goes", ulid, BLOCK_BAD_NAME);
            if (item->has_mark && !is_dry)
                code = remove_mark(repair, item, err);
            if (!item->is_new || code != NX_OK)
                break;
            did(repair, "block %s: becomes live (%s)", ulid, content(item, samples));
            if (!item->is_in_quarantine)
                break;
            repair->result->taken_back++;
            if (!is_dry)
                code = take_back(repair, item, err);
            break;
        }
    }
    return code;
}

/* ---- the catalog ---- */

static void carry_took(void *context, const char *text)
{
    did(context, "%s", text);
}

static void carry_lost(void *context, const char *text)
{
    lost(context, "%s", text);
}

/* Named values and tombstones of the old catalog; `to` NULL: only told. */
static nx_code carry_old(struct repair *repair, const struct block_meta *live, size_t live_count,
                         struct catalog *to, struct nx_err *err)
{
    struct nx_buf path = {0};
    const struct carry_report report = {repair, carry_took, carry_lost};
    nx_code code = carry_rows(path_join(&path, repair->dir, "catalog.mdb"), repair->has_catalog,
                              live, live_count, to, &report, err);
    nx_buf_deinit(&path);
    return code;
}

/* `catalog` NULL: only told. */
static nx_code fill_catalog(struct repair *repair, struct catalog *catalog, struct nx_err *err)
{
    struct block_meta *metas = nx_calloc(repair->count + 1, sizeof(*metas));
    const char **retired = nx_calloc(repair->count + 1, sizeof(*retired));
    size_t live = 0, left = 0;
    for (size_t i = 0; i < repair->count; i++) {
        if (repair->items[i].fate == FATE_LIVE)
            metas[live++] = repair->items[i].block.meta;
        else if (repair->items[i].fate == FATE_LEFT)
            retired[left++] = repair->items[i].block.ulid;
    }
    nx_code code = NX_OK;
    if (catalog != NULL)
        code = catalog_publish(catalog, metas, live, retired, left, err);
    if (code == NX_OK)
        code = carry_old(repair, metas, live, catalog, err);
    nx_free(metas);
    nx_free(retired);
    return code;
}

static void remove_file(struct repair *repair, const char *name)
{
    struct nx_buf path = {0};
    struct nx_err ignored;
    if (io_exists(path_join(&path, repair->dir, name)))
        nx_ignore(repair->io->unlink(repair->io, (const char *)path.data, &ignored));
    nx_buf_deinit(&path);
}

/* A second name for the old catalog, in quarantine/, with a reason. */
static nx_code keep_old(struct repair *repair, struct nx_err *err)
{
    struct nx_buf from = {0}, to = {0}, quarantine = {0}, reason = {0};
    char ulid[ULID_TEXT_LEN + 1], name[64];
    const struct io *io = repair->io;
    nx_code code = NX_OK;
    path_join(&quarantine, repair->dir, "quarantine");
    if (io_exists(path_join(&from, repair->dir, "catalog.mdb"))) {
        ulid_new(ulid, clock_wall_ms(clock_real()));
        snprintf(name, sizeof(name), "catalog-%s.mdb", ulid);
        code = io->mkdir(io, (const char *)quarantine.data, err);
        if (code == NX_OK)
            code = io->link(io, (const char *)from.data,
                            path_join(&to, (const char *)quarantine.data, name), err);
        snprintf(name, sizeof(name), "catalog-%s.mdb.reason", ulid);
        nx_buf_printf(&reason, "replaced by a repair: %s\n",
                      repair->has_catalog
                          ? "it named blocks that are set aside or gone, or lacked some"
                          : repair->blocks.catalog_damage);
        if (code == NX_OK)
            code = io_write_file(io, path_join(&to, (const char *)quarantine.data, name),
                                 nx_buf_bytes(&reason), err);
        if (code == NX_OK)
            code = io_sync_dir(io, (const char *)quarantine.data, err);
    }
    nx_buf_deinit(&from);
    nx_buf_deinit(&to);
    nx_buf_deinit(&quarantine);
    nx_buf_deinit(&reason);
    return code;
}

static nx_code replace_catalog(struct repair *repair, struct nx_err *err)
{
    struct nx_buf from = {0}, to = {0};
    struct catalog *catalog = NULL;
    path_join(&from, repair->dir, NEW_CATALOG);
    path_join(&to, repair->dir, "catalog.mdb");
    remove_file(repair, NEW_CATALOG); /* of a repair that did not end */
    remove_file(repair, NEW_CATALOG "-lock");
    nx_code code = catalog_open(&catalog, (const char *)from.data, err);
    if (code == NX_OK)
        code = fill_catalog(repair, catalog, err);
    catalog_close(catalog);
    remove_file(repair, NEW_CATALOG "-lock");
    if (code == NX_OK)
        code = keep_old(repair, err);
    if (code == NX_OK) {
        remove_file(repair, "catalog.mdb-lock");
        code = repair->io->rename(repair->io, (const char *)from.data, (const char *)to.data, err);
    }
    if (code == NX_OK)
        code = io_sync_dir(repair->io, repair->dir, err);
    nx_buf_deinit(&from);
    nx_buf_deinit(&to);
    return code;
}

/* ---- the whole ---- */

static nx_code judge_all(struct repair *repair, struct nx_err *err)
{
    struct nx_buf path = {0};
    nx_code code = NX_OK;
    for (size_t i = 0; i < repair->blocks.count; i++) {
        struct candidate *item = add(repair, &repair->blocks.items[i]);
        judge_block(repair, item);
    }
    if (repair->options->takes_back && io_exists(path_join(&path, repair->dir, "quarantine")))
        code = io_each_entry(repair->io, (const char *)path.data, look_at_aside, repair, err);
    nx_buf_deinit(&path);
    if (code == NX_OK)
        retire_replaced(repair);
    return code;
}

nx_code dir_repair(const char *dir, const struct repair_options *options,
                   const struct repair_report *report, struct repair_result *out,
                   struct nx_err *err)
{
    *out = (struct repair_result){0};
    struct repair repair = {
        .dir = dir, .io = io_real(), .options = options, .report = report, .result = out};
    nx_code code = dir_blocks_read(dir, false, &repair.blocks, err);
    if (code != NX_OK)
        return code;
    repair.has_catalog = repair.blocks.catalog_damage[0] == '\0';
    code = judge_all(&repair, err);
    if (code == NX_OK && !repair.has_catalog)
        did(&repair, "catalog.mdb: written anew from the blocks (%s)",
            repair.blocks.catalog_damage);
    if (code == NX_OK)
        code = carry_out(&repair, err);
    if (code == NX_OK && out->has_changed && !options->is_dry_run)
        code = replace_catalog(&repair, err);
    else if (code == NX_OK && out->has_changed)
        code = fill_catalog(&repair, NULL, err);
    for (size_t i = 0; i < repair.count; i++)
        nx_buf_deinit(&repair.items[i].sources);
    nx_free(repair.items);
    dir_blocks_deinit(&repair.blocks);
    return code;
}
