/* SPDX-License-Identifier: Apache-2.0 */
/* disk_reserve.c - the volume's state, and the ballast.
 *
 * In       what statvfs tells
 * Out      writes allowed or not; <data>/ballast there or not
 * Fails    never: a volume that cannot be asked counts as having room, and the journal finds out
 */
#include "disk_reserve.h"

#include "narthex/base/log.h"
#include "narthex/base/mem.h"
#include "narthex/base/metrics.h"
#include "narthex/base/rand.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#define BALLAST_NAME       "ballast"
#define BALLAST_STEP_BYTES ((size_t)1 << 20)
#define BALLAST_UNIT_BYTES ((uint64_t)64 << 10)
#define DISK_PATH_MAX      4096

static bool ballast_path(const struct disk_reserve *reserve, char out[DISK_PATH_MAX])
{
    int length = snprintf(out, DISK_PATH_MAX, "%s/" BALLAST_NAME, reserve->data_dir);
    return length > 0 && length < DISK_PATH_MAX;
}

/* What the file really holds: one with holes is no ballast. */
static uint64_t allocated_bytes(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 ? (uint64_t)status.st_blocks * 512 : 0;
}

void disk_reserve_init(struct disk_reserve *reserve, const struct io *io, const char *data_dir,
                       uint64_t min_free_bytes)
{
    *reserve = (struct disk_reserve){.io = io,
                                     .data_dir = data_dir,
                                     .min_free_option = min_free_bytes,
                                     .volume = io_volume_bytes};
    mutex_init(&reserve->lock, LOCK_RANK_STORE_VIEW);
}

void disk_reserve_deinit(struct disk_reserve *reserve)
{
    mutex_deinit(&reserve->lock);
}

/* ---- the ballast ---- */

/* For volumes that cannot set space aside: bytes that no file system makes smaller. */
static nx_code write_noise(struct disk_reserve *reserve, int fd, uint64_t bytes, struct nx_err *err)
{
    struct rand_state rand;
    rand_seed(&rand, bytes);
    uint64_t *noise = nx_alloc(BALLAST_STEP_BYTES);
    nx_code code = NX_OK;
    for (uint64_t at = 0; code == NX_OK && at < bytes; at += BALLAST_STEP_BYTES) {
        for (size_t i = 0; i < BALLAST_STEP_BYTES / sizeof(*noise); i++)
            noise[i] = rand_u64(&rand);
        size_t step = bytes - at < BALLAST_STEP_BYTES ? (size_t)(bytes - at) : BALLAST_STEP_BYTES;
        code = reserve->io->pwrite(reserve->io, fd, noise, step, at, err);
    }
    nx_free(noise);
    return code;
}

static nx_code allocate(struct disk_reserve *reserve, int fd, uint64_t bytes, struct nx_err *err)
{
    int failed;
    do {
        failed = fallocate(fd, 0, 0, (off_t)bytes);
    } while (failed != 0 && errno == EINTR);
    if (failed != 0 && errno != EOPNOTSUPP)
        return nx_err_sys(err, errno, "allocate");
    nx_code code = failed != 0 ? write_noise(reserve, fd, bytes, err) : NX_OK;
    return code == NX_OK ? reserve->io->fsync(reserve->io, fd, err) : code;
}

static void make_ballast(struct disk_reserve *reserve, const char *path, uint64_t bytes)
    NX_REQUIRES(reserve->lock)
{
    const struct io *io = reserve->io;
    struct nx_err err;
    struct nx_err ignored;
    int fd;
    nx_code code = io->open(io, path, O_RDWR | O_CREAT | O_TRUNC, 0640, &fd, &err);
    if (code == NX_OK) {
        code = allocate(reserve, fd, bytes, &err);
        nx_ignore(io->close(io, fd, &ignored));
        if (code != NX_OK)
            nx_ignore(io->unlink(io, path, &ignored));
    }
    if (code != NX_OK && !reserve->has_failed)
        log_warn("store", "the ballast cannot be made", LOG_STR("path", path),
                 LOG_STR("reason", err.msg));
    reserve->has_failed = code != NX_OK;
    atomic_store_explicit(&reserve->ballast_bytes, code == NX_OK ? bytes : 0, memory_order_relaxed);
}

static uint64_t ballast_wanted(uint64_t volume_bytes)
{
    uint64_t bytes = volume_bytes / DISK_BALLAST_PARTS;
    if (bytes > DISK_BALLAST_BYTES_MAX)
        bytes = DISK_BALLAST_BYTES_MAX;
    return bytes / BALLAST_UNIT_BYTES * BALLAST_UNIT_BYTES;
}

