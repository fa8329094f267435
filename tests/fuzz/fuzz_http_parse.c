/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_http_parse.c - any bytes as a request: the verdict must not depend on how they were split, and what leaves the
 * parser must lie inside the input and be free of control bytes.
 *
 * Input    two bytes choose the split, the rest is the request.
 */
#include "narthex/base/assert.h"
#include "narthex/base/buf.h"
#include "narthex/http/http_parse.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_span(const struct http_head *head, const uint8_t *data, struct http_span span)
{
    NX_ASSERT((size_t)span.at + span.len <= head->head_bytes);
    for (size_t i = 0; i < span.len; i++)
        NX_ASSERT(data[span.at + i] == '\t' ||
                  (data[span.at + i] >= 0x20 && data[span.at + i] != 0x7f));
}

static void check_head(const struct http_head *head, const uint8_t *data, size_t size)
{
    NX_ASSERT(head->head_bytes <= size && head->head_bytes <= HTTP_HEAD_BYTES_MAX);
    NX_ASSERT(head->field_count <= HTTP_FIELDS_MAX);
    NX_ASSERT(!(head->is_chunked && head->has_length));
    NX_ASSERT(memcmp(data + head->head_bytes - 4, "\r\n\r\n", 4) == 0);
    check_span(head, data, head->method);
    check_span(head, data, head->path);
    check_span(head, data, head->query);
    NX_ASSERT(head->path.len > 0 && head->query.len <= HTTP_TARGET_BYTES_MAX);
    for (size_t i = 0; i < head->field_count; i++) {
        check_span(head, data, head->fields[i].name);
        check_span(head, data, head->fields[i].value);
        NX_ASSERT(head->fields[i].name.len > 0);
    }
}

static enum http_verdict parse_in_steps(struct http_head *head, const uint8_t *data, size_t size,
                                        size_t step)
{
    http_head_init(head);
    enum http_verdict verdict = HTTP_PARSE_MORE;
    size_t bytes = 0;
    while (verdict == HTTP_PARSE_MORE && bytes < size) {
        bytes = size - bytes < step ? size : bytes + step;
        verdict = http_head_parse(head, data, bytes);
    }
    return verdict;
}

static enum http_verdict decode_in_steps(const uint8_t *data, size_t size, size_t step,
                                         struct nx_buf *content, size_t *out_consumed)
{
    struct http_chunked chunked;
    http_chunked_init(&chunked);
    enum http_verdict verdict = HTTP_PARSE_MORE;
    size_t at = 0;
    while (verdict == HTTP_PARSE_MORE && at < size) {
        size_t bytes = size - at < step ? size - at : step;
        size_t consumed = 0;
        struct nx_bytes piece;
        verdict = http_chunked_parse(&chunked, data + at, bytes, &consumed, &piece);
        NX_ASSERT(consumed > 0 && consumed <= bytes);
        NX_ASSERT(piece.len == 0 ||
                  (piece.data >= data + at && piece.data + piece.len <= data + at + consumed));
        nx_buf_append(content, piece.data, piece.len);
        at += consumed;
    }
    NX_ASSERT(verdict != HTTP_PARSE_BAD || chunked.why != NULL);
    *out_consumed = at;
    return verdict;
}

static void check_chunked(const uint8_t *data, size_t size, size_t step)
{
    struct nx_buf whole = {0};
    struct nx_buf pieces = {0};
    size_t whole_consumed = 0;
    size_t pieces_consumed = 0;
    enum http_verdict verdict = decode_in_steps(data, size, size + 1, &whole, &whole_consumed);
    NX_ASSERT(decode_in_steps(data, size, step, &pieces, &pieces_consumed) == verdict);
    NX_ASSERT(whole_consumed == pieces_consumed);
    NX_ASSERT(nx_str_eq(nx_buf_str(&whole), nx_buf_str(&pieces)));
    nx_buf_deinit(&whole);
    nx_buf_deinit(&pieces);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    size_t step = 1 + (size_t)(data[0] | data[1] << 8) % (size > 64 ? size : 64);
    data += 2;
    size -= 2;
    static struct http_head whole, pieces;
    enum http_verdict verdict = parse_in_steps(&whole, data, size, size + 1);
    NX_ASSERT(parse_in_steps(&pieces, data, size, step) == verdict);
    NX_ASSERT(whole.why == pieces.why);
    if (verdict == HTTP_PARSE_DONE) {
        check_head(&whole, data, size);
        NX_ASSERT(whole.head_bytes == pieces.head_bytes && whole.field_count == pieces.field_count);
        NX_ASSERT(
            memcmp(whole.fields, pieces.fields, whole.field_count * sizeof(whole.fields[0])) == 0);
        NX_ASSERT(whole.body_bytes == pieces.body_bytes &&
                  whole.is_kept_alive == pieces.is_kept_alive);
        if (whole.is_chunked)
            check_chunked(data + whole.head_bytes, size - whole.head_bytes, step);
    } else {
        NX_ASSERT(verdict == HTTP_PARSE_MORE || whole.why != NULL);
        check_chunked(data, size, step);
    }
    return 0;
}
