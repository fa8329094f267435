/* head_index.h - pairs are interned to ids, and every pair knows the slots of its series.
 *
 *   (name, value) --hash--> pair_table --> pair id --> pair { value text, name id, list of slots }
 *   name          --hash--> name_table --> name id --> name { text, ids of its pairs }
 *
 * Lists    2 slots inside the pair; up to 64 in a sorted array; above that a Roaring set.
 * Life     a pair without series is dead: it stays, may live again, and is freed by index_collect only while nobody
 *          has pinned the index. So a pinned reader, and whoever knows that a series of the pair lives, reads texts
 *          without the lock.
 * Threads  index->lock for everything but texts (above) and hashing.
 */
#pragma once

#include "narthex/base/thread.h"
#include "narthex/codec/postings.h"
#include "narthex/model/labels.h"

#include "head_memory.h"
#include "id_table.h"

#define PAIR_NONE UINT32_MAX

enum pair_kind {
    PAIR_INLINE,
    PAIR_ARRAY,
    PAIR_SET,
};

#define PAIR_INLINE_SLOTS 2u
#define PAIR_ARRAY_SLOTS  64u

struct index_pair {
    const char *value; /* pool; NULL: the id is free */
    uint32_t value_len;
    uint32_t name;  /* name id; the next free id while free */
    uint32_t count; /* slots */
    uint8_t kind;   /* enum pair_kind */
    uint8_t cap;    /* of the array */
    bool is_dead;   /* listed in index->dead */
    uint8_t unused;
    union {
        uint32_t slots[PAIR_INLINE_SLOTS];
        uint32_t *array; /* pool */
        struct postings *set;
    } list;
};
static_assert(sizeof(struct index_pair) == 32, "two pairs a cache line");

struct index_name {
    char *text; /* NULL: the id is free */
    uint32_t len;
    uint32_t pair_count;
    uint32_t *pairs; /* ids, in order of appearance; dead ones included */
    uint32_t pair_cap;
    bool has_freed; /* index_collect: some of `pairs` were freed */
    uint64_t hash;  /* of the text */
    /* Of the pairs that have series: */
    uint32_t live;        /* how many */
    uint32_t series;      /* theirs together: a series has a name once */
    uint64_t value_bytes; /* of their texts */
};

struct head_index {
    struct nx_mutex lock; /* LOCK_RANK_HEAD_INDEX */
    struct segvec pairs;  /* struct index_pair by id */
    uint32_t pair_limit;  /* ids ever given out */
    uint32_t pair_free;   /* first free id, PAIR_NONE */
    struct id_table pair_table;
    struct segvec names; /* struct index_name by id */
    uint32_t name_limit;
    uint32_t name_free;
    struct id_table name_table;
    struct head_pool pool; /* texts and arrays */
    uint64_t heap_bytes;   /* name lists and texts of names */
    uint64_t text_bytes;   /* of the pool and of heap_bytes: texts */
    uint32_t *dead;        /* ids of pairs that lost their last series */
    uint32_t dead_count, dead_cap;
    struct postings *all; /* slots of all series */
    unsigned pins;
    uint64_t sets_bytes;       /* of Roaring sets, as last measured */
    uint64_t sets_measured_at; /* number of changes then */
    uint64_t changes;          /* series added and removed */
    uint64_t series;
    uint32_t live_names; /* with series */
    uint32_t live_pairs;
};

void index_init(struct head_index *index);
void index_deinit(struct head_index *index);

/* Hashes with the process' secret: of a pair, of one whose name has this id, of a series from those of its pairs, of
 * both. */
uint64_t index_hash_label(struct label label);
uint64_t index_hash_value(const struct head_index *index, uint32_t name, struct nx_str value);
uint32_t index_hash_combine(const uint64_t *hashes, size_t count);
uint32_t index_hash_labels(struct labels labels, uint64_t *out_hashes);

static inline struct index_pair *index_pair_at(const struct head_index *index, uint32_t id)
{
    return segvec_at(&index->pairs, id, sizeof(struct index_pair));
}

static inline struct index_name *index_name_at(const struct head_index *index, uint32_t id)
{
    return segvec_at(&index->names, id, sizeof(struct index_name));
}

/* Texts of a pair whose life is assured (see Life). */
static inline struct nx_str index_pair_value(const struct index_pair *pair)
{
    return (struct nx_str){.data = pair->value, .len = pair->value_len};
}

static inline struct nx_str index_name_text(const struct head_index *index, uint32_t name)
{
    const struct index_name *entry = index_name_at(index, name);
    return (struct nx_str){.data = entry->text, .len = entry->len};
}

static inline struct label index_label(const struct head_index *index, uint32_t id)
{
    const struct index_pair *pair = index_pair_at(index, id);
    return (struct label){.name = index_name_text(index, pair->name),
                          .value = index_pair_value(pair)};
}

/* Ids of the labels' pairs, made where they are missing; those that are not PAIR_NONE before are taken to be right.
 * Pairs without a series die at the next index_collect. */
void index_intern(struct head_index *index, struct labels labels, const uint64_t *hashes,
                  uint32_t *inout_ids) NX_REQUIRES(index->lock);
uint32_t index_find_pair(struct head_index *index, struct nx_str name, struct nx_str value)
    NX_REQUIRES(index->lock);
uint32_t index_find_name(struct head_index *index, struct nx_str name) NX_REQUIRES(index->lock);

/* A series enters or leaves. */
void index_add_slot(struct head_index *index, const uint32_t *ids, size_t count, uint32_t slot)
    NX_REQUIRES(index->lock);
void index_remove_slot(struct head_index *index, const uint32_t *ids, size_t count, uint32_t slot)
    NX_REQUIRES(index->lock);

/* While loading, lists are not kept; then each is filled at once with ascending slots, and so is that of all
 * series. */
void index_fill_pair(struct head_index *index, uint32_t id, const uint32_t *slots, uint32_t count)
    NX_REQUIRES(index->lock);
void index_fill_all(struct head_index *index, const uint32_t *slots, size_t count)
    NX_REQUIRES(index->lock);

/* The slots of a pair, ORed into `set`. */
void index_union_pair(const struct head_index *index, uint32_t id, struct postings *set)
    NX_REQUIRES(index->lock);

void index_pin(struct head_index *index) NX_REQUIRES(index->lock);
void index_unpin(struct head_index *index) NX_REQUIRES(index->lock);
/* Frees dead pairs and names unless someone has pinned the index. */
void index_collect(struct head_index *index) NX_REQUIRES(index->lock);

/* All of it but the texts; and the texts, which are the price of labels. */
uint64_t index_bytes(struct head_index *index) NX_REQUIRES(index->lock);
uint64_t index_text_bytes(const struct head_index *index) NX_REQUIRES(index->lock);
