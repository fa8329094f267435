/* SPDX-License-Identifier: Apache-2.0 */
/* block_list.c - the live blocks, and the steps by which blocks come and go.
 *
 *          begin            finish          rename, sync      commit           sweep
 *   (none) ------> BUILDING ------> BUILDING ----------> LIVE ------> RETIRED ------> (none)
 *          row              tmp/<ulid>       blocks/<ulid>             row stays       directory, then row
 *
 * What a crash leaves is decided by the row alone: BUILDING and RETIRED directories are removed at start, in tmp/ and
 * in blocks/; LIVE ones are opened, or, when the disk does not give them, kept as absent; a directory in blocks/
 * without a row goes to quarantine/.
 *
 * Locks   `lock` guards the arrays and the blocks' tombstones, never held over I/O. `publishing`, above it, lets
 *         publishes and deletes come one after the other; quarantine may come from any thread.
 */
#include "narthex/block/block_list.h"

#include "narthex/base/assert.h"
#include "narthex/base/log.h"
#include "narthex/base/mem.h"
#include "narthex/base/thread.h"
#include "narthex/block/map_guard.h"

#include "absent.h"
#include "block_files.h"
#include "block_format.h"
#include "block_meta.h"
#include "merge_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

struct block_list {
    const struct io *io;                         /* [I] */
    const struct block_pace *pace;               /* [I] NULL: none */
    int64_t gather_ms;                           /* [I] */
    bool is_read_only;                           /* [I] */
    const struct clock *clock;                   /* [I] */
    char *blocks_dir, *tmp_dir, *quarantine_dir; /* [I] */
    struct group_cache *cache;                   /* [I] */
    struct catalog *catalog;                     /* [I] */
    struct nx_mutex publishing;                  /* held over a publish or a delete */
    struct nx_mutex lock;
    struct block **live; /* [L:lock] by precedence: commit_min, then ulid; one reference each */
    size_t live_count, live_cap;       /* [L:lock] */
    struct block **retired;            /* [L:lock] one reference each, until they are swept */
    size_t retired_count, retired_cap; /* [L:lock] */
    struct absent_list absent;         /* [L:lock] */
    uint64_t quarantined;              /* [L:lock] */
    char damage[240];                  /* [L:lock] */
};

static int precedence_compare(const struct block_meta *a, const struct block_meta *b)
{
    if (a->commit_min != b->commit_min)
        return a->commit_min < b->commit_min ? -1 : 1;
    return strcmp(a->ulid, b->ulid);
}

static void array_insert(struct block ***array, size_t *count, size_t *cap, size_t at,
                         struct block *block)
{
    if (*count == *cap) {
        *cap = *cap == 0 ? 16 : *cap * 2;
        *array = nx_realloc_array(*array, *cap, sizeof(**array));
    }
    memmove(*array + at + 1, *array + at, (*count - at) * sizeof(**array));
    (*array)[at] = block;
    (*count)++;
}

static void array_remove(struct block **array, size_t *count, size_t at)
{
    (*count)--;
    memmove(array + at, array + at + 1, (*count - at) * sizeof(*array));
}

/* Takes the reference. */
static void live_insert_locked(struct block_list *list, struct block *block) NX_REQUIRES(list->lock)
{
    size_t at = 0;
    while (at < list->live_count &&
           precedence_compare(block_meta(list->live[at]), block_meta(block)) < 0)
        at++;
    array_insert(&list->live, &list->live_count, &list->live_cap, at, block);
}

/* The reference is the caller's now; NULL when it was not there. */
static struct block *live_remove_locked(struct block_list *list, const char *ulid)
    NX_REQUIRES(list->lock)
{
    for (size_t i = 0; i < list->live_count; i++) {
        struct block *block = list->live[i];
        if (strcmp(block_meta(block)->ulid, ulid) == 0) {
            array_remove(list->live, &list->live_count, i);
            return block;
        }
    }
    return NULL;
}

/* ---- quarantine ---- */

