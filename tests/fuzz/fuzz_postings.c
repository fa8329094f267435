/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_postings.c - any bytes as a packed list: what is accepted is sorted, below the bound, as many ids as it says,
 * and survives packing and set operations; what is refused leaves the set alone.
 *
 * Input    four bytes of id bound, then the list.
 */
#include "narthex/base/assert.h"
#include "narthex/base/mem.h"
#include "narthex/codec/postings.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define IDS_MAX (1u << 22) /* of those that are unpacked into an array here */

static void check_accepted(struct nx_bytes list, uint32_t id_bound, struct postings *set)
{
    uint64_t count = postings_count(set);
    NX_ASSERT(count == postings_encoded_count(list));
    if (count > IDS_MAX)
        return;
    uint32_t *ids = nx_alloc((count + 1) * sizeof(*ids));
    postings_to_array(set, ids);
    for (uint64_t i = 0; i < count; i++)
        NX_ASSERT(ids[i] < id_bound && (i == 0 || ids[i] > ids[i - 1]));
    struct nx_buf again = {0};
    postings_encode(ids, count, &again);
    struct postings *other = postings_from_range(0, id_bound / 2);
    uint64_t before = postings_count(other);
    NX_ASSERT(postings_decode_into(nx_buf_bytes(&again), id_bound, other) == NX_OK);
    NX_ASSERT(postings_count(other) >= before && postings_count(other) >= count);
    postings_and(other, set);
    NX_ASSERT(postings_count(other) == count);
    postings_and_not(other, set);
    NX_ASSERT(postings_count(other) == 0 && !postings_intersects(other, set));
    for (uint64_t i = 0; i < count; i += 1 + count / 16)
        postings_remove(set, ids[i]);
    NX_ASSERT(count == 0 || postings_count(set) < count);
    postings_free(other);
    nx_buf_deinit(&again);
    nx_free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4)
        return 0;
    uint32_t id_bound;
    memcpy(&id_bound, data, sizeof(id_bound));
    struct nx_bytes list = {data + 4, size - 4};
    struct postings *set = postings_new();
    if (postings_decode_into(list, id_bound, set) == NX_OK)
        check_accepted(list, id_bound, set);
    else
        NX_ASSERT(postings_count(set) == 0);
    postings_free(set);
    return 0;
}
