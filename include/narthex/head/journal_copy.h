/* journal_copy.h - the journal read by others than its owner: a copy beside the running committer, a check by a tool.
 *
 * Layer    head.   Read  journal_copy.c
 */
#pragma once

#include "narthex/head/journal.h"

/* Copies every segment with commits that are not released into `to_dir` (which exists), as far as they are committed:
 * whatever was committed when this was called is in the copy. Files are synced, the directory is not. Threads: any,
 * beside commits, cuts and releases. *out_is_whole false: a segment was released and maybe overwritten meanwhile; what
 * was copied is worthless. *out_bytes is added to. */
NX_NODISCARD nx_code journal_copy(struct journal *journal, const char *to_dir, bool *out_is_whole,
                                  uint64_t *out_bytes, struct nx_err *err);

/* Every damage in a journal that nobody has open, each told once: `file` is a name in `dir`. Nothing is changed.
 * released_commit: as for journal_replay. */
struct journal_check_result {
    struct journal_replay_result replayed;
    uint64_t files, bytes;
};
typedef void (*journal_damage_fn)(void *context, const char *file, const char *what);
NX_NODISCARD nx_code journal_check(const char *dir, uint64_t released_commit,
                                   journal_damage_fn damage, void *context,
                                   struct journal_check_result *out, struct nx_err *err);