/* Moves a directory of blocks/ there, with a reason file beside it. */
static nx_code quarantine_dir(struct block_list *list, const char *name,
                              const struct block_absent *item, struct nx_err *err)
{
    if (list->is_read_only)
        return NX_OK;
    struct nx_buf from = {0}, to = {0}, file = {0}, text = {0};
    path_join(&from, list->blocks_dir, name);
    path_join(&to, list->quarantine_dir, name);
    absent_reason_text(item, &text);
    nx_buf_printf(&file, "%s/%s.reason", list->quarantine_dir, name);
    nx_buf_append_byte(&file, 0);
    nx_code code = io_write_file(list->io, (const char *)file.data, nx_buf_bytes(&text), err);
    if (code == NX_OK && io_exists((const char *)from.data))
        code = list->io->rename(list->io, (const char *)from.data, (const char *)to.data, err);
    if (code == NX_OK)
        code = io_sync_dir(list->io, list->quarantine_dir, err);
    if (code == NX_OK)
        code = io_sync_dir(list->io, list->blocks_dir, err);
    nx_buf_deinit(&from);
    nx_buf_deinit(&to);
    nx_buf_deinit(&file);
    nx_buf_deinit(&text);
    return code;
}

/* What did not come to quarantine/ is absent all the same. */
static void keep_absent(struct block_list *list, struct block_absent *item)
{
    item->is_kept = true;
    mutex_lock(&list->lock);
    absent_add(&list->absent, item);
    mutex_unlock(&list->lock);
}

static void note_damage(struct block_list *list, const char *reason)
{
    mutex_lock(&list->lock);
    list->quarantined++;
    snprintf(list->damage, sizeof(list->damage), "%s", reason);
    mutex_unlock(&list->lock);
}

nx_code block_list_quarantine(struct block_list *list, struct block *block, const char *reason,
                              struct nx_err *err)
{
    const char *ulid = block_meta(block)->ulid;
    struct block_absent item = absent_of(ulid, block_meta(block), reason);
    item.is_kept = true; /* until it is moved */
    mutex_lock(&list->lock);
    struct block *removed = live_remove_locked(list, ulid);
    if (removed != NULL)
        absent_add(&list->absent, &item);
    mutex_unlock(&list->lock);
    if (removed == NULL)
        return NX_OK;
    note_damage(list, reason);
    log_error("store", "block is damaged and set aside in quarantine/", LOG_STR("block", ulid),
              LOG_STR("reason", reason));
    /* Directory first: a row without a directory is found at start, a directory without a row would be moved again. */
    nx_code code = quarantine_dir(list, ulid, &item, err);
    if (code == NX_OK && !list->is_read_only) {
        item.is_kept = false;
        mutex_lock(&list->lock);
        absent_add(&list->absent, &item);
        mutex_unlock(&list->lock);
        code = catalog_forget(list->catalog, ulid, err);
    }
    block_unref(removed);
    return code;
}

/* ---- start ---- */

static nx_code remove_dir(struct block_list *list, const char *parent, const char *ulid,
                          struct nx_err *err)
{
    struct nx_buf path = {0};
    path_join(&path, parent, ulid);
    nx_code code = NX_OK;
    if (io_exists((const char *)path.data))
        code = io_remove_tree(list->io, (const char *)path.data, err);
    nx_buf_deinit(&path);
    return code;
}

/* Whether the disk did not give the block: its bytes may be good. Other errors are of the process or the machine. */
static bool is_unreadable(const struct nx_err *err)
{
    return err->code == NX_E_IO && (err->sys == EIO || err->sys == ESTALE || err->sys == ETIMEDOUT);
}

/* A read of the mapped index failed while the block was served. */
static nx_code check_mark(struct block_list *list, const char *ulid, struct nx_err *err)
{
    struct nx_buf path = {0};
    nx_buf_printf(&path, "%s/%s/" BLOCK_BAD_NAME, list->blocks_dir, ulid);
    nx_buf_append_byte(&path, 0);
    bool is_bad = io_exists((const char *)path.data);
    nx_buf_deinit(&path);
    if (!is_bad)
        return NX_OK;
    return nx_err_set(err, NX_E_CORRUPT,
                      "block %s: %s could not be read while it was served (its mark: %s)", ulid,
                      BLOCK_INDEX_NAME, BLOCK_BAD_NAME);
}

/* The block of a row, and whether it is that one. */
static nx_code open_row(struct block_list *list, const char *ulid, const struct block_meta *meta,
                        struct block **out_block, struct nx_err *err)
{
    struct nx_buf path = {0};
    struct block *block = NULL;
    nx_code code = check_mark(list, ulid, err);
    if (code == NX_OK)
        code = block_open(&block, list->io, path_join(&path, list->blocks_dir, ulid), list->cache,
                          err);
    nx_buf_deinit(&path);
    if (code == NX_OK && (strcmp(block_meta(block)->ulid, ulid) != 0 ||
                          block_meta(block)->sample_count != meta->sample_count ||
                          block_meta(block)->chunks_bytes != meta->chunks_bytes)) {
        block_unref(block);
        code = nx_err_set(err, NX_E_CORRUPT, "block %s: not the one that the catalog knows", ulid);
    }
    if (code == NX_OK)
        *out_block = block;
    return code;
}

