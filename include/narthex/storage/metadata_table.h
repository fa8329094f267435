/* metadata_table.h - the newest metadata of every metric family: in memory, durable by journal and catalog.
 *
 * Layer    storage.   Threads  any.   Lock  LOCK_RANK_METADATA.
 * Life     a change is journalled by whoever made it; metadata_table_save, part of a flush, writes what changed to the
 *          catalog before the journal is let go of. Families are never forgotten.
 * Catalog  64 values `metadata/<nn>`, the families spread over them by hash. Format: docs/formats/catalog.md.
 * Limits   METADATA_FAMILIES_MAX families, METADATA_BYTES_MAX bytes of text: what is above is refused.
 */
#pragma once

#include "narthex/base/arena.h"
#include "narthex/base/buf.h"
#include "narthex/base/err.h"
#include "narthex/block/catalog.h"
#include "narthex/codec/varint.h"
#include "narthex/model/metadata.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define METADATA_FAMILIES_MAX   65536u
#define METADATA_BYTES_MAX      (64u << 20)
#define METADATA_NAME_BYTES_MAX 1024u
#define METADATA_TEXT_BYTES_MAX 65536u /* of a help or unit */

struct metadata_table;
struct metadata_table *metadata_table_new(void);
void metadata_table_free(struct metadata_table *table); /* NULL is fine */

enum metadata_result {
    METADATA_CHANGED,
    METADATA_SAME,
    METADATA_REFUSED, /* a limit, an empty name */
};
enum metadata_result metadata_table_put(struct metadata_table *table,
                                        const struct metric_metadata *metadata);

/* Families sorted by name, or the one with this name (empty: all); texts in `arena`. limit 0: none. NX_E_LIMIT. */
NX_NODISCARD nx_code metadata_table_list(struct metadata_table *table, struct nx_str family,
                                         size_t limit, struct arena *arena,
                                         struct metric_metadata **out, size_t *out_count,
                                         struct nx_err *err);
uint64_t metadata_table_bytes(struct metadata_table *table);

/* Adds what the catalog holds. NX_E_CORRUPT: a value does not decode; what did is there. */
NX_NODISCARD nx_code metadata_table_load(struct metadata_table *table, struct catalog *catalog,
                                         struct nx_err *err);
/* Writes what changed since the last save. */
NX_NODISCARD nx_code metadata_table_save(struct metadata_table *table, struct catalog *catalog,
                                         struct nx_err *err);

/* One family as bytes: the journal's payload and the catalog's entries. */
void metadata_put(const struct metric_metadata *metadata, struct nx_buf *out);
/* Views into the reader's bytes; false, with the reader bad, on anything else. */
bool metadata_get(struct byte_reader *reader, struct metric_metadata *out);
