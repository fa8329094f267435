/* SPDX-License-Identifier: Apache-2.0 */
/* http_response.c - from a status and some bytes to what goes over the wire; runs on the thread that answers.
 *
 * In     a held request, status, fields, content.
 * Out    pieces of output, posted to the transport thread: compression and framing cost the answering thread's time.
 *
 * A streamed answer is staged in pieces of HTTP_PIECE_BYTES. Room for the chunk header is kept at a piece's start and
 * filled right-aligned once the size is known, so content is copied once:
 *
 *     stage:  [ 10 bytes: .....ffd2 CR LF ][ content ........ ][ CR LF ]
 */
#include "narthex/http/http_response.h"

#include "narthex/base/assert.h"
#include "narthex/base/clock.h"
#include "narthex/base/mem.h"

#include "http_server_internal.h"

#include <stdio.h>
#include <string.h>

#define CHUNK_HEADER_BYTES 10 /* eight hexadecimal digits, CR, LF */

void http_headers_deinit(struct http_headers *headers)
{
    nx_buf_deinit(&headers->fields);
}

void http_headers_add(struct http_headers *headers, const char *name, struct nx_str value)
{
    for (const char *c = name; *c != '\0'; c++)
        NX_ASSERT(http_is_token_char((uint8_t)*c));
    nx_buf_append_cstr(&headers->fields, name);
    nx_buf_append_cstr(&headers->fields, ": ");
    uint8_t *out = nx_buf_extend(&headers->fields, value.len);
    for (size_t i = 0; i < value.len; i++) {
        uint8_t c = (uint8_t)value.data[i];
        out[i] = c < 0x20 || c == 0x7f ? ' ' : c;
    }
    nx_buf_append_cstr(&headers->fields, "\r\n");
}

const char *http_status_text(unsigned status)
{
    static const struct {
        unsigned status;
        const char *text;
    } rows[] = {
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {499, "Client Closed Request"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < NX_ARRAY_LEN(rows); i++) {
        if (rows[i].status == status)
            return rows[i].text;
    }
    return "Unknown";
}

static void append_two_digits(struct nx_buf *out, int64_t number)
{
    nx_buf_append_byte(out, (uint8_t)('0' + number / 10));
    nx_buf_append_byte(out, (uint8_t)('0' + number % 10));
}

/* Days to year, month, day of the Gregorian calendar: years are counted from March, so that the leap day is a year's
 * last, in eras of 400 years = 146,097 days. */
void http_append_date(struct nx_buf *out, int64_t unix_s)
{
    static const char days[7][4] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    NX_ASSERT(unix_s >= 0 && unix_s < 253402300800);
    int64_t day = unix_s / 86400;
    int64_t second = unix_s % 86400;
    int64_t since_march = day + 719468; /* days from 0000-03-01 to 1970-01-01 */
    int64_t era = since_march / 146097;
    int64_t day_of_era = since_march % 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;
    int64_t day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    int64_t month = (month_from_march + 2) % 12; /* 0: January */
    int64_t year = era * 400 + year_of_era + (month < 2 ? 1 : 0);
    nx_buf_append_cstr(out, days[day % 7]);
    nx_buf_append_cstr(out, ", ");
    append_two_digits(out, day_of_month);
    nx_buf_append_byte(out, ' ');
    nx_buf_append_cstr(out, months[month]);
    nx_buf_append_byte(out, ' ');
    append_two_digits(out, year / 100);
    append_two_digits(out, year % 100);
    nx_buf_append_byte(out, ' ');
    append_two_digits(out, second / 3600);
    nx_buf_append_byte(out, ':');
    append_two_digits(out, second / 60 % 60);
    nx_buf_append_byte(out, ':');
    append_two_digits(out, second % 60);
    nx_buf_append_cstr(out, " GMT");
}

static void append_u64(struct nx_buf *out, uint64_t number)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    nx_buf_append(out, digits + at, sizeof(digits) - at);
}

static void append_status_line(struct nx_buf *out, unsigned status)
{
    nx_buf_reserve(out, 512); /* holds the usual head in one allocation */
    nx_buf_append_cstr(out, "HTTP/1.1 ");
    append_u64(out, status);
    nx_buf_append_byte(out, ' ');
    nx_buf_append_cstr(out, http_status_text(status));
    nx_buf_append_cstr(out, "\r\nDate: ");
    int64_t unix_s = clock_wall_ms(clock_real()) / 1000;
    http_append_date(out, unix_s < 0 ? 0 : unix_s);
    nx_buf_append_cstr(out, "\r\n");
}

