/* SPDX-License-Identifier: Apache-2.0 */
/* restore.c - a snapshot becomes a data directory: verified, copied, synced, opened.
 *
 * In       a snapshot (or any stopped data directory), a directory that is absent or empty
 * Out      a data directory that a server can start on; the snapshot is as it was
 * Fails    NX_E_CORRUPT (the snapshot; nothing was touched), NX_E_EXISTS (the target holds something), as the disk does
 */
#include "narthex/base/assert.h"
#include "narthex/base/clock.h"
#include "narthex/base/io_copy.h"
#include "narthex/storage/data_dir.h"
#include "narthex/storage/repair.h"
#include "narthex/storage/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define RESTORE_CACHE_BYTES ((uint64_t)32 << 20)

static nx_code refuse_entry(void *context, const char *name, bool is_directory, struct nx_err *err)
{
    (void)is_directory;
    if (strcmp(name, "lost+found") == 0) /* of a new volume */
        return NX_OK;
    return nx_err_set(err, NX_E_EXISTS,
                      "%s is not empty (it holds %.100s): a restore goes into a new directory",
                      (const char *)context, name);
}

static nx_code check_target(const char *target, struct nx_err *err)
{
    struct stat status;
    if (stat(target, &status) != 0)
        return NX_OK;
    if (!S_ISDIR(status.st_mode))
        return nx_err_set(err, NX_E_EXISTS, "%s is not a directory", target);
    union {
        const char *in;
        void *out;
    } name = {.in = target};
    return io_each_entry(io_real(), target, refuse_entry, name.out, err);
}

static nx_code copy_parts(const char *snapshot, const char *target, uint64_t *bytes,
                          struct nx_err *err)
{
    static const char *const dirs[] = {"blocks", "journal"};
    const struct io *io = io_real();
    struct nx_buf from = {0}, to = {0};
    nx_code code = NX_OK;
    for (size_t i = 0; code == NX_OK && i < NX_ARRAY_LEN(dirs); i++) {
        if (!io_exists(path_join(&from, snapshot, dirs[i])))
            continue;
        code =
            io_copy_tree(io, (const char *)from.data, path_join(&to, target, dirs[i]), bytes, err);
    }
    if (code == NX_OK)
        code = io_copy_file(io, path_join(&from, snapshot, "catalog.mdb"),
                            path_join(&to, target, "catalog.mdb"), UINT64_MAX, bytes, err);
    nx_buf_deinit(&from);
    nx_buf_deinit(&to);
    return code;
}

static nx_code copy_locked(const char *snapshot, const char *target, uint64_t *bytes,
                           struct nx_err *err)
{
    const struct io *io = io_real();
    struct nx_buf mark = {0};
    const char text[] = "a restore is running here, or was interrupted\n";
    path_join(&mark, target, DATA_DIR_RESTORING);
    nx_code code = check_target(target, err); /* again, now that nobody else may come */
    if (code == NX_OK)
        code = io_write_file(io, (const char *)mark.data,
                             (struct nx_bytes){(const uint8_t *)text, sizeof(text) - 1}, err);
    if (code == NX_OK)
        code = io_sync_dir(io, target, err);
    if (code == NX_OK)
        code = copy_parts(snapshot, target, bytes, err);
    if (code == NX_OK)
        code = io_sync_dir(io, target, err);
    io->crash_point(io, "restore_copied");
    if (code == NX_OK)
        code = io->unlink(io, (const char *)mark.data, err);
    if (code == NX_OK)
        code = io_sync_dir(io, target, err);
    nx_buf_deinit(&mark);
    return code;
}

static nx_code sync_parent(const char *target, struct nx_err *err)
{
    struct nx_buf parent = {0};
    nx_code code = io_sync_dir(io_real(), path_join(&parent, target, ".."), err);
    nx_buf_deinit(&parent);
    return code;
}

static nx_code open_copy(const char *target, struct restore_result *out, struct nx_err *err)
{
    const struct store_options options = {.data_dir = target,
                                          .io = io_read_only(),
                                          .clock = clock_real(),
                                          .cache_bytes = RESTORE_CACHE_BYTES,
                                          .is_read_only = true};
    struct store *store = NULL;
    struct store_open_result opened;
    nx_code code = store_open(&store, &options, &opened, err);
    if (code != NX_OK)
        return nx_err_wrap(err, "the copy does not open");
    out->blocks = opened.blocks;
    out->journal_samples = opened.journal_samples;
    return store_close(store, err);
}

nx_code dir_restore(const char *snapshot, const char *target, const struct verify_report *report,
                    struct restore_result *out, struct nx_err *err)
{
    *out = (struct restore_result){0};
    nx_code code = check_target(target, err);
    if (code == NX_OK)
        code = dir_verify(snapshot, report, &out->verified, err);
    if (code == NX_OK && out->verified.damages > 0)
        code = nx_err_set(err, NX_E_CORRUPT,
                          "%s has %" PRIu64
                          " damages: nothing was copied; narthex storage repair may help",
                          snapshot, out->verified.damages);
    if (code == NX_OK)
        code = io_real()->mkdir(io_real(), target, err);
    if (code == NX_OK)
        code = sync_parent(target, err);
    struct data_dir_lock lock = DATA_DIR_LOCK_NONE;
    if (code == NX_OK)
        code = data_dir_lock(&lock, target, err);
    if (code == NX_OK)
        code = copy_locked(snapshot, target, &out->bytes, err);
    data_dir_unlock(&lock);
    return code == NX_OK ? open_copy(target, out, err) : code;
}
