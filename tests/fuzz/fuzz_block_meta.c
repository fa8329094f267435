/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_block_meta.c - block.meta: as it is, and with its checksum made good, so that the fields behind it are reached.
 * What is accepted encodes to the same bytes. */
#include "narthex/base/assert.h"
#include "narthex/base/hash.h"

#include "server/block/block_format.h"
#include "server/block/block_meta.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(struct nx_bytes bytes)
{
    struct block_meta_file file = {0};
    struct nx_err err;
    if (block_meta_decode(bytes, &file, &err) != NX_OK)
        return;
    struct nx_buf again = {0};
    block_meta_encode(&file, &again);
    NX_ASSERT(again.len == bytes.len && memcmp(again.data, bytes.data, bytes.len) == 0);
    nx_buf_deinit(&again);
    block_meta_file_deinit(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    decode((struct nx_bytes){data, size});
    if (size < 8)
        return 0;
    struct nx_buf good = {0};
    nx_buf_append(&good, data, size);
    store_u64(good.data + size - 8, nx_hash64(good.data, size - 8, 0));
    decode(nx_buf_bytes(&good));
    nx_buf_deinit(&good);
    return 0;
}
