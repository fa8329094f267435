/* SPDX-License-Identifier: Apache-2.0 */
/* block_files.c - plain files with a checksum per MiB.
 *
 * A file in writing is synced every few MiB: a merge that left hundreds of dirty MiB to one sync would hold up the
 * journal's commits on the same volume. With a pace the pieces are smaller and are only written back: a sync would
 * have the file system commit its own journal each time.
 */
#include "block_files.h"

#include "narthex/base/hash.h"
#include "narthex/base/mem.h"

#include "block_format.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#define FILE_SYNC_BYTES ((uint64_t)8 << 20) /* chosen: 64 ms of a volume that writes 125 MB/s */
/* Paced. Chosen: a commit that comes meanwhile waits for 8 ms of the same volume. */
#define FILE_PIECE_BYTES ((uint64_t)1 << 20)

nx_code sum_file_create(struct sum_file *file, const struct io *io, const char *path,
                        struct nx_err *err)
{
    *file = (struct sum_file){.io = io, .fd = -1};
    nx_code code = io->open(io, path, O_RDWR | O_CREAT | O_EXCL, 0640, &file->fd, err);
    if (code != NX_OK)
        return code;
    file->buffer = nx_alloc(FILE_SUM_BYTES);
    return NX_OK;
}

uint64_t sum_file_offset(const struct sum_file *file)
{
    return file->written + file->fill;
}

static uint64_t file_sum(const uint8_t *data, size_t bytes, uint64_t index)
{
    return nx_hash64(data, bytes, index);
}

static nx_code sum_file_drain(struct sum_file *file, struct nx_err *err)
{
    if (file->fill == 0)
        return NX_OK;
    nx_code code =
        file->io->pwrite(file->io, file->fd, file->buffer, file->fill, file->written, err);
    if (code != NX_OK)
        return code;
    nx_buf_append_u64(&file->sums,
                      file_sum(file->buffer, file->fill, file->written / FILE_SUM_BYTES));
    file->written += file->fill;
    file->unsynced += file->fill;
    file->fill = 0;
    if (file->unsynced < (file->pace != NULL ? FILE_PIECE_BYTES : FILE_SYNC_BYTES))
        return NX_OK;
    uint64_t bytes = file->unsynced;
    file->unsynced = 0;
    if (file->pace != NULL)
        return file_write_back(file->fd, file->written - bytes, bytes, file->pace, err);
    return file->io->fdatasync(file->io, file->fd, err);
}

nx_code sum_file_write(struct sum_file *file, struct nx_bytes bytes, struct nx_err *err)
{
    while (bytes.len > 0) {
        size_t part = FILE_SUM_BYTES - file->fill;
        if (part > bytes.len)
            part = bytes.len;
        memcpy(file->buffer + file->fill, bytes.data, part);
        file->fill += part;
        bytes.data += part;
        bytes.len -= part;
        if (file->fill == FILE_SUM_BYTES) {
            nx_code code = sum_file_drain(file, err);
            if (code != NX_OK)
                return code;
        }
    }
    return NX_OK;
}

nx_code sum_file_finish(struct sum_file *file, struct nx_err *err)
{
    nx_code code = sum_file_drain(file, err);
    if (code != NX_OK)
        return code;
    code = file->io->fsync(file->io, file->fd, err);
    if (code != NX_OK)
        return code;
    int fd = file->fd;
    file->fd = -1;
    return file->io->close(file->io, fd, err);
}

void sum_file_deinit(struct sum_file *file)
{
    if (file->io != NULL && file->fd >= 0) {
        struct nx_err ignored;
        nx_ignore(file->io->close(file->io, file->fd, &ignored));
    }
    nx_free(file->buffer);
    nx_buf_deinit(&file->sums);
    *file = (struct sum_file){.fd = -1};
}

nx_code file_write_back(int fd, uint64_t offset, uint64_t bytes, const struct block_pace *pace,
                        struct nx_err *err)
{
    const unsigned flags =
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    while (bytes > 0) {
        uint64_t piece = bytes < FILE_PIECE_BYTES ? bytes : FILE_PIECE_BYTES;
        int failed;
        do
            failed = sync_file_range(fd, (off_t)offset, (off_t)piece, flags);
        while (failed != 0 && errno == EINTR);
        /* A file system that cannot do this alone still syncs. What failed to be written is told once only. */
        if (failed != 0 && errno != ENOSYS && errno != EINVAL && errno != EOPNOTSUPP)
            return nx_err_sys(err, errno, "sync_file_range");
        pace->wrote(pace->context, piece);
        offset += piece;
        bytes -= piece;
    }
    return NX_OK;
}

uint64_t sum_count(uint64_t file_bytes)
{
    return file_bytes / FILE_SUM_BYTES + (file_bytes % FILE_SUM_BYTES != 0);
}

nx_code file_read_at(const struct io *io, int fd, uint64_t offset, void *out, size_t bytes,
                     struct nx_err *err)
{
    size_t got = 0;
    nx_code code = io->pread(io, fd, out, bytes, offset, &got, err);
    if (code != NX_OK)
        return code;
    if (got != bytes)
        return nx_err_set(err, NX_E_CORRUPT, "ends before offset %" PRIu64, offset + bytes);
    return NX_OK;
}

/* Calls nothing but `sums`: appended to when out is given, else compared with. */
static nx_code file_sums_walk(const struct io *io, int fd, uint64_t file_bytes,
                              const uint64_t *sums, struct nx_buf *out, struct nx_err *err)
{
    uint8_t *buffer = nx_alloc(FILE_SUM_BYTES);
    nx_code code = NX_OK;
    for (uint64_t i = 0; code == NX_OK && i < sum_count(file_bytes); i++) {
        uint64_t offset = i * FILE_SUM_BYTES;
        size_t bytes =
            file_bytes - offset < FILE_SUM_BYTES ? (size_t)(file_bytes - offset) : FILE_SUM_BYTES;
        code = file_read_at(io, fd, offset, buffer, bytes, err);
        if (code != NX_OK)
            break;
        uint64_t sum = file_sum(buffer, bytes, i);
        if (out != NULL)
            nx_buf_append_u64(out, sum);
        else if (sum != sums[i])
            code = nx_err_set(err, NX_E_CORRUPT, "checksum of MiB %" PRIu64 " differs", i);
    }
    nx_free(buffer);
    return code;
}

nx_code file_sums_read(const struct io *io, int fd, uint64_t file_bytes, struct nx_buf *out,
                       struct nx_err *err)
{
    return file_sums_walk(io, fd, file_bytes, NULL, out, err);
}

nx_code file_sums_verify(const struct io *io, int fd, uint64_t file_bytes, const uint64_t *sums,
                         struct nx_err *err)
{
    nx_code code = file_sums_walk(io, fd, file_bytes, sums, NULL, err);
    if (code != NX_OK)
        return code;
    uint8_t beyond;
    size_t got = 0;
    code = io->pread(io, fd, &beyond, 1, file_bytes, &got, err);
    if (code != NX_OK)
        return code;
    return got == 0 ? NX_OK
                    : nx_err_set(err, NX_E_CORRUPT, "longer than %" PRIu64 " bytes", file_bytes);
}
