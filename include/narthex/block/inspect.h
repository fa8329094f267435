/* inspect.h - a block looked at as a whole: is every byte of it right, and where do its bytes go.
 *
 * Layer    block.   Threads  any; a block that is being served may be looked at.
 * Cost     reads every byte of the block once or twice, and decodes every sample.
 */
#pragma once

#include "narthex/block/block.h"

/* ---- is it right ---- */

/* `file` is the name in the block's directory. */
typedef void (*inspect_damage_fn)(void *context, const char *file, const char *what);

struct block_inspection {
    bool has_meta; /* block.meta verifies: meta is valid */
    struct block_meta meta;
    uint64_t series, samples, chunks; /* found; histograms are samples */
    uint64_t histograms, exemplars;   /* found */
    uint64_t damages;
    uint64_t hurt_series; /* with samples that cannot be read */
};
/* Every checksum, every group decoded, order and counts. Each damage is told once. Changes nothing. */
void block_inspect(const struct io *io, const char *dir, inspect_damage_fn damage, void *context,
                   struct block_inspection *out);

/* block.meta alone, with the ulids of its sources (ULID_TEXT_LEN + 1 bytes each, appended; may be NULL). NX_E_CORRUPT,
 * NX_E_NOT_FOUND, NX_E_INVALID (another format). */
NX_NODISCARD nx_code block_meta_read(const struct io *io, const char *dir, struct block_meta *out,
                                     struct nx_buf *sources, struct nx_err *err);

/* ---- where its bytes go ---- */

#define USAGE_CODEC_COUNT 8u /* by the chunk's first byte; 0: others */
#define USAGE_TABLE_COUNT 7u
#define USAGE_LENGTHS     5u

struct usage_share {
    uint64_t chunks, samples;
    uint64_t raw_bytes;    /* as the codec left them */
    uint64_t stored_bytes; /* its part of the packed groups */
};
struct usage_metric {
    struct nx_str name; /* in the block: lives as long as it */
    uint64_t series, samples, stored_bytes;
};
struct usage_label {
    struct nx_str name;
    uint64_t values, series;
};
struct usage_pair {
    struct nx_str name, value;
    uint64_t series;
};
struct block_usage {
    struct usage_share codecs[USAGE_CODEC_COUNT];
    uint64_t directory_bytes; /* of chunk groups: ranks, vectors, offsets; stored */
    uint64_t vector_bytes;    /* time vectors, stored */
    uint64_t vectors, times;
    uint64_t table_bytes
        [USAGE_TABLE_COUNT];         /* index.mdb by database, in the order of usage_table_name */
    uint64_t lengths[USAGE_LENGTHS]; /* series with 1, to 10, to 100, to 1000, more samples */
    struct usage_metric *metrics;    /* nx_alloc'd */
    size_t metric_count;
    struct usage_label *labels;
    size_t label_count;
    struct usage_pair *pairs; /* those with most series, `pairs_max` at most, most first */
    size_t pair_count;
};
/* NX_E_CORRUPT when something does not verify: what is damaged is not measured. */
NX_NODISCARD nx_code block_usage_measure(struct block *block, size_t pairs_max,
                                         struct block_usage *out, struct nx_err *err);
void block_usage_deinit(struct block_usage *usage); /* safe on a zeroed struct and twice */
const char *usage_table_name(unsigned table);
const char *usage_codec_name(unsigned codec);
