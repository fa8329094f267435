/* arena.h - a region of memory that dies as one: a request's, a query's.
 *
 *   blocks (malloc'd, doubling from 16 KiB to 1 MiB; larger ones on their own)
 *     [ used ......... | free ]  ->  [ used ....... | free ]
 *
 * Memory   arena_alloc never frees singly. With a budget it returns NULL once the blocks would exceed it, and every
 *          later call does too (sticky): check where it matters, or once at the end by arena_is_exhausted.
 * Threads  one thread at a time, except arena_usage which any thread may read.
 * ASan     bytes not handed out are poisoned in builds with the address sanitizer.
 */
#pragma once

#include "narthex/base/err.h"
#include "narthex/base/str.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct arena_block;

/* A bound for many arenas together. */
struct arena_pool {
    _Atomic size_t used_bytes; /* [A] relaxed */
    _Atomic size_t max_bytes;  /* [A] relaxed: may change at any time; what is taken stays */
};

struct arena {
    struct arena_block *blocks; /* private */
    char *next;                 /* private */
    char *end;                  /* private */
    size_t budget_bytes;        /* [I] 0: no limit */
    _Atomic size_t used_bytes;  /* [A] relaxed: bytes taken from the heap */
    struct arena_pool *pool;    /* [I] may be NULL; set after arena_init, before the first use */
    bool is_exhausted;          /* private: use arena_is_exhausted */
    bool is_starved;            /* private: use arena_is_starved */
};

void arena_init(struct arena *arena, size_t budget_bytes);
void arena_deinit(struct arena *arena); /* safe on a zeroed struct and twice */
void arena_reset(struct arena *arena);  /* frees all but the first block */

/* 16-byte aligned, uninitialised; NULL only when the budget is spent. A size of 0 gives a unique pointer. */
void *arena_alloc(struct arena *arena, size_t bytes);
void *arena_calloc(struct arena *arena, size_t count, size_t bytes);
void *arena_copy(struct arena *arena, const void *data, size_t bytes);

/* Copy of `s`, NUL-terminated beyond its length. On exhaustion an empty view. */
struct nx_str arena_strdup(struct arena *arena, struct nx_str s);
struct nx_str arena_printf(struct arena *arena, const char *format, ...) NX_PRINTF(2, 3);

/* Grows an array that was the last allocation in place, else copies. Returns NULL when exhausted. */
void *arena_grow(struct arena *arena, void *memory, size_t old_bytes, size_t new_bytes);

/* Marks a point, and returns to it: what was allocated since is gone. For scratch inside a query. */
struct arena_mark {
    struct arena_block *block;
    char *next;
};
struct arena_mark arena_mark(const struct arena *arena);
void arena_rewind(struct arena *arena, struct arena_mark mark);

bool arena_is_exhausted(const struct arena *arena);
bool arena_is_starved(const struct arena *arena); /* exhausted, and it was the pool's doing */
size_t arena_usage(const struct arena *arena);
