/* block_support.h - shared by the block tests: directories, made-up series, a naive twin of a block. */
#pragma once

#include "narthex/base/arena.h"
#include "narthex/base/buf.h"
#include "narthex/base/io.h"
#include "narthex/base/rand.h"
#include "narthex/block/block.h"
#include "narthex/block/group_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* ---- directories ---- */

/* A new directory under $TMPDIR or /tmp, NX_ASSERTed; the text is nx_alloc'd. */
char *temp_dir_new(void);
void temp_dir_free(char *dir);                    /* removes it and all in it */
char *path_of(const char *dir, const char *name); /* nx_alloc'd */

/* Flips bit `bit` of a file. */
void file_flip(const char *path, uint64_t bit);
uint64_t file_bytes(const char *path);

/* ---- made-up series ---- */

struct model_series {
    struct labels labels; /* in the model's arena */
    uint32_t slot;
    int64_t *times_ms;
    double *values;
    size_t count;
    struct histogram_sample *histograms;
    size_t histogram_count;
    struct exemplar *exemplars; /* sorted, no two equal */
    size_t exemplar_count;
};

struct model {
    struct arena arena;
    struct model_series *series; /* in label order */
    size_t count;
};

struct model_options {
    size_t series_max;
    size_t samples_max; /* per series */
    int64_t start_ms, step_ms;
    bool is_shared_time; /* scrapes: series of one job share their times */
    bool has_odd_values; /* NaN payloads, infinities, -0 among them */
    bool
        has_histograms; /* of a third of the series, a third of which have no floats; and exemplars */
};
void model_init(struct model *model, struct rand_state *rand, const struct model_options *options);
void model_deinit(struct model *model);
void model_range(const struct model *model, int64_t *out_min_ms, int64_t *out_max_ms);

/* Writes it as a block into `dir`, which is made. */
void model_write(const struct model *model, const struct io *io, const char *dir, const char *ulid,
                 uint32_t level, uint64_t commit_min, uint64_t commit_max,
                 struct block_meta *out_meta);
/* Every series, slot and sample of the block is the model's, and no other. */
void assert_block_is_model(struct block *block, const struct model *model);

/* One series' samples of both kinds, and its exemplars, in the range, compared bit by bit. */
void assert_samples(struct block_reader *reader, uint32_t rank, const struct model_series *series,
                    int64_t min_ms, int64_t max_ms);

#define TEST_ULID "01HZZZZZZZZZZZZZZZZZZZZZZZ"
