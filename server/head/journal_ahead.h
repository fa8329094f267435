/* journal_ahead.h - reads and unpacks records in one thread while another decodes them.
 *
 *   the replaying thread               ring of records            the thread "journal-ahead"
 *   read, verify, unpack       -->   [ record ][ record ] ...  -->  `take`, in the order of the pushes
 *
 * Samples are coded against samples before them and a visitor wants commits in order: so one thread decodes. When
 * `take` fails, what was pushed after that is dropped.
 */
#pragma once

#include "journal_internal.h"

/* `payload` is plain when it could be unpacked (record->is_packed 0, payload_bytes as raw_bytes). */
typedef nx_code (*journal_take_fn)(void *context, const struct journal_record *record,
                                   struct nx_bytes payload, uint64_t number, uint64_t offset,
                                   struct nx_err *err);

struct journal_ahead;
NX_NODISCARD nx_code journal_ahead_new(struct journal_ahead **out_ahead, journal_take_fn take,
                                       void *context, struct nx_err *err);
/* Takes what was pushed first, then ends the thread. NULL is fine. */
void journal_ahead_free(struct journal_ahead *ahead);
/* Copies. Fails with the code of an earlier record. */
NX_NODISCARD nx_code journal_ahead_push(struct journal_ahead *ahead,
                                        const struct journal_record *record,
                                        struct nx_bytes payload, uint64_t number, uint64_t offset,
                                        struct nx_err *err);
/* Returns when everything pushed was taken, with the code of the first that failed. */
NX_NODISCARD nx_code journal_ahead_drain(struct journal_ahead *ahead, struct nx_err *err);
