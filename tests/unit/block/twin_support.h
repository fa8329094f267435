/* twin_support.h - a slow, obvious store beside a block list: what every query over its blocks must give. */
#pragma once

#include "narthex/block/block_list.h"

#include "tests/unit/block/block_support.h"

struct twin_sample {
    int64_t time_ms;
    double value;
};

struct twin_series {
    struct labels labels;
    struct twin_sample *samples; /* ascending; of equal times the first written */
    size_t count, cap;
};

struct twin {
    struct arena arena;
    struct twin_series *series; /* in label order */
    size_t series_count;
    uint64_t written; /* samples in all blocks, duplicates included */
    uint64_t next_commit;
};

void twin_init(struct twin *twin, size_t series_count);
void twin_deinit(struct twin *twin);
/* False when there was one of that time. */
bool twin_add(struct twin_series *series, int64_t time_ms, double value);
uint64_t twin_samples(const struct twin *twin);

struct twin_flush {
    int64_t min_ms, max_ms; /* of the samples */
    size_t samples_max;     /* per series */
    unsigned late_days;     /* one sample in eight lies up to this many days earlier; 0: none */
    int64_t step_ms;        /* times are multiples, so that duplicates happen */
};
/* Random samples of some series into a new level-0 block, which is published. The result of the publish. */
nx_code twin_flush(struct twin *twin, struct block_list *list, const struct io *io,
                   struct rand_state *rand, const struct twin_flush *flush, struct nx_err *err);

/* The live blocks, read by precedence, hold exactly the twin's samples. Returns how many samples they hold, duplicates
 * included. */
uint64_t assert_list_is_twin(struct block_list *list, const struct twin *twin);

/* Opens a list over real files with a clock at `now_ms`; NX_ASSERTed. */
struct block_list *open_list(const struct io *io, const char *data_dir, int64_t now_ms);
