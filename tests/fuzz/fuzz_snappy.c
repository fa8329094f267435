/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_snappy.c - any bytes as a snappy block, and any bytes packed and unpacked. */
#include "narthex/base/assert.h"
#include "narthex/codec/snappy.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define UNPACKED_MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct nx_err err = {0};
    struct nx_buf unpacked = {0};
    struct nx_buf packed = {0};
    nx_code code = snappy_unpack((struct nx_bytes){data, size}, UNPACKED_MAX, &unpacked, &err);
    NX_ASSERT(code == NX_OK ? unpacked.len <= UNPACKED_MAX : code == err.code);
    snappy_pack((struct nx_bytes){data, size}, &packed);
    NX_ASSERT(snappy_unpack(nx_buf_bytes(&packed), size, &unpacked, &err) == NX_OK);
    NX_ASSERT(unpacked.len == size && (size == 0 || memcmp(unpacked.data, data, size) == 0));
    nx_buf_deinit(&unpacked);
    nx_buf_deinit(&packed);
    return 0;
}