/* A live block that was never opened goes to quarantine/. */
static nx_code set_row_aside(struct block_list *list, const char *ulid,
                             const struct block_meta *meta, const char *reason, struct nx_err *err)
{
    struct block_absent item = absent_of(ulid, meta, reason);
    note_damage(list, reason);
    keep_absent(list, &item);
    nx_code code = quarantine_dir(list, ulid, &item, err);
    if (code != NX_OK || list->is_read_only)
        return code;
    item.is_kept = false;
    mutex_lock(&list->lock);
    absent_add(&list->absent, &item);
    mutex_unlock(&list->lock);
    return catalog_forget(list->catalog, ulid, err);
}

static nx_code start_live(struct block_list *list, const char *ulid, const struct block_meta *meta,
                          struct nx_err *err)
{
    struct block *block = NULL;
    nx_code code = open_row(list, ulid, meta, &block, err);
    if (code == NX_OK) {
        mutex_lock(&list->lock);
        live_insert_locked(list, block);
        mutex_unlock(&list->lock);
        return NX_OK;
    }
    char reason[sizeof(err->msg)];
    snprintf(reason, sizeof(reason), "%s", err->msg);
    if (is_unreadable(err)) {
        struct block_absent item = absent_of(ulid, meta, reason);
        item.is_unreadable = true;
        log_error("store", "block cannot be read; it stays, and is tried again",
                  LOG_STR("block", ulid), LOG_STR("reason", reason));
        keep_absent(list, &item);
        return NX_OK;
    }
    if (code != NX_E_CORRUPT && code != NX_E_NOT_FOUND)
        return code;
    return set_row_aside(list, ulid, meta, reason, err);
}

static nx_code start_row(void *context, const char *ulid, enum catalog_state state,
                         const struct block_meta *meta, struct nx_err *err)
{
    struct block_list *list = context;
    nx_code code = NX_OK;
    if (list->is_read_only && state != CATALOG_LIVE)
        return NX_OK;
    switch (state) {
    case CATALOG_LIVE:
        return start_live(list, ulid, meta, err);
    case CATALOG_BUILDING:
    case CATALOG_RETIRED:
        code = remove_dir(list, list->blocks_dir, ulid, err);
        if (code == NX_OK)
            code = remove_dir(list, list->tmp_dir, ulid, err);
        if (code == NX_OK)
            code = io_sync_dir(list->io, list->blocks_dir, err);
        return code == NX_OK ? catalog_forget(list->catalog, ulid, err) : code;
    }
    return nx_err_set(err, NX_E_CORRUPT, "catalog: block %s has state %d", ulid, (int)state);
}

static nx_code start_entry(void *context, const char *name, bool is_directory, struct nx_err *err)
{
    struct block_list *list = context;
    (void)is_directory;
    for (size_t i = 0; i < list->live_count; i++)
        if (strcmp(block_meta(list->live[i])->ulid, name) == 0)
            return NX_OK;
    const struct block_absent *known = absent_find(&list->absent, name);
    if (known != NULL && known->is_unreadable)
        return NX_OK;
    char reason[300];
    snprintf(reason, sizeof(reason), "blocks/%.100s is not in the catalog", name);
    note_damage(list, reason);
    struct block_absent item = absent_of("", NULL, reason);
    return quarantine_dir(list, name, &item, err);
}

/* The journal names series by slots that the newest level-0 block defines. */
static nx_code check_newest_flush(struct block_list *list, struct nx_err *err)
{
    struct block *newest = block_list_newest_flush(list);
    uint64_t commit = newest == NULL ? 0 : block_meta(newest)->commit_max;
    bool has_newest = newest != NULL;
    block_unref(newest);
    for (size_t i = 0; i < list->absent.count; i++) {
        const struct block_absent *item = &list->absent.items[i];
        if (item->is_unreadable && item->meta.level == 0 &&
            (!has_newest || item->meta.commit_max >= commit))
            return nx_err_set(err, NX_E_IO,
                              "the newest block cannot be read, and without it nobody knows the "
                              "series of the journal (storage repair sets it aside): %.200s",
                              item->reason);
    }
    return NX_OK;
}

