/* block_files.h - the plain files of a block: written once front to back with a checksum per MiB, read at offsets. */
#pragma once

#include "narthex/base/buf.h"
#include "narthex/base/err.h"
#include "narthex/base/io.h"
#include "narthex/block/block.h"

/* A file that is being written. Its bytes reach the disk a MiB at a time. */
struct sum_file {
    const struct io *io; /* borrowed */
    int fd;              /* -1: closed */
    uint8_t *buffer;     /* FILE_SUM_BYTES */
    size_t fill;
    uint64_t written; /* bytes handed to the kernel */
    uint64_t unsynced;
    const struct block_pace *pace; /* borrowed; NULL: none. Set behind sum_file_create */
    struct nx_buf sums;            /* uint64_t per MiB written */
};

/* Creates the file; it must not exist. */
NX_NODISCARD nx_code sum_file_create(struct sum_file *file, const struct io *io, const char *path,
                                     struct nx_err *err);
uint64_t sum_file_offset(const struct sum_file *file); /* where the next byte will lie */
NX_NODISCARD nx_code sum_file_write(struct sum_file *file, struct nx_bytes bytes,
                                    struct nx_err *err);
/* The last bytes, fdatasync, close. sums are complete. */
NX_NODISCARD nx_code sum_file_finish(struct sum_file *file, struct nx_err *err);
void sum_file_deinit(struct sum_file *file); /* safe on a zeroed struct and twice */

/* Has the kernel write the range to the device, a piece at a time, each followed by a pause as `pace` has it, which is
 * not NULL. Durable it is only after a sync, which then has little left to do. NX_E_IO, NX_E_FULL: what a sync would
 * say. */
NX_NODISCARD nx_code file_write_back(int fd, uint64_t offset, uint64_t bytes,
                                     const struct block_pace *pace, struct nx_err *err);

uint64_t sum_count(uint64_t file_bytes); /* checksums that a file of this size has */

/* Appends the checksums of an existing file to `out`. */
NX_NODISCARD nx_code file_sums_read(const struct io *io, int fd, uint64_t file_bytes,
                                    struct nx_buf *out, struct nx_err *err);
/* NX_E_CORRUPT when one differs from `sums` (sum_count of them) or the file is not file_bytes long. */
NX_NODISCARD nx_code file_sums_verify(const struct io *io, int fd, uint64_t file_bytes,
                                      const uint64_t *sums, struct nx_err *err);

/* Exactly `bytes` at `offset`. NX_E_CORRUPT when the file ends before. */
NX_NODISCARD nx_code file_read_at(const struct io *io, int fd, uint64_t offset, void *out,
                                  size_t bytes, struct nx_err *err);
