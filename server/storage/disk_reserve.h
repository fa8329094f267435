/* disk_reserve.h - room on the volume for what must go on when it is nearly full.
 *
 * Writes   are put off (NX_E_FULL, nothing appended) while less than min_free is free, and taken again once a quarter
 *          more is: by themselves, also when the volume grew.
 * Ballast  a file that holds space: a 32nd of the volume, at most 64 MiB. Maintenance that finds the volume full takes
 *          it away and tries again; it is made again when there is room for it.
 * Threads  disk_reserve_look: one, the watch; disk_reserve_release: maintenance; the others: any.
 */
#pragma once

#include "narthex/base/err.h"
#include "narthex/base/io.h"
#include "narthex/base/thread.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define DISK_BALLAST_BYTES_MAX (UINT64_C(64) << 20)
#define DISK_BALLAST_PARTS     32u
#define DISK_MIN_FREE_MAX      (UINT64_C(256) << 20) /* when it follows from the volume's size */
#define DISK_MIN_FREE_PARTS    20u

struct disk_reserve {
    const struct io *io;      /* [I] borrowed */
    const char *data_dir;     /* [I] borrowed */
    uint64_t min_free_option; /* [I] 0: by the volume's size */
    nx_code (*volume)(const char *path, uint64_t *out_free, uint64_t *out_total,
                      struct nx_err *err); /* [I] io_volume_bytes; tests have another */

    _Atomic bool is_low;             /* [A] relaxed */
    _Atomic uint64_t free_bytes;     /* [A] relaxed: as of the last look */
    _Atomic uint64_t min_free_bytes; /* [A] relaxed */
    _Atomic uint64_t ballast_bytes;  /* [A] relaxed: 0 while there is none */

    struct nx_mutex lock;
    bool has_failed; /* [L:lock] making the ballast; logged once */
};

void disk_reserve_init(struct disk_reserve *reserve, const struct io *io, const char *data_dir,
                       uint64_t min_free_bytes);
void disk_reserve_deinit(struct disk_reserve *reserve); /* the ballast stays */
/* Looks at the volume; makes the ballast when there is room. */
void disk_reserve_look(struct disk_reserve *reserve);
/* True: the ballast was there and is gone, trying again may succeed. */
bool disk_reserve_release(struct disk_reserve *reserve);
bool disk_reserve_is_low(const struct disk_reserve *reserve);
NX_NODISCARD nx_code disk_reserve_check_write(struct disk_reserve *reserve, struct nx_err *err);
void disk_reserve_publish(struct disk_reserve *reserve);