static nx_code start_tmp_entry(void *context, const char *name, bool is_directory,
                               struct nx_err *err)
{
    struct block_list *list = context;
    (void)is_directory;
    return remove_dir(list, list->tmp_dir, name, err);
}

static nx_code start_tombstones(void *context, const char *ulid, struct nx_bytes packed,
                                struct nx_err *err)
{
    struct block_list *list = context;
    for (size_t i = 0; i < list->live_count; i++) {
        struct block *block = list->live[i];
        if (strcmp(block_meta(block)->ulid, ulid) != 0)
            continue;
        nx_code code = tombstones_unpack(packed, (uint32_t)block_meta(block)->series_count,
                                         &block->tombstones, err);
        return code == NX_OK ? NX_OK : nx_err_wrap(err, "catalog: block %s", ulid);
    }
    return NX_OK;
}

static nx_code list_start_read_only(struct block_list *list, const char *data_dir,
                                    struct nx_err *err)
{
    struct nx_buf path = {0};
    nx_code code = catalog_open_read_only(&list->catalog, path_join(&path, data_dir, "catalog.mdb"),
                                          false, err);
    nx_buf_deinit(&path);
    /* quarantine/ is not looked at: a tool tells of what is live. */
    if (code == NX_OK)
        code = catalog_each(list->catalog, start_row, list, err);
    return code == NX_OK ? catalog_each_tombstones(list->catalog, start_tombstones, list, err)
                         : code;
}

static nx_code refuse_block(void *context, const char *name, bool is_directory, struct nx_err *err)
{
    (void)context;
    if (!is_directory || !ulid_is_valid(name))
        return NX_OK;
    return nx_err_set(
        err, NX_E_CORRUPT,
        "catalog.mdb is missing or empty, but blocks/ holds block %s: narthex storage "
        "repair writes the catalog anew",
        name);
}

/* An empty catalog would set all blocks aside, and what the journal says of their series would be lost. */
static nx_code check_lost_catalog(struct block_list *list, const char *data_dir, struct nx_err *err)
{
    struct nx_buf path = {0};
    struct nx_err ignored;
    uint64_t bytes = 0;
    nx_code code = NX_OK;
    bool is_there = io_file_size(list->io, path_join(&path, data_dir, "catalog.mdb"), &bytes,
                                 &ignored) != NX_E_NOT_FOUND;
    if ((!is_there || bytes == 0) && io_exists(list->blocks_dir))
        code = io_each_entry(list->io, list->blocks_dir, refuse_block, NULL, err);
    nx_buf_deinit(&path);
    return code;
}

static nx_code list_start(struct block_list *list, const char *data_dir, struct nx_err *err)
{
    if (list->is_read_only)
        return list_start_read_only(list, data_dir, err);
    nx_code found = check_lost_catalog(list, data_dir, err);
    if (found != NX_OK)
        return found;
    nx_code code = list->io->mkdir(list->io, list->blocks_dir, err);
    if (code == NX_OK)
        code = list->io->mkdir(list->io, list->tmp_dir, err);
    if (code == NX_OK)
        code = list->io->mkdir(list->io, list->quarantine_dir, err);
    if (code == NX_OK)
        code = io_sync_dir(list->io, data_dir, err);
    struct nx_buf path = {0};
    if (code == NX_OK)
        code = catalog_open(&list->catalog, path_join(&path, data_dir, "catalog.mdb"), err);
    nx_buf_deinit(&path);
    if (code == NX_OK)
        code = catalog_each(list->catalog, start_row, list, err);
    if (code == NX_OK)
        code = check_newest_flush(list, err);
    if (code == NX_OK)
        code = catalog_each_tombstones(list->catalog, start_tombstones, list, err);
    if (code == NX_OK)
        code = io_each_entry(list->io, list->blocks_dir, start_entry, list, err);
    if (code == NX_OK)
        code = absent_scan(&list->absent, list->io, list->quarantine_dir, err);
    if (code == NX_OK)
        code = io_each_entry(list->io, list->tmp_dir, start_tmp_entry, list, err);
    return code;
}

