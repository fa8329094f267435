/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot.c - live blocks linked, catalog and journal copied, in an order that needs no lock on the store.
 *
 *   live blocks referenced -> journal copied -> catalog copied -> blocks that it names linked -> synced -> renamed
 *
 * Why nothing is missing: the journal is listed before the catalog is copied, so a segment that was released before the
 * list holds commits of blocks that the catalog's copy names. A segment released later may be overwritten while it is
 * read: then all begins anew. Referenced blocks are not removed, so whatever the copy names and the list held can be
 * linked; a block that was published in between is in the copy alone, and all begins anew.
 */
#include "narthex/storage/snapshot.h"

#include "narthex/base/assert.h"
#include "narthex/base/io_copy.h"
#include "narthex/base/mem.h"
#include "narthex/head/journal_copy.h"

#include "store_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define SNAPSHOT_TRIES   50u /* chosen: a flush or merge publishes some times a minute at most */
#define SNAPSHOT_WAIT_US 50000u

struct snapshot {
    struct store *store;
    const struct io *io;
    bool skip_head;
    char name[SNAPSHOT_NAME_BYTES];
    struct nx_buf dir; /* under tmp/, NUL-terminated */
    struct block_snapshot blocks;
    bool is_outdated; /* something changed: again */
    uint64_t bytes;   /* copied */
};

static void make_name(struct snapshot *snapshot)
{
    uint64_t number;
    time_t seconds = (time_t)(clock_wall_ms(snapshot->store->options.clock) / 1000);
    struct tm utc = {0};
    rand_bytes(&number, sizeof(number));
    gmtime_r(&seconds, &utc);
    int length = snprintf(snapshot->name, sizeof(snapshot->name),
                          "%04d%02d%02dT%02d%02d%02dZ-%016" PRIx64, utc.tm_year + 1900,
                          utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, number);
    NX_ASSERT(length > 0 && (size_t)length < sizeof(snapshot->name));
}

/* ---- blocks ---- */

/* A link, or a copy where the volume has no links. */
static nx_code link_entry(struct snapshot *snapshot, const char *from, const char *to,
                          struct nx_err *err)
{
    nx_code code = snapshot->io->link(snapshot->io, from, to, err);
    bool has_no_links = code != NX_OK && (err->sys == EPERM || err->sys == EXDEV ||
                                          err->sys == EMLINK || err->sys == EOPNOTSUPP);
    if (!has_no_links)
        return code;
    return io_copy_file(snapshot->io, from, to, UINT64_MAX, &snapshot->bytes, err);
}

struct link_context {
    struct snapshot *snapshot;
    const char *from, *to;
};

static nx_code link_file(void *context, const char *name, bool is_directory, struct nx_err *err)
{
    const struct link_context *link = context;
    struct nx_buf from = {0}, to = {0};
    nx_code code = NX_OK;
    if (!is_directory)
        code = link_entry(link->snapshot, path_join(&from, link->from, name),
                          path_join(&to, link->to, name), err);
    nx_buf_deinit(&from);
    nx_buf_deinit(&to);
    return code;
}

static struct block *find_block(const struct block_snapshot *blocks, const char *ulid)
{
    for (size_t i = 0; i < blocks->count; i++)
        if (strcmp(block_meta(blocks->blocks[i])->ulid, ulid) == 0)
            return blocks->blocks[i];
    return NULL;
}

static nx_code link_block(void *context, const char *ulid, enum catalog_state state,
                          const struct block_meta *meta, struct nx_err *err)
{
    struct snapshot *snapshot = context;
    (void)meta;
    if (state != CATALOG_LIVE || snapshot->is_outdated)
        return NX_OK;
    struct block *block = find_block(&snapshot->blocks, ulid);
    if (block == NULL) {
        snapshot->is_outdated = true;
        return NX_OK;
    }
    struct nx_buf parent = {0}, to = {0};
    path_join(&to, path_join(&parent, (const char *)snapshot->dir.data, "blocks"), ulid);
    struct link_context link = {snapshot, block_dir(block), (const char *)to.data};
    nx_code code = snapshot->io->mkdir(snapshot->io, link.to, err);
    if (code == NX_OK)
        code = io_each_entry(snapshot->io, link.from, link_file, &link, err);
    if (code == NX_OK)
        code = io_sync_dir(snapshot->io, link.to, err);
    /* Gone to quarantine meanwhile. */
    if (code == NX_E_NOT_FOUND || (code == NX_E_IO && err->sys == ENOENT)) {
        snapshot->is_outdated = true;
        code = NX_OK;
    }
    nx_buf_deinit(&parent);
    nx_buf_deinit(&to);
    return code;
}

/* ---- one try ---- */

static nx_code make_dirs(struct snapshot *snapshot, struct nx_err *err)
{
    static const char *const names[] = {"blocks", "journal"};
    const char *dir = (const char *)snapshot->dir.data;
    struct nx_buf path = {0};
    nx_code code = snapshot->io->mkdir(snapshot->io, dir, err);
    for (size_t i = 0; code == NX_OK && i < NX_ARRAY_LEN(names); i++)
        code = snapshot->io->mkdir(snapshot->io, path_join(&path, dir, names[i]), err);
    nx_buf_deinit(&path);
    return code;
}