static void append_length(struct nx_buf *out, uint64_t bytes)
{
    nx_buf_append_cstr(out, "Content-Length: ");
    append_u64(out, bytes);
    nx_buf_append_cstr(out, "\r\n");
}

#define TEXT_FIELDS                                                                                \
 "Content-Type: text/plain; charset=utf-8\r\n"                                                     \
 "X-Content-Type-Options: nosniff\r\n"

void http_response_refusal(struct nx_buf *out, unsigned status, const char *why)
{
    append_status_line(out, status);
    nx_buf_append_cstr(out, TEXT_FIELDS "Connection: close\r\n");
    if (status == 503)
        nx_buf_append_cstr(out, "Retry-After: 1\r\n");
    append_length(out, strlen(why) + 1);
    nx_buf_append_cstr(out, "\r\n");
    nx_buf_append_cstr(out, why);
    nx_buf_append_byte(out, '\n');
}

static bool accepts_gzip(const struct http_request *request)
{
    struct nx_str accepted;
    return http_request_header(request, NX_STR("Accept-Encoding"), &accepted) &&
           http_gzip_is_accepted(accepted);
}

/* What whole and streamed answers begin with: the state, and the fields that others may add. */
static void begin_answer(struct http_request *request, unsigned status,
                         struct http_headers *headers, struct http_headers *take_headers)
{
    NX_ASSERT(!request->is_begun);
    NX_ASSERT(status >= 200 && status <= 599);
    const struct http_server *server = request->server;
    request->is_begun = true;
    request->status = status;
    request->drops_body =
        status == 204 || status == 304 || nx_str_eq(http_request_method(request), NX_STR("HEAD"));
    *headers = (struct http_headers){0};
    if (take_headers != NULL) {
        *headers = *take_headers;
        *take_headers = (struct http_headers){0};
    }
    if (server->options.decorate != NULL)
        server->options.decorate(server->options.decorate_context, request, headers);
    if (headers->can_compress)
        http_headers_add(headers, "Vary", NX_STR("Accept-Encoding"));
    if (atomic_load_explicit(&server->is_draining, memory_order_relaxed))
        request->closes = true;
}

/* `length` is what the content has, or UINT64_MAX when that is not known yet. */
static void append_head(const struct http_request *request, const struct http_headers *headers,
                        uint64_t length, struct nx_buf *out)
{
    append_status_line(out, request->status);
    nx_buf_append(out, headers->fields.data, headers->fields.len);
    if (request->gzip != NULL)
        nx_buf_append_cstr(out, "Content-Encoding: gzip\r\n");
    if (length != UINT64_MAX && request->status != 204 && request->status != 304)
        append_length(out, length);
    if (request->is_framed && request->status != 204 && request->status != 304)
        nx_buf_append_cstr(out, "Transfer-Encoding: chunked\r\n");
    if (request->closes)
        nx_buf_append_cstr(out, "Connection: close\r\n");
    else if (request->head.minor == 0)
        nx_buf_append_cstr(out, "Connection: keep-alive\r\n");
    nx_buf_append_cstr(out, "\r\n");
}

static void compress_whole(struct http_request *request, struct nx_buf *body)
{
    request->gzip = http_gzip_new();
    struct nx_buf compressed = {0};
    nx_buf_reserve(&compressed, body->len / 4);
    http_gzip_write(request->gzip, nx_buf_bytes(body), &compressed);
    http_gzip_end(request->gzip, &compressed);
    nx_buf_deinit(body);
    *body = compressed;
}

void http_respond(struct http_request *request, unsigned status, struct http_headers *take_headers,
                  struct nx_buf *take_body)
{
    struct http_headers headers;
    struct nx_buf body = {0};
    if (take_body != NULL) {
        body = *take_body;
        *take_body = (struct nx_buf){0};
    }
    begin_answer(request, status, &headers, take_headers);
    if (headers.can_compress && body.len >= HTTP_GZIP_BYTES_MIN && accepts_gzip(request))
        compress_whole(request, &body);
    struct nx_buf head = {0};
    append_head(request, &headers, body.len, &head);
    http_headers_deinit(&headers);

    struct http_piece_list pieces = {0};
    http_pieces_add(&pieces, &head, 0, false);
    if (!request->drops_body && body.len > 0)
        http_pieces_add(&pieces, &body, 0, false);
    nx_buf_deinit(&body);
    http_server_post(request, &pieces, true, false);
}