nx_code block_list_open(struct block_list **out_list, const struct block_list_options *options,
                        struct nx_err *err)
{
    struct block_list *list = nx_calloc(1, sizeof(*list));
    struct nx_buf path = {0};
    list->io = options->io;
    list->is_read_only = options->is_read_only;
    list->clock = options->clock;
    list->gather_ms = MERGE_GATHER_MS;
    list->blocks_dir = nx_strdup(path_join(&path, options->data_dir, "blocks"));
    list->tmp_dir = nx_strdup(path_join(&path, options->data_dir, "tmp"));
    list->quarantine_dir = nx_strdup(path_join(&path, options->data_dir, "quarantine"));
    nx_buf_deinit(&path);
    list->cache = group_cache_new(options->cache_bytes);
    mutex_init(&list->publishing, LOCK_RANK_BLOCK_PUBLISH);
    mutex_init(&list->lock, LOCK_RANK_BLOCK_LIST);
    nx_code code = list_start(list, options->data_dir, err);
    if (code != NX_OK) {
        block_list_close(list);
        return code;
    }
    *out_list = list;
    return NX_OK;
}

void block_list_close(struct block_list *list)
{
    if (list == NULL)
        return;
    if (list->catalog != NULL)
        block_list_sweep(list);
    for (size_t i = 0; i < list->live_count; i++)
        block_unref(list->live[i]);
    for (size_t i = 0; i < list->retired_count; i++)
        block_unref(list->retired[i]);
    catalog_close(list->catalog);
    group_cache_free(list->cache);
    mutex_deinit(&list->lock);
    mutex_deinit(&list->publishing);
    absent_deinit(&list->absent);
    nx_free(list->live);
    nx_free(list->retired);
    nx_free(list->blocks_dir);
    nx_free(list->tmp_dir);
    nx_free(list->quarantine_dir);
    nx_free(list);
}

struct catalog *block_list_catalog(struct block_list *list)
{
    return list->catalog;
}

const struct io *block_list_io(const struct block_list *list)
{
    return list->io;
}

const char *block_list_tmp_dir(const struct block_list *list)
{
    return list->tmp_dir;
}

/* ---- snapshots ---- */

void block_list_snapshot(struct block_list *list, int64_t min_ms, int64_t max_ms,
                         struct block_snapshot *out)
{
    mutex_lock(&list->lock);
    out->count = 0;
    out->blocks = nx_alloc(list->live_count * sizeof(struct block *));
    out->tombstones = nx_alloc(list->live_count * sizeof(struct tombstones *));
    for (size_t i = 0; i < list->live_count; i++) {
        const struct block_meta *meta = block_meta(list->live[i]);
        if (meta->min_time_ms > max_ms || meta->max_time_ms < min_ms)
            continue;
        out->tombstones[out->count] = tombstones_ref(list->live[i]->tombstones);
        out->blocks[out->count++] = block_ref(list->live[i]);
    }
    out->absent = absent_copy(&list->absent, min_ms, max_ms, &out->absent_count);
    mutex_unlock(&list->lock);
}

void block_snapshot_end(struct block_snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->count; i++) {
        tombstones_unref(snapshot->tombstones[i]);
        block_unref(snapshot->blocks[i]);
    }
    nx_free(snapshot->blocks);
    nx_free(snapshot->tombstones);
    nx_free(snapshot->absent);
    *snapshot = (struct block_snapshot){0};
}

/* ---- what is absent ---- */

bool block_list_is_absent(struct block_list *list, const struct block_absent *item)
{
    if (item->is_unreadable || item->is_kept)
        return true;
    struct nx_buf path = {0};
    bool is_there = io_exists(path_join(&path, list->quarantine_dir, item->meta.ulid));
    nx_buf_deinit(&path);
    if (is_there)
        return true;
    mutex_lock(&list->lock);
    const struct block_absent *found = absent_find(&list->absent, item->meta.ulid);
    if (found != NULL && !found->is_kept)
        absent_remove(&list->absent, item->meta.ulid);
    mutex_unlock(&list->lock);
    return false;
}

static nx_code reopen_tombstones(void *context, const char *ulid, struct nx_bytes packed,
                                 struct nx_err *err)
{
    struct block *block = context;
    if (strcmp(block_meta(block)->ulid, ulid) != 0)
        return NX_OK;
    return tombstones_unpack(packed, (uint32_t)block_meta(block)->series_count, &block->tombstones,
                             err);
}

