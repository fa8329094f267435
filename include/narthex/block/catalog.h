/* catalog.h - the manifest: which blocks are live, which are being made, which are retired. LMDB, default sync.
 *
 * Format   docs/formats/catalog.md.  Every value carries an XXH3-64; the format version is a row.
 * Threads  any; one writer at a time behind a lock (LOCK_RANK_CATALOG).
 * Limits   the map grows on demand; 64 free pages are kept so that a full disk can still commit.
 * Trust    the file's structure is walked before LMDB opens it, and every row checked: damage is NX_E_CORRUPT, not a
 *          crash.
 */
#pragma once

#include "narthex/base/buf.h"
#include "narthex/base/err.h"
#include "narthex/base/io.h"
#include "narthex/block/block.h"

#define CATALOG_FORMAT_VERSION     2u /* with tombstones; 1 before the first delete */
#define CATALOG_FORMAT_VERSION_MIN 1u

struct catalog;
/* <data>/catalog.mdb; created when absent. NX_E_INVALID for another format version, NX_E_CORRUPT when it does not
 * verify. */
NX_NODISCARD nx_code catalog_open(struct catalog **out_catalog, const char *path,
                                  struct nx_err *err);
/* For tools, beside a running server too: nothing can be changed, nothing is created. `is_shared`: another process may
 * write at the same time, whose lock file is used; else nothing but the file itself is opened. NX_E_NOT_FOUND when
 * there is none. */
NX_NODISCARD nx_code catalog_open_read_only(struct catalog **out_catalog, const char *path,
                                            bool is_shared, struct nx_err *err);
void catalog_close(struct catalog *catalog); /* NULL is fine */

enum catalog_state {
    CATALOG_BUILDING = 1, /* its directory may exist half-made: removed at start */
    CATALOG_LIVE = 2,
    CATALOG_RETIRED = 3, /* replaced or expired: its directory is removed, then the row */
};

/* Before a block's directory appears. */
NX_NODISCARD nx_code catalog_begin(struct catalog *catalog, const char *ulid, struct nx_err *err);
/* One transaction: `live` become live (metas stored), `retired` become retired. */
NX_NODISCARD nx_code catalog_publish(struct catalog *catalog, const struct block_meta *live,
                                     size_t live_count, const char *const *retired,
                                     size_t retired_count, struct nx_err *err);
/* A block's tombstones as tombstones_packed gives them; none (len 0): the row goes. */
struct catalog_tombstones {
    const char *ulid;
    struct nx_bytes packed;
};
/* What one transaction changes. Tombstones of blocks that retire go of themselves. */
struct catalog_change {
    const struct block_meta *live;
    size_t live_count;
    const char *const *retired;
    size_t retired_count;
    const struct catalog_tombstones *tombstones;
    size_t tombstone_count;
    const char *key; /* as catalog_put; NULL: none */
    struct nx_bytes value;
};
NX_NODISCARD nx_code catalog_apply(struct catalog *catalog, const struct catalog_change *change,
                                   struct nx_err *err);
/* A block and its tombstones go. */
NX_NODISCARD nx_code catalog_forget(struct catalog *catalog, const char *ulid, struct nx_err *err);

typedef nx_code (*catalog_each_fn)(void *context, const char *ulid, enum catalog_state state,
                                   const struct block_meta *meta,
                                   struct nx_err *err); /* meta NULL unless LIVE */
NX_NODISCARD nx_code catalog_each(struct catalog *catalog, catalog_each_fn each, void *context,
                                  struct nx_err *err);

typedef nx_code (*catalog_tombstones_fn)(void *context, const char *ulid, struct nx_bytes packed,
                                         struct nx_err *err);
NX_NODISCARD nx_code catalog_each_tombstones(struct catalog *catalog, catalog_tombstones_fn each,
                                             void *context, struct nx_err *err);

/* Small named values of other modules (instance id, counters). NX_E_NOT_FOUND when absent. */
NX_NODISCARD nx_code catalog_get(struct catalog *catalog, const char *key, struct nx_buf *out,
                                 struct nx_err *err);
typedef nx_code (*catalog_value_fn)(void *context, const char *key, struct nx_bytes value,
                                    struct nx_err *err);
/* All of them, by name. */
NX_NODISCARD nx_code catalog_each_value(struct catalog *catalog, catalog_value_fn each,
                                        void *context, struct nx_err *err);
NX_NODISCARD nx_code catalog_put(struct catalog *catalog, const char *key, struct nx_bytes value,
                                 struct nx_err *err);

/* A compact copy of the catalog as of one transaction, synced, at `path`, which must not exist. Threads: any. */
NX_NODISCARD nx_code catalog_copy(struct catalog *catalog, const char *path, struct nx_err *err);

/* ---- what a damaged file still holds ---- */

enum catalog_salvaged_kind {
    CATALOG_SALVAGED_VALUE,
    CATALOG_SALVAGED_TOMBSTONES,
};
struct catalog_salvaged_row {
    enum catalog_salvaged_kind kind;
    bool is_current;       /* of the newest transaction; else of any, the last or an older one */
    char key[264];         /* name or ulid */
    struct nx_bytes value; /* its checksum was right */
};
struct catalog_salvage {
    struct catalog_salvaged_row *rows; /* nx_alloc'd */
    size_t count;
    struct nx_buf file;                      /* what the values are views of */
    bool has_all_values, has_all_tombstones; /* the current rows are all of them */
    bool had_tombstones;                     /* a delete has been there, for all that can be seen */
};
/* Every row of any page whose checksum is right, without LMDB. A file that is not there is an empty one. */
NX_NODISCARD nx_code catalog_salvage(const char *path, struct catalog_salvage *out,
                                     struct nx_err *err);
void catalog_salvage_deinit(
    struct catalog_salvage *salvage); /* safe on a zeroed struct and twice */
