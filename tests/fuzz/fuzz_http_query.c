/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_http_query.c - any bytes as a query string. What decodes, encoded again by the plainest rule, decodes to the
 * same. */
#include "narthex/base/assert.h"
#include "narthex/base/buf.h"
#include "narthex/http/http_query.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void encode(struct nx_buf *out, struct nx_str text)
{
    for (size_t i = 0; i < text.len; i++)
        nx_buf_printf(out, "%%%02x", (unsigned)(uint8_t)text.data[i]);
}

static void check_round_trip(const struct http_params *params, struct arena *arena)
{
    struct nx_buf text = {0};
    for (size_t i = 0; i < params->count; i++) {
        encode(&text, params->items[i].name);
        nx_buf_append_byte(&text, '=');
        encode(&text, params->items[i].value);
        nx_buf_append_byte(&text, '&');
    }
    struct http_params again = {0};
    struct nx_err err;
    nx_code code = http_params_add(&again, arena, nx_buf_str(&text), &err);
    NX_ASSERT(code == NX_OK && again.count == params->count);
    for (size_t i = 0; i < params->count; i++) {
        NX_ASSERT(nx_str_eq(again.items[i].name, params->items[i].name));
        NX_ASSERT(nx_str_eq(again.items[i].value, params->items[i].value));
    }
    nx_buf_deinit(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    arena_init(&arena, 0);
    struct http_params params = {0};
    struct nx_err err;
    struct nx_str text = {.data = (const char *)data, .len = size};
    nx_code code = http_params_add(&params, &arena, text, &err);
    NX_ASSERT(code == NX_OK || code == NX_E_INVALID || code == NX_E_LIMIT);
    NX_ASSERT(params.count <= size);
    for (size_t i = 0; i < params.count; i++) {
        struct nx_str first;
        NX_ASSERT(http_params_get(&params, params.items[i].name, &first));
        NX_ASSERT(params.items[i].name.len <= size && params.items[i].value.len <= size);
    }
    if (code == NX_OK)
        check_round_trip(&params, &arena);
    (void)http_is_form(text);
    arena_deinit(&arena);
    return 0;
}