/* Made only where there is room for it twice above the threshold, so that it does not make the volume low itself. */
static void keep_ballast(struct disk_reserve *reserve, uint64_t free_bytes, uint64_t min_free,
                         uint64_t volume_bytes)
{
    char path[DISK_PATH_MAX];
    uint64_t wanted = ballast_wanted(volume_bytes);
    if (atomic_load_explicit(&reserve->ballast_bytes, memory_order_relaxed) > 0 || wanted == 0 ||
        !ballast_path(reserve, path))
        return;
    mutex_lock(&reserve->lock);
    uint64_t there = allocated_bytes(path);
    if (there >= wanted / 2)
        atomic_store_explicit(&reserve->ballast_bytes, there, memory_order_relaxed);
    else if (free_bytes >= min_free + 2 * wanted)
        make_ballast(reserve, path, wanted);
    mutex_unlock(&reserve->lock);
}

bool disk_reserve_release(struct disk_reserve *reserve)
{
    char path[DISK_PATH_MAX];
    struct nx_err err;
    if (!ballast_path(reserve, path))
        return false;
    mutex_lock(&reserve->lock);
    uint64_t bytes = allocated_bytes(path);
    nx_code code = NX_OK;
    if (bytes > 0)
        code = reserve->io->unlink(reserve->io, path, &err);
    if (code == NX_OK)
        atomic_store_explicit(&reserve->ballast_bytes, 0, memory_order_relaxed);
    mutex_unlock(&reserve->lock);
    if (bytes == 0 || code != NX_OK)
        return false;
    metrics_add(METRIC_DISK_BALLAST_RELEASED, 1);
    log_warn("store", "the volume is full: the ballast is given up for maintenance",
             LOG_UINT("bytes", bytes));
    return true;
}

/* ---- the state ---- */

static void tell_state(bool is_low, uint64_t free_bytes, uint64_t min_free)
{
    if (is_low)
        log_error("store", "the volume is nearly full, writes are put off",
                  LOG_UINT("free_bytes", free_bytes), LOG_UINT("min_free_bytes", min_free));
    else
        log_info("store", "the volume has room again, writes are taken",
                 LOG_UINT("free_bytes", free_bytes));
}

void disk_reserve_look(struct disk_reserve *reserve)
{
    uint64_t free_bytes;
    uint64_t volume_bytes;
    struct nx_err ignored;
    if (reserve->volume(reserve->data_dir, &free_bytes, &volume_bytes, &ignored) != NX_OK)
        return;
    uint64_t min_free = reserve->min_free_option;
    if (min_free == 0) {
        min_free = volume_bytes / DISK_MIN_FREE_PARTS;
        min_free = min_free < DISK_MIN_FREE_MAX ? min_free : DISK_MIN_FREE_MAX;
    }
    bool was_low = atomic_load_explicit(&reserve->is_low, memory_order_relaxed);
    bool is_low = free_bytes < (was_low ? min_free + min_free / 4 : min_free);
    atomic_store_explicit(&reserve->free_bytes, free_bytes, memory_order_relaxed);
    atomic_store_explicit(&reserve->min_free_bytes, min_free, memory_order_relaxed);
    atomic_store_explicit(&reserve->is_low, is_low, memory_order_relaxed);
    if (is_low != was_low)
        tell_state(is_low, free_bytes, min_free);
    keep_ballast(reserve, free_bytes, min_free, volume_bytes);
}

bool disk_reserve_is_low(const struct disk_reserve *reserve)
{
    return atomic_load_explicit(&reserve->is_low, memory_order_relaxed);
}

nx_code disk_reserve_check_write(struct disk_reserve *reserve, struct nx_err *err)
{
    if (!disk_reserve_is_low(reserve))
        return NX_OK;
    metrics_add(METRIC_DISK_REFUSED, 1);
    return nx_err_set(err, NX_E_FULL,
                      "the volume is nearly full: %" PRIu64 " bytes are free, less than %" PRIu64
                      " (--storage.min-free); send the samples again",
                      atomic_load_explicit(&reserve->free_bytes, memory_order_relaxed),
                      atomic_load_explicit(&reserve->min_free_bytes, memory_order_relaxed));
}

void disk_reserve_publish(struct disk_reserve *reserve)
{
    metrics_set(METRIC_DISK_FREE,
                (double)atomic_load_explicit(&reserve->free_bytes, memory_order_relaxed));
    metrics_set(METRIC_DISK_MIN_FREE,
                (double)atomic_load_explicit(&reserve->min_free_bytes, memory_order_relaxed));
    metrics_set(METRIC_DISK_STATE,
                atomic_load_explicit(&reserve->is_low, memory_order_relaxed) ? 1 : 0);
    metrics_set(METRIC_DISK_BALLAST,
                (double)atomic_load_explicit(&reserve->ballast_bytes, memory_order_relaxed));
}