/* Deletes and publishes wait meanwhile. */
static void retry_one(struct block_list *list, const struct block_absent *item)
    NX_REQUIRES(list->publishing)
{
    const char *ulid = item->meta.ulid;
    struct block *block = NULL;
    struct nx_err err, reason;
    nx_code code = open_row(list, ulid, &item->meta, &block, &reason);
    if (code == NX_OK)
        code = catalog_each_tombstones(list->catalog, reopen_tombstones, block, &reason);
    if (code == NX_OK) {
        mutex_lock(&list->lock);
        live_insert_locked(list, block);
        absent_remove(&list->absent, ulid);
        mutex_unlock(&list->lock);
        log_info("store", "block can be read again", LOG_STR("block", ulid));
        return;
    }
    block_unref(block);
    if (code != NX_E_CORRUPT)
        return;
    log_error("store", "block is damaged and set aside in quarantine/", LOG_STR("block", ulid),
              LOG_STR("reason", reason.msg));
    nx_ignore(set_row_aside(list, ulid, &item->meta, reason.msg, &err));
}

size_t block_list_retry(struct block_list *list)
{
    size_t count = 0;
    mutex_lock(&list->publishing);
    mutex_lock(&list->lock);
    struct block_absent *items = absent_copy(&list->absent, INT64_MIN, INT64_MAX, &count);
    mutex_unlock(&list->lock);
    for (size_t i = 0; i < count; i++)
        if (items[i].is_unreadable)
            retry_one(list, &items[i]);
    mutex_lock(&list->lock);
    count = absent_unreadable(&list->absent);
    mutex_unlock(&list->lock);
    mutex_unlock(&list->publishing);
    nx_free(items);
    return count;
}

struct block *block_list_newest_flush(struct block_list *list)
{
    struct block *newest = NULL;
    mutex_lock(&list->lock);
    for (size_t i = 0; i < list->live_count; i++) {
        struct block *block = list->live[i];
        if (block_meta(block)->level == 0 &&
            (newest == NULL || block_meta(block)->commit_max >= block_meta(newest)->commit_max))
            newest = block;
    }
    if (newest != NULL)
        block_ref(newest);
    mutex_unlock(&list->lock);
    return newest;
}

void block_list_set_pace(struct block_list *list, const struct block_pace *pace)
{
    list->pace = pace;
}

void block_list_set_gather(struct block_list *list, int64_t gather_ms)
{
    list->gather_ms = gather_ms;
}

int64_t block_list_gather(const struct block_list *list)
{
    return list->gather_ms;
}

const struct block_pace *block_list_pace(const struct block_list *list)
{
    return list->pace;
}

void block_list_set_cache(struct block_list *list, size_t bytes_max)
{
    group_cache_set_max(list->cache, bytes_max);
}

void block_list_stats(struct block_list *list, struct block_list_stats *out)
{
    *out = (struct block_list_stats){0};
    mutex_lock(&list->lock);
    out->blocks = list->live_count;
    for (size_t i = 0; i < list->live_count; i++) {
        const struct block_meta *meta = block_meta(list->live[i]);
        out->bytes += list->live[i]->disk_bytes;
        out->samples += meta->sample_count;
        const struct tombstones *tombstones = list->live[i]->tombstones;
        if (tombstones == NULL)
            continue;
        out->tombstone_blocks++;
        out->tombstones += tombstones_count(tombstones);
        out->tombstone_bytes += tombstones_packed(tombstones).len;
    }
    out->quarantined = list->quarantined;
    out->unreadable = absent_unreadable(&list->absent);
    out->waiting = list->retired_count;
    memcpy(out->damage, list->damage, sizeof(out->damage));
    mutex_unlock(&list->lock);
    out->cache_bytes = group_cache_bytes(list->cache);
}

/* ---- publish ---- */

nx_code block_list_begin(struct block_list *list, char out_ulid[ULID_TEXT_LEN + 1],
                         struct nx_buf *out_dir, struct nx_err *err)
{
    return block_list_begin_like(list, NULL, out_ulid, out_dir, err);
}

#define ULID_TIME_LEN 10u /* characters; the rest is random */

nx_code block_list_begin_like(struct block_list *list, const char *like,
                              char out_ulid[ULID_TEXT_LEN + 1], struct nx_buf *out_dir,
                              struct nx_err *err)
{
    char ulid[ULID_TEXT_LEN + 1];
    ulid_new(ulid, clock_wall_ms(list->clock));
    if (like != NULL)
        memcpy(ulid, like, ULID_TIME_LEN);
    nx_code code = catalog_begin(list->catalog, ulid, err);
    if (code != NX_OK)
        return code;
    memcpy(out_ulid, ulid, sizeof(ulid));
    path_join(out_dir, list->tmp_dir, ulid);
    return NX_OK;
}

