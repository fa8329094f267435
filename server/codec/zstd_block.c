/* SPDX-License-Identifier: Apache-2.0 */
/* zstd_block.c - one-shot zstd frames with one pair of contexts per thread.
 *
 * A context holds up to a megabyte of tables; making one per call would cost more than a small block does. Each thread
 * makes its own at first use and loses it when it ends, by the destructor of a thread-specific key.
 */
#include "narthex/codec/zstd_block.h"

#include "narthex/base/assert.h"
#include "narthex/base/mem.h"

#include <pthread.h>
#include <zstd.h>

struct zstd_contexts {
    ZSTD_CCtx *pack;
    ZSTD_DCtx *unpack;
};

static pthread_once_t contexts_once = PTHREAD_ONCE_INIT;
static pthread_key_t contexts_key;

static void contexts_free(void *memory)
{
    struct zstd_contexts *contexts = memory;
    ZSTD_freeCCtx(contexts->pack);
    ZSTD_freeDCtx(contexts->unpack);
    nx_free(contexts);
}

static void contexts_key_make(void)
{
    NX_ASSERT(pthread_key_create(&contexts_key, contexts_free) == 0);
}

static struct zstd_contexts *contexts_of_thread(void)
{
    static _Thread_local struct zstd_contexts *contexts; /* the key's value, without the call */
    if (contexts == NULL) {
        NX_ASSERT(pthread_once(&contexts_once, contexts_key_make) == 0);
        contexts = nx_calloc(1, sizeof(*contexts));
        contexts->pack = ZSTD_createCCtx();
        contexts->unpack = ZSTD_createDCtx();
        NX_ASSERT(contexts->pack != NULL && contexts->unpack != NULL);
        NX_ASSERT(pthread_setspecific(contexts_key, contexts) == 0);
    }
    return contexts;
}

size_t zstd_pack(struct nx_bytes raw, int level, struct nx_buf *out)
{
    size_t room = ZSTD_compressBound(raw.len);
    nx_buf_reserve(out, room);
    size_t bytes = ZSTD_compressCCtx(contexts_of_thread()->pack, out->data + out->len, room,
                                     raw.data, raw.len, level);
    NX_ASSERT(!ZSTD_isError(bytes)); /* room suffices: only memory can be short */
    out->len += bytes;
    return bytes;
}

nx_code zstd_unpack(struct nx_bytes packed, uint8_t *out, size_t raw_bytes)
{
    if (packed.len == 0)
        return NX_E_CORRUPT;
    if (ZSTD_getFrameContentSize(packed.data, packed.len) != raw_bytes)
        return NX_E_CORRUPT; /* its error values equal no size that fits in memory */
    if (ZSTD_findFrameCompressedSize(packed.data, packed.len) != packed.len)
        return NX_E_CORRUPT; /* cut off, or more than one frame */
    size_t bytes =
        ZSTD_decompressDCtx(contexts_of_thread()->unpack, out, raw_bytes, packed.data, packed.len);
    return bytes == raw_bytes ? NX_OK : NX_E_CORRUPT;
}
