/* snapshot.h - a copy of everything acknowledged, made beside ingest, merges and retention; and its way back.
 *
 * Layer    storage.   Owns  <data>/snapshots/<name>/: a data directory of its own. Blocks are hard links (they never
 *          change), catalog and journal are copies. Deleting a snapshot is rm -r; deleting blocks does not touch it.
 * Promise  every sample acknowledged before the call is in the snapshot (without the head: in blocks by then). A
 *          snapshot is there complete and synced, or not at all.
 */
#pragma once

#include "narthex/storage/store.h"

#define SNAPSHOT_NAME_BYTES 40u

/* *out_name: "20260101T000000Z-<16 hex>". skip_head: without the journal. NX_E_BUSY: another one is being made, or what
 * it copies changed too often. NX_E_FULL, NX_E_IO. */
NX_NODISCARD nx_code store_snapshot(struct store *store, bool skip_head,
                                    char out_name[SNAPSHOT_NAME_BYTES], struct nx_err *err);