static nx_code copy_journal(struct snapshot *snapshot, struct nx_err *err)
{
    if (snapshot->skip_head)
        return NX_OK;
    struct nx_buf path = {0};
    bool is_whole = false;
    nx_code code = journal_copy(snapshot->store->journal,
                                path_join(&path, (const char *)snapshot->dir.data, "journal"),
                                &is_whole, &snapshot->bytes, err);
    snapshot->is_outdated = snapshot->is_outdated || !is_whole;
    nx_buf_deinit(&path);
    return code;
}

static nx_code copy_catalog(struct snapshot *snapshot, struct nx_err *err)
{
    struct nx_buf path = {0};
    struct catalog *copy = NULL;
    path_join(&path, (const char *)snapshot->dir.data, "catalog.mdb");
    nx_code code =
        catalog_copy(block_list_catalog(snapshot->store->blocks), (const char *)path.data, err);
    if (code == NX_OK)
        code = catalog_open_read_only(&copy, (const char *)path.data, false, err);
    if (code == NX_OK)
        code = catalog_each(copy, link_block, snapshot, err);
    catalog_close(copy);
    nx_buf_deinit(&path);
    return code;
}

static nx_code sync_dirs(struct snapshot *snapshot, struct nx_err *err)
{
    static const char *const names[] = {"blocks", "journal", "."};
    struct nx_buf path = {0};
    nx_code code = NX_OK;
    for (size_t i = 0; code == NX_OK && i < NX_ARRAY_LEN(names); i++)
        code = io_sync_dir(snapshot->io,
                           path_join(&path, (const char *)snapshot->dir.data, names[i]), err);
    nx_buf_deinit(&path);
    return code;
}

static nx_code check_readable(const struct block_snapshot *blocks, struct nx_err *err)
{
    for (size_t i = 0; i < blocks->absent_count; i++)
        if (blocks->absent[i].is_unreadable)
            return nx_err_set(err, NX_E_IO, "block %s cannot be read now",
                              blocks->absent[i].meta.ulid);
    return NX_OK;
}

static nx_code try_once(struct snapshot *snapshot, struct nx_err *err)
{
    snapshot->is_outdated = false;
    snapshot->bytes = 0;
    nx_code code = make_dirs(snapshot, err);
    if (code != NX_OK)
        return code;
    block_list_snapshot(snapshot->store->blocks, INT64_MIN, INT64_MAX, &snapshot->blocks);
    code = check_readable(&snapshot->blocks, err);
    if (code == NX_OK)
        code = copy_journal(snapshot, err);
    if (code == NX_OK && !snapshot->is_outdated)
        code = copy_catalog(snapshot, err);
    block_snapshot_end(&snapshot->blocks);
    if (code == NX_OK && !snapshot->is_outdated)
        code = sync_dirs(snapshot, err);
    return code;
}

static nx_code publish(struct snapshot *snapshot, struct nx_err *err)
{
    struct nx_buf parent = {0}, to = {0};
    const char *data_dir = snapshot->store->data_dir;
    nx_code code =
        snapshot->io->mkdir(snapshot->io, path_join(&parent, data_dir, "snapshots"), err);
    if (code == NX_OK)
        code = io_sync_dir(snapshot->io, data_dir, err);
    snapshot->io->crash_point(snapshot->io, "snapshot_made");
    if (code == NX_OK)
        code = snapshot->io->rename(snapshot->io, (const char *)snapshot->dir.data,
                                    path_join(&to, (const char *)parent.data, snapshot->name), err);
    if (code == NX_OK)
        code = io_sync_dir(snapshot->io, (const char *)parent.data, err);
    nx_buf_deinit(&parent);
    nx_buf_deinit(&to);
    return code;
}

static nx_code snapshot_run(struct snapshot *snapshot, struct nx_err *err)
{
    const char *dir = (const char *)snapshot->dir.data;
    struct nx_err ignored;
    for (unsigned i = 0; i < SNAPSHOT_TRIES; i++) {
        nx_code code = try_once(snapshot, err);
        if (code == NX_OK && !snapshot->is_outdated)
            code = publish(snapshot, err);
        if (code == NX_OK && !snapshot->is_outdated)
            return NX_OK;
        if (io_exists(dir))
            nx_ignore(io_remove_tree(snapshot->io, dir, &ignored));
        if (code != NX_OK)
            return code;
        if (atomic_load(&snapshot->store->is_stopping))
            return nx_err_set(err, NX_E_CANCELLED, "the server is stopping");
        usleep(SNAPSHOT_WAIT_US);
    }
    return nx_err_set(err, NX_E_BUSY, "blocks changed during each of %u tries", SNAPSHOT_TRIES);
}

nx_code store_snapshot(struct store *store, bool skip_head, char out_name[SNAPSHOT_NAME_BYTES],
                       struct nx_err *err)
{
    if (atomic_exchange(&store->is_snapshotting, true))
        return nx_err_set(err, NX_E_BUSY, "another snapshot is being made");
    struct snapshot snapshot = {.store = store, .io = store->options.io, .skip_head = skip_head};
    struct nx_buf tmp = {0};
    make_name(&snapshot);
    path_join(&snapshot.dir, path_join(&tmp, store->data_dir, "tmp"), snapshot.name);
    nx_code code = snapshot_run(&snapshot, err);
    atomic_store(&store->is_snapshotting, false);
    nx_buf_deinit(&tmp);
    nx_buf_deinit(&snapshot.dir);
    if (code != NX_OK)
        return nx_err_wrap(err, "snapshot");
    memcpy(out_name, snapshot.name, sizeof(snapshot.name));
    return NX_OK;
}