void block_list_abandon(struct block_list *list, const char *ulid)
{
    struct nx_err ignored;
    nx_code code = remove_dir(list, list->tmp_dir, ulid, &ignored);
    if (code == NX_OK)
        code = remove_dir(list, list->blocks_dir, ulid, &ignored);
    if (code == NX_OK)
        code = io_sync_dir(list->io, list->blocks_dir, &ignored);
    /* With a directory left, or one that could come back, the row stays too: the next start removes both. */
    if (code == NX_OK)
        nx_ignore(catalog_forget(list->catalog, ulid, &ignored));
}

static nx_code publish_move(struct block_list *list, const struct block_meta *live,
                            size_t live_count, struct nx_err *err)
{
    struct nx_buf from = {0}, to = {0};
    nx_code code = NX_OK;
    for (size_t i = 0; code == NX_OK && i < live_count; i++)
        code = list->io->rename(list->io, path_join(&from, list->tmp_dir, live[i].ulid),
                                path_join(&to, list->blocks_dir, live[i].ulid), err);
    if (code == NX_OK && live_count > 0)
        code = io_sync_dir(list->io, list->blocks_dir, err);
    nx_buf_deinit(&from);
    nx_buf_deinit(&to);
    return code;
}

/* Opens them from where they are now. *out_blocks has live_count entries, unopened ones NULL. */
static nx_code publish_open(struct block_list *list, const struct block_meta *live,
                            size_t live_count, struct block **out_blocks, struct nx_err *err)
{
    struct nx_buf path = {0};
    nx_code code = NX_OK;
    for (size_t i = 0; code == NX_OK && i < live_count; i++)
        code = block_open(&out_blocks[i], list->io,
                          path_join(&path, list->blocks_dir, live[i].ulid), list->cache, err);
    nx_buf_deinit(&path);
    return code;
}

static void publish_swap(struct block_list *list, struct block **live,
                         const struct block_publish *publish)
{
    mutex_lock(&list->lock);
    for (size_t i = 0; i < publish->live_count; i++)
        live_insert_locked(list, live[i]);
    for (size_t i = 0; i < publish->retired_count; i++) {
        struct block *block = live_remove_locked(list, block_meta(publish->retired[i])->ulid);
        if (block != NULL)
            array_insert(&list->retired, &list->retired_count, &list->retired_cap,
                         list->retired_count, block);
    }
    mutex_unlock(&list->lock);
}

/* What is deleted of the new blocks: their own, and what was deleted of the old ones since the new were begun. */
static nx_code publish_tombstones(struct block_list *list, struct block **live,
                                  const struct block_publish *publish, struct nx_err *err)
{
    nx_code code = NX_OK;
    for (size_t i = 0; code == NX_OK && i < publish->live_count; i++) {
        if (publish->made != NULL)
            live[i]->tombstones = tombstones_ref(publish->made[i]);
        for (size_t j = 0; code == NX_OK && j < publish->retired_count; j++) {
            struct block *source = publish->retired[j];
            const struct tombstones *applied =
                publish->applied == NULL ? NULL : publish->applied[j];
            mutex_lock(&list->lock);
            struct tombstones *current = tombstones_ref(source->tombstones);
            mutex_unlock(&list->lock);
            if (current != NULL && current != applied)
                code =
                    tombstones_carry(source, applied, current, live[i], &live[i]->tombstones, err);
            tombstones_unref(current);
        }
    }
    return code;
}

static nx_code publish_commit(struct block_list *list, struct block **live,
                              const struct block_publish *publish, struct nx_err *err)
{
    const char **retired = nx_calloc(publish->retired_count + 1, sizeof(*retired));
    struct catalog_tombstones *rows = nx_calloc(publish->live_count + 1, sizeof(*rows));
    size_t row_count = 0;
    for (size_t i = 0; i < publish->retired_count; i++)
        retired[i] = block_meta(publish->retired[i])->ulid;
    for (size_t i = 0; i < publish->live_count; i++)
        if (live[i]->tombstones != NULL)
            rows[row_count++] = (struct catalog_tombstones){publish->live[i].ulid,
                                                            tombstones_packed(live[i]->tombstones)};
    const struct catalog_change change = {
        .live = publish->live,
        .live_count = publish->live_count,
        .retired = retired,
        .retired_count = publish->retired_count,
        .tombstones = rows,
        .tombstone_count = row_count,
    };
    nx_code code = catalog_apply(list->catalog, &change, err);
    nx_free(retired);
    nx_free(rows);
    return code;
}

