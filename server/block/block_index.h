/* block_index.h - index.mdb: written once by an index_builder, read through a block_index.
 *
 * Seven LMDB databases with the keys 0, 1, 2, ... (pages): sym (label names), pair (label values), post (a list of
 * ranks per pair), ser (the pairs of every series), grp and vec (where groups lie), exm (exemplars, of the series that
 * have some). Format: docs/formats/index.md.
 */
#pragma once

#include "narthex/base/arena.h"
#include "narthex/base/err.h"
#include "narthex/base/io.h"
#include "narthex/codec/postings.h"
#include "narthex/model/labels.h"

#include "block_index_page.h"

enum index_table {
    INDEX_TABLE_SYM,
    INDEX_TABLE_PAIR,
    INDEX_TABLE_POST,
    INDEX_TABLE_SER,
    INDEX_TABLE_GRP,
    INDEX_TABLE_VEC,
    INDEX_TABLE_EXM,
    INDEX_TABLE_COUNT,
};
extern const char *const index_table_names[INDEX_TABLE_COUNT];

/* ---- write ---- */

struct index_builder;
struct index_builder *index_builder_new(bool has_slots);
void index_builder_free(struct index_builder *builder); /* NULL is fine */
/* The next series, after the one before in label order (asserted). Labels are copied. */
void index_builder_add_series(struct index_builder *builder, struct labels labels, uint32_t slot);
void index_builder_add_group(struct index_builder *builder, const struct index_group_row *row);
void index_builder_add_vectors(struct index_builder *builder, const struct index_vector_row *row);
/* An entry of `exm` (block_exemplars.h); ranks ascend. */
void index_builder_add_exemplars(struct index_builder *builder, struct nx_bytes entry);
uint32_t index_builder_series_count(const struct index_builder *builder);
/* Writes the file (not synced). The builder is used up. NX_E_IO, NX_E_FULL. */
NX_NODISCARD nx_code index_builder_write(struct index_builder *builder, const char *path,
                                         struct nx_err *err);

/* ---- read ---- */

struct block_index;
/* `path` has been verified against its checksums. Immutable from then on: any number of threads. All texts that it
 * hands out lie in the map and live as long as the index. NX_E_CORRUPT, NX_E_IO. */
NX_NODISCARD nx_code block_index_open(struct block_index **out_index, const char *path,
                                      uint64_t file_bytes, uint64_t series_count,
                                      struct nx_err *err);
void block_index_close(struct block_index *index); /* NULL is fine */

struct index_name {
    struct nx_str text;
    uint32_t first_pair, end_pair;
};
uint32_t block_index_series_count(const struct block_index *index);
uint32_t block_index_pair_count(const struct block_index *index);
/* Bytes of a database's values, LMDB's own pages not counted. */
uint64_t block_index_table_bytes(const struct block_index *index, enum index_table table);
/* All names, sorted. */
const struct index_name *block_index_names(const struct block_index *index, uint32_t *out_count);
const struct index_name *block_index_name_find(const struct block_index *index,
                                               struct nx_str text); /* NULL: absent */
const struct index_name *block_index_name_of(const struct block_index *index, uint32_t pair);

NX_NODISCARD nx_code block_index_value(const struct block_index *index, uint32_t pair,
                                       struct nx_str *out_text);
/* The first pair of the name whose value is not below `value`; end_pair when there is none. */
NX_NODISCARD nx_code block_index_lower_bound(const struct block_index *index,
                                             const struct index_name *name, struct nx_str value,
                                             uint32_t *out_pair);
/* ORs the ranks of the series with this pair into `set`. */
NX_NODISCARD nx_code block_index_postings(const struct block_index *index, uint32_t pair,
                                          struct postings *set);
NX_NODISCARD nx_code block_index_postings_count(const struct block_index *index, uint32_t pair,
                                                uint64_t *out_count);

/* The series page that holds `rank`. */
NX_NODISCARD nx_code block_index_series_page(const struct block_index *index, uint32_t rank,
                                             struct nx_bytes *out_page);

uint32_t block_index_group_count(const struct block_index *index);
void block_index_group(const struct block_index *index, uint32_t i,
                       struct index_group_row *out_row);
/* The first group whose last rank is not below `rank`; the count when there is none. */
uint32_t block_index_group_find(const struct block_index *index, uint32_t rank);
/* The entry of a series in `exm`; NX_E_NOT_FOUND when it has none. */
NX_NODISCARD nx_code block_index_exemplars(const struct block_index *index, uint32_t rank,
                                           struct nx_bytes *out_entry);
uint32_t block_index_vectors_count(const struct block_index *index);
void block_index_vectors(const struct block_index *index, uint32_t i,
                         struct index_vector_row *out_row);
/* The vector group that holds vector number `vector`. NX_E_CORRUPT when none does. */
NX_NODISCARD nx_code block_index_vectors_find(const struct block_index *index, uint32_t vector,
                                              uint32_t *out_i);