void http_respond_text(struct http_request *request, unsigned status, const char *format, ...)
{
    struct nx_buf body = {0};
    va_list args;
    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    NX_ASSERT(length >= 0);
    char *text = (char *)nx_buf_extend(&body, (size_t)length + 1);
    va_start(args, format);
    (void)vsnprintf(text, (size_t)length + 1, format, args);
    va_end(args);
    text[length] = '\n'; /* where the NUL was */
    struct http_headers headers = {0};
    nx_buf_append_cstr(&headers.fields, TEXT_FIELDS);
    http_respond(request, status, &headers, &body);
}

/* ---- streamed ---- */

static void start_stage(struct http_request *request)
{
    nx_buf_reserve(&request->stage, HTTP_PIECE_BYTES + 512);
    if (request->is_framed)
        (void)nx_buf_extend(&request->stage, CHUNK_HEADER_BYTES);
}

void http_respond_begin(struct http_request *request, unsigned status,
                        struct http_headers *take_headers)
{
    NX_ASSERT(!http_server_is_transport_thread(request->server));
    struct http_headers headers;
    begin_answer(request, status, &headers, take_headers);
    request->is_framed = request->head.minor > 0;
    if (!request->is_framed && !request->drops_body)
        request->closes = true; /* HTTP/1.0: the end of the answer is the end of the connection */
    if (headers.can_compress && accepts_gzip(request))
        request->gzip = http_gzip_new();
    struct nx_buf head = {0};
    append_head(request, &headers, UINT64_MAX, &head);
    http_headers_deinit(&headers);

    /* Kept until there is content to go with it, or the end. */
    http_pieces_add(&request->held_head, &head, 0, true);
    if (!request->drops_body)
        start_stage(request);
}

static size_t staged_bytes(const struct http_request *request)
{
    return request->stage.len - (request->is_framed ? CHUNK_HEADER_BYTES : 0);
}

/* Moves the stage into `pieces`, framed; leaves it empty. Content must be there: an empty chunk ends the body. */
static void take_stage(struct http_request *request, struct http_piece_list *pieces)
{
    size_t skip = 0;
    if (request->is_framed) {
        char text[CHUNK_HEADER_BYTES + 1];
        int length = snprintf(text, sizeof(text), "%zx\r\n", staged_bytes(request));
        NX_ASSERT(length > 0 && length <= CHUNK_HEADER_BYTES);
        skip = CHUNK_HEADER_BYTES - (size_t)length;
        memcpy(request->stage.data + skip, text, (size_t)length);
        nx_buf_append_cstr(&request->stage, "\r\n");
    }
    http_pieces_add(pieces, &request->stage, skip, true);
}

static nx_code hand_over_stage(struct http_request *request)
{
    struct http_piece_list pieces = {0};
    http_pieces_join(&pieces, &request->held_head);
    take_stage(request, &pieces);
    nx_code code = http_server_post_when_room(request, &pieces);
    if (code != NX_OK) {
        request->is_cut = true;
        return code;
    }
    start_stage(request);
    return NX_OK;
}

nx_code http_respond_write(struct http_request *request, struct nx_bytes data)
{
    NX_ASSERT(request->is_begun);
    if (request->is_cut || http_request_is_cancelled(request)) {
        request->is_cut = true;
        return NX_E_CANCELLED;
    }
    if (request->drops_body)
        return NX_OK;
    size_t at = 0;
    while (at < data.len) {
        size_t step = data.len - at;
        if (step > HTTP_PIECE_BYTES)
            step = HTTP_PIECE_BYTES;
        struct nx_bytes slice = {.data = data.data + at, .len = step};
        if (request->gzip != NULL)
            http_gzip_write(request->gzip, slice, &request->stage);
        else
            nx_buf_append(&request->stage, slice.data, slice.len);
        at += step;
        if (staged_bytes(request) < HTTP_PIECE_BYTES)
            continue;
        nx_code code = hand_over_stage(request);
        if (code != NX_OK)
            return code;
    }
    return NX_OK;
}

void http_respond_end(struct http_request *request)
{
    NX_ASSERT(request->is_begun);
    if (request->is_cut) {
        http_respond_abort(request);
        return;
    }
    struct http_piece_list pieces = {0};
    http_pieces_join(&pieces, &request->held_head);
    if (!request->drops_body) {
        if (request->gzip != NULL)
            http_gzip_end(request->gzip, &request->stage);
        if (staged_bytes(request) > 0)
            take_stage(request, &pieces);
        if (request->is_framed) {
            struct nx_buf last = {0};
            nx_buf_append_cstr(&last, "0\r\n\r\n");
            http_pieces_add(&pieces, &last, 0, true);
        }
    }
    http_server_post(request, &pieces, true, false);
}

void http_respond_abort(struct http_request *request)
{
    struct http_piece_list none = {0};
    http_server_post(request, &none, false, true);
}
