/* postings.h - sets of 32-bit ids (series ranks or slots), CRoaring inside, and their packed form on disk.
 *
 * On disk (docs/formats/postings.md): delta varints, runs or Roaring's portable form, whichever is smallest. Bytes from
 * disk are hostile until postings_decode_into has checked them: well-formed, ascending, below id_bound.
 */
#pragma once

#include "narthex/base/buf.h"
#include "narthex/base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct postings; /* opaque: a set */

struct postings *postings_new(void);
struct postings *postings_from_array(const uint32_t *ids, size_t count); /* any order */
struct postings *postings_from_range(uint32_t first, uint32_t end);      /* [first, end) */
void postings_free(struct postings *set);                                /* NULL is fine */
void postings_add(struct postings *set, uint32_t id);
void postings_add_many(struct postings *set, const uint32_t *ids, size_t count);
void postings_remove(struct postings *set, uint32_t id);
bool postings_has(const struct postings *set, uint32_t id);
uint64_t postings_count(const struct postings *set);

/* In place: a = a AND b, a OR b, a AND NOT b. */
void postings_and(struct postings *a, const struct postings *b);
void postings_or(struct postings *a, const struct postings *b);
void postings_and_not(struct postings *a, const struct postings *b);
bool postings_intersects(const struct postings *a, const struct postings *b);

/* Ascending ids into an array of postings_count entries. */
void postings_to_array(const struct postings *set, uint32_t *out_ids);

/* Packed form of an ascending array, appended. */
void postings_encode(const uint32_t *ids, size_t count, struct nx_buf *out);
/* ORs a packed list into `set`. NX_E_CORRUPT, and `set` untouched, when it is no valid list of ids below id_bound. */
NX_NODISCARD nx_code postings_decode_into(struct nx_bytes bytes, uint32_t id_bound,
                                          struct postings *set);
/* The number of ids that the head of a packed list names, the rest unread; 0 when the head is not valid. */
uint64_t postings_encoded_count(struct nx_bytes bytes);
/* Bytes on the heap, allocator overhead estimated. Cost: linear in the set. */
size_t postings_memory(const struct postings *set);