nx_code block_list_publish_merged(struct block_list *list, const struct block_publish *publish,
                                  struct nx_err *err)
{
    size_t live_count = publish->live_count;
    struct block **opened = nx_calloc(live_count + 1, sizeof(*opened));
    bool is_undecided = false;
    mutex_lock(&list->publishing);
    list->io->crash_point(list->io, "publish_begun");
    nx_code code = publish_move(list, publish->live, live_count, err);
    if (code == NX_OK)
        code = publish_open(list, publish->live, live_count, opened, err);
    if (code == NX_OK)
        code = publish_tombstones(list, opened, publish, err);
    if (code == NX_OK) {
        list->io->crash_point(list->io, "publish_renamed");
        code = publish_commit(list, opened, publish, err);
        is_undecided = code != NX_OK && code != NX_E_FULL;
    }
    if (code == NX_OK) {
        list->io->crash_point(list->io, "publish_committed");
        publish_swap(list, opened, publish);
        block_list_sweep(list);
    } else {
        for (size_t i = 0; i < live_count; i++) {
            block_unref(opened[i]);
            if (!is_undecided)
                block_list_abandon(list, publish->live[i].ulid);
        }
    }
    mutex_unlock(&list->publishing);
    nx_free(opened);
    return code;
}

nx_code block_list_publish(struct block_list *list, const struct block_meta *live,
                           size_t live_count, struct block *const *retired, size_t retired_count,
                           struct nx_err *err)
{
    const struct block_publish publish = {
        .live = live, .live_count = live_count, .retired = retired, .retired_count = retired_count};
    return block_list_publish_merged(list, &publish, err);
}

/* ---- deletes ---- */

NX_NO_THREAD_ANALYSIS void block_list_lock_publishing(struct block_list *list)
{
    mutex_lock(&list->publishing);
}

NX_NO_THREAD_ANALYSIS void block_list_unlock_publishing(struct block_list *list)
{
    mutex_unlock(&list->publishing);
}

nx_code block_list_set_tombstones(struct block_list *list, struct block *const *blocks,
                                  struct tombstones *const *tombstones, size_t count,
                                  const char *key, struct nx_bytes value, struct nx_err *err)
{
    struct catalog_tombstones *rows = nx_calloc(count + 1, sizeof(*rows));
    for (size_t i = 0; i < count; i++)
        rows[i] = (struct catalog_tombstones){block_meta(blocks[i])->ulid,
                                              tombstones_packed(tombstones[i])};
    const struct catalog_change change = {
        .tombstones = rows, .tombstone_count = count, .key = key, .value = value};
    list->io->crash_point(list->io, "delete_begun");
    nx_code code = catalog_apply(list->catalog, &change, err);
    nx_free(rows);
    if (code != NX_OK)
        return code;
    list->io->crash_point(list->io, "delete_committed");
    mutex_lock(&list->lock);
    for (size_t i = 0; i < count; i++) {
        tombstones_unref(blocks[i]->tombstones);
        blocks[i]->tombstones = tombstones_ref(tombstones[i]);
    }
    mutex_unlock(&list->lock);
    return NX_OK;
}

/* A retired block that only the list refers to; the reference is the caller's. */
static struct block *sweep_next(struct block_list *list)
{
    struct block *block = NULL;
    mutex_lock(&list->lock);
    for (size_t i = 0; block == NULL && i < list->retired_count; i++) {
        /* Nobody can get a new reference: it is in no snapshot to come. */
        if (block_ref_count(list->retired[i]) != 1)
            continue;
        block = list->retired[i];
        array_remove(list->retired, &list->retired_count, i);
    }
    mutex_unlock(&list->lock);
    return block;
}

unsigned block_list_sweep(struct block_list *list)
{
    struct nx_err err;
    struct block *block;
    bool is_synced = true;
    while ((block = sweep_next(list)) != NULL) {
        char ulid[ULID_TEXT_LEN + 1];
        memcpy(ulid, block_meta(block)->ulid, sizeof(ulid));
        block_unref(block);
        /* When something fails, the row stays and the next start does it. */
        if (remove_dir(list, list->blocks_dir, ulid, &err) == NX_OK &&
            io_sync_dir(list->io, list->blocks_dir, &err) == NX_OK)
            nx_ignore(catalog_forget(list->catalog, ulid, &err));
        else
            is_synced = false;
    }
    if (!is_synced)
        log_debug("block", "retired blocks are left to the next start", LOG_STR("reason", err.msg));
    mutex_lock(&list->lock);
    unsigned waiting = (unsigned)list->retired_count;
    mutex_unlock(&list->lock);
    return waiting;
}
