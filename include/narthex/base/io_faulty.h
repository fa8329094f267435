/* io_faulty.h - an io table for tests: it counts calls, fails the ones it is told to, tears writes, and can go dark at
 * a named crash point.
 *
 *   struct io_faulty faulty;
 *   io_faulty_init(&faulty, io_real());
 *   io_faulty_add(&faulty, (struct io_fault){.call = IO_CALL_FDATASYNC, .nth = 3, .sys = EIO});
 *   journal_open(&faulty.io, ...);
 *
 * Threads  rules are set while no other thread uses the table; calls may come from many.
 */
#pragma once

#include "narthex/base/io.h"

#include <stdatomic.h>

enum io_call {
    IO_CALL_OPEN,
    IO_CALL_CLOSE,
    IO_CALL_PREAD,
    IO_CALL_PWRITE,
    IO_CALL_FDATASYNC,
    IO_CALL_FSYNC,
    IO_CALL_FTRUNCATE,
    IO_CALL_RENAME,
    IO_CALL_UNLINK,
    IO_CALL_MKDIR,
    IO_CALL_RMDIR,
    IO_CALL_LINK,
    IO_CALL_COUNT,
};

/* Fails the `nth` call of a kind (from 1, counted since init or the last clear; 0: every one) with errno `sys`, and all
 * later ones if is_lasting. A failing pwrite first writes min(torn_bytes, bytes) bytes; a failing close still closes;
 * a failing pread with sys 0 is no failure but a short read of torn_bytes, as if the file ended there. */
struct io_fault {
    enum io_call call;
    uint64_t nth;
    bool is_lasting;
    int sys;
    size_t torn_bytes;
};

#define IO_FAULTS_MAX 16

struct io_faulty {
    struct io io;           /* first: &faulty.io is the handle */
    const struct io *inner; /* [I] borrowed */
    struct io_fault faults[IO_FAULTS_MAX];
    size_t fault_count;
    const char *stop_at;                   /* see io_faulty_stop_at */
    _Atomic bool is_stopped;               /* [A] */
    _Atomic uint64_t calls[IO_CALL_COUNT]; /* [A] relaxed */
    _Atomic uint64_t failed_calls;         /* [A] relaxed */
};

void io_faulty_init(struct io_faulty *faulty, const struct io *inner);
void io_faulty_add(struct io_faulty *faulty, struct io_fault fault);
/* Forgets rules, counts and the stop. */
void io_faulty_clear(struct io_faulty *faulty);

/* From the crash point `name` on (borrowed) every call but close fails with EIO, as if the machine had lost its disk:
 * what is on disk stays as it was at that step. */
void io_faulty_stop_at(struct io_faulty *faulty, const char *name);
bool io_faulty_is_stopped(const struct io_faulty *faulty);

uint64_t io_faulty_calls(const struct io_faulty *faulty, enum io_call call);
uint64_t io_faulty_failed_calls(const struct io_faulty *faulty);
