/* head_side.h - what few series have beside their floats: native histograms and exemplars.
 *
 *   shard --by local number--> side { histograms: sealed stream -> open stream, late ones beside them
 *                                     exemplars:  sealed list, open list }
 *
 * Stream   histograms in order, each coded as the difference from the one before, the first of a stream whole: so a
 *          sealed stream and the open one behind it are read as one. List: entries coded whole, ascending by time.
 * Life     a series with HOT_SIDE has an entry; it goes with the last of its data.
 * Threads  the shard's lock.
 */
#pragma once

#include "narthex/base/arena.h"
#include "narthex/base/buf.h"
#include "narthex/model/exemplar.h"
#include "narthex/model/histogram.h"

#include "id_table.h"

#include <stdbool.h>
#include <stdint.h>

/* Chosen: one a scrape over four flush intervals; more would be read by nobody. */
#define SIDE_EXEMPLARS_MAX 256u

struct side_stream {
    struct nx_buf times_ms; /* int64_t, ascending */
    struct nx_buf code;
};

struct side_item {
    int64_t time_ms;
    uint8_t *code; /* heap */
    uint32_t bytes;
};
struct side_list {
    struct side_item
        *items; /* ascending by time; exemplars of one time stand in the order of arrival */
    uint32_t count, cap;
};

struct side_series {
    uint32_t local;       /* the next free entry when it is free */
    struct nx_buf newest; /* the open stream's last histogram, coded whole */
    struct side_stream stream, sealed_stream;
    struct side_list late, sealed_late;
    struct side_list exemplars, sealed_exemplars;
};

struct head_sides {
    struct side_series *items;
    uint32_t count, cap;
    uint32_t free; /* 1 + index, linked through local; 0: none */
    struct id_table table;
    uint64_t bytes;       /* of everything above */
    uint64_t histograms;  /* taken since the start */
    uint64_t exemplars;   /* likewise */
    struct arena scratch; /* decoded histograms of the call at hand */
    struct nx_buf buf;
};

void sides_init(struct head_sides *sides);
void sides_deinit(struct head_sides *sides);
/* NULL: the series has none. The pointer lives until the next side_get. */
struct side_series *side_find(const struct head_sides *sides, uint32_t local);
struct side_series *side_get(struct head_sides *sides, uint32_t local); /* makes it */

enum side_result {
    SIDE_NEW,
    SIDE_SAME,     /* it is there already, bit by bit */
    SIDE_CONFLICT, /* another one is there for this time */
    SIDE_FULL,     /* SIDE_EXEMPLARS_MAX */
};
/* Whether there is a float at this time is the caller's business. Either leaves the sample's code, whole, in
 * sides->buf. */
enum side_result side_add_histogram(struct head_sides *sides, struct side_series *side,
                                    const struct histogram_sample *sample);
enum side_result side_add_exemplar(struct head_sides *sides, struct side_series *side,
                                   const struct exemplar *exemplar);
bool side_has_histogram_at(const struct side_series *side, int64_t time_ms);
/* Time of the newest histogram; INT64_MIN: none. */
int64_t side_newest_ms(const struct side_series *side);

/* Open data joins what is sealed. True: something is sealed. */
bool side_seal(struct head_sides *sides, struct side_series *side);
bool side_has_sealed(const struct side_series *side);
/* Sealed data goes; false: nothing is left, and so is the entry. */
bool side_let_go(struct head_sides *sides, struct side_series *side);

/* Copies of the codes of everything (or only of what is sealed), to decode without the lock. */
struct side_place { /* of one coded entry of a list */
    int64_t time_ms;
    uint32_t offset, bytes; /* in list_code */
};
struct side_copy {
    struct nx_buf times_ms, code; /* the streams, one behind the other */
    struct nx_buf places; /* struct side_place, ascending by time: late histograms, or exemplars */
    struct nx_buf list_code;
};
void side_copy_deinit(struct side_copy *copy);
void side_copy_reset(struct side_copy *copy);
void side_copy_histograms(const struct side_series *side, bool is_sealed_only,
                          struct side_copy *copy);
void side_copy_exemplars(const struct side_series *side, bool is_sealed_only,
                         struct side_copy *copy);

/* Appends the samples in the range as struct histogram_sample, ascending, arrays in the arena. NX_E_LIMIT. */
NX_NODISCARD nx_code side_decode_histograms(const struct side_copy *copy, int64_t min_ms,
                                            int64_t max_ms, struct arena *arena,
                                            struct nx_buf *out);
/* Likewise as struct exemplar. */
NX_NODISCARD nx_code side_decode_exemplars(const struct side_copy *copy, int64_t min_ms,
                                           int64_t max_ms, struct arena *arena, struct nx_buf *out);
