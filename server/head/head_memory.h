/* head_memory.h - the three kinds of memory that the head is made of.
 *
 *   segvec         items numbered from 0 that never move: segments of 256, 512, 1024, ... items
 *   head_pool      small objects of one owner's lock: packed labels, texts, short lists; size classes of 8 bytes
 *   stream_store   chunks of the series' streams, bump-allocated from blocks and let go of block by block: what one
 *                  flush sealed dies together, so no chunk is ever freed alone
 *
 * Threads  each belongs to whoever owns its lock. segvec_at may be called without the lock for an item that was
 *          handed over under it: segments never move while the vector lives.
 */
#pragma once

#include "narthex/base/assert.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- segvec ---- */

#define SEGVEC_FIRST_BITS   8u
#define SEGVEC_SEGMENTS_MAX (32u - SEGVEC_FIRST_BITS)

struct segvec {
    uint8_t *segments[SEGVEC_SEGMENTS_MAX];
    size_t item_bytes;
};

void segvec_init(struct segvec *vec, size_t item_bytes);
void segvec_deinit(struct segvec *vec); /* safe on a zeroed struct and twice */
void segvec_grow(struct segvec *vec,
                 uint32_t index); /* makes the segment of `index`; items are zeroed */

static inline unsigned segvec_segment(uint32_t index)
{
    return 31u - (unsigned)__builtin_clz((index >> SEGVEC_FIRST_BITS) + 1);
}

/* First item of a segment, and how many it has. */
static inline uint32_t segvec_first(unsigned segment)
{
    return ((UINT32_C(1) << segment) - 1) << SEGVEC_FIRST_BITS;
}

static inline bool segvec_has(const struct segvec *vec, uint32_t index)
{
    return vec->segments[segvec_segment(index)] != NULL;
}

static inline void segvec_ensure(struct segvec *vec, uint32_t index)
{
    if (!segvec_has(vec, index))
        segvec_grow(vec, index);
}

/* item_bytes is given again so that it is a constant where it is used. */
static inline void *segvec_at(const struct segvec *vec, uint32_t index, size_t item_bytes)
{
    unsigned segment = segvec_segment(index);
    return vec->segments[segment] + (size_t)(index - segvec_first(segment)) * item_bytes;
}

/* ---- head_pool ---- */

#define POOL_CLASS_STEP 8u
#define POOL_CLASS_MAX  512u /* larger objects come from the heap, one by one */

struct head_pool {
    void *free[POOL_CLASS_MAX / POOL_CLASS_STEP];
    uint8_t *next; /* of the newest page */
    uint8_t *end;
    void *pages; /* chained through their first word */
    uint64_t bytes;
};

void head_pool_deinit(
    struct head_pool *pool); /* objects above POOL_CLASS_MAX must have been freed */
void *head_pool_alloc(struct head_pool *pool, size_t bytes); /* 8-byte aligned, uninitialised */
void head_pool_free(struct head_pool *pool, void *object, size_t bytes);

/* What an object of `bytes` really occupies. */
static inline size_t head_pool_usable(size_t bytes)
{
    size_t rounded = (bytes + POOL_CLASS_STEP - 1) & ~(size_t)(POOL_CLASS_STEP - 1);
    return rounded == 0 ? POOL_CLASS_STEP : rounded;
}

/* ---- stream_store ---- */

#define STREAM_BLOCK_BYTES  65536u
#define STREAM_OFFSET_BITS  13u /* of 8 bytes each */
#define STREAM_CHUNK_MAX    4096u
#define STREAM_BLOCKS_LIMIT (1u << (32 - STREAM_OFFSET_BITS))

static_assert(STREAM_BLOCK_BYTES == 8u << STREAM_OFFSET_BITS,
              "a reference reaches every byte of a block");

/* A chunk holds whole batches of one stream; `older` leads to the bytes before. */
struct stream_chunk {
    uint32_t older; /* 0: none */
    uint16_t used;
    uint16_t cap;
    uint8_t data[];
};

/* Blocks of one generation of chunks. */
struct stream_arena {
    uint32_t *blocks;
    uint32_t count;
    uint32_t cap;
    uint32_t fill; /* bytes taken from the last block */
    uint64_t chunks;
};

struct stream_store {
    struct segvec directory; /* uint8_t * by block number */
    uint32_t block_count;
    uint32_t *spare; /* block numbers in no arena; those with memory last */
    uint32_t spare_count;
    uint32_t spare_cap;
    uint32_t spare_mapped; /* of the spare ones, how many have memory */
    uint64_t bytes;
};

void stream_store_init(struct stream_store *store);
void stream_store_deinit(struct stream_store *store);
/* A chunk with room for `cap` bytes, empty; its reference is never 0. */
uint32_t stream_store_alloc(struct stream_store *store, struct stream_arena *arena, size_t cap);
/* Moves all blocks of `from` to `to`. */
void stream_arena_join(struct stream_arena *to, struct stream_arena *from);
/* Lets go of all chunks of `arena`; at most `spare_max` blocks are kept for the next. */
void stream_store_release(struct stream_store *store, struct stream_arena *arena,
                          uint32_t spare_max);

/* Frees the memory of up to `count` spare blocks; how many there were. */
uint32_t stream_store_give_back(struct stream_store *store, uint32_t count);

static inline struct stream_chunk *stream_store_chunk(const struct stream_store *store,
                                                      uint32_t ref)
{
    uint8_t *block =
        *(uint8_t **)segvec_at(&store->directory, ref >> STREAM_OFFSET_BITS, sizeof(uint8_t *));
    size_t offset = (size_t)(ref & ((1u << STREAM_OFFSET_BITS) - 1)) * 8;
    return (struct stream_chunk *)(void *)(block + offset);
}
