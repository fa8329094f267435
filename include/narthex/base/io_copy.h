/* io_copy.h - files copied, directories walked whole: for snapshots and tools.
 *
 * Copies are new files: a target that exists is an error. Nothing is durable before io_sync_dir of the directories.
 */
#pragma once

#include "narthex/base/io.h"

/* The first `bytes` of a file (all of it when it is shorter), synced. *out_bytes (may be NULL) is added to. */
NX_NODISCARD nx_code io_copy_file(const struct io *io, const char *from, const char *to,
                                  uint64_t bytes, uint64_t *out_bytes, struct nx_err *err);
/* A directory with all in it, files and directories synced. `to` is made. NX_E_INVALID for what is neither a file nor a
 * directory. *out_bytes as above. */
NX_NODISCARD nx_code io_copy_tree(const struct io *io, const char *from, const char *to,
                                  uint64_t *out_bytes, struct nx_err *err);

/* The real table without the calls that change something: these fail with NX_E_IO (EROFS). mkdir of a directory that is
 * there is fine, and so is a sync. */
const struct io *io_read_only(void);
