/* catalog_internal.h - what catalog.c, catalog_check.c and catalog_salvage.c share. */
#pragma once

#include "narthex/base/err.h"
#include "narthex/base/hash.h"
#include "narthex/base/str.h"

enum catalog_table {
    CATALOG_TABLE_BLOCK,
    CATALOG_TABLE_KV,
    CATALOG_TABLE_STATE,
    CATALOG_TABLE_TOMB, /* missing in format 1 */
    CATALOG_TABLE_COUNT,
};

/* What a row's value ends with. */
static inline uint64_t catalog_row_sum(enum catalog_table table, struct nx_bytes key,
                                       struct nx_bytes payload)
{
    return nx_hash64(payload.data, payload.len, nx_hash64(key.data, key.len, table));
}

/* Walks every page of an LMDB file (data format 1) without LMDB: all references lie inside the file, no page is used
 * twice, none in use is listed as free. LMDB follows whatever it finds, up to a crash, so this comes first.
 * NX_E_NOT_FOUND when there is no file or an empty one. NX_E_CORRUPT, NX_E_IO, NX_E_INVALID (another format). */
NX_NODISCARD nx_code catalog_check_file(const char *path, struct nx_err *err);
