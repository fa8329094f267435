/* SPDX-License-Identifier: Apache-2.0 */
/* http_transport.c - bytes over a plain socket, and the lists of pieces that wait to be sent. */
#include "narthex/base/assert.h"
#include "narthex/base/mem.h"

#include "http_server_internal.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

static ssize_t plain_read(struct http_transport *transport, void *out, size_t bytes)
{
    ssize_t got;
    do {
        got = recv(transport->fd, out, bytes, 0);
    } while (got < 0 && errno == EINTR);
    return got;
}

static ssize_t plain_write(struct http_transport *transport, const struct iovec *parts,
                           int part_count)
{
    struct msghdr message = {
        .msg_iov = (struct iovec *)(uintptr_t)parts, /* sendmsg only reads them */
        .msg_iovlen = (size_t)part_count,
    };
    ssize_t sent;
    do {
        sent = sendmsg(transport->fd, &message, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent;
}

static void plain_end(struct http_transport *transport)
{
    (void)shutdown(transport->fd, SHUT_WR); /* fails only when the peer is gone already */
}

static void plain_close(struct http_transport *transport)
{
    (void)close(transport->fd);
    transport->fd = -1;
}

void http_transport_open_plain(struct http_transport *transport, int fd)
{
    static const struct http_transport_ops plain = {
        .read = plain_read,
        .write = plain_write,
        .end = plain_end,
        .close = plain_close,
    };
    *transport = (struct http_transport){.ops = &plain, .fd = fd};
}

void http_pieces_add(struct http_piece_list *list, struct nx_buf *take_bytes, size_t skip,
                     bool is_counted)
{
    NX_ASSERT(skip < take_bytes->len);
    struct http_piece *piece = nx_alloc(sizeof(*piece));
    *piece = (struct http_piece){.bytes = *take_bytes, .sent = skip, .is_counted = is_counted};
    *take_bytes = (struct nx_buf){0};
    if (list->last != NULL)
        list->last->next = piece;
    else
        list->first = piece;
    list->last = piece;
}

void http_pieces_join(struct http_piece_list *list, struct http_piece_list *take_more)
{
    if (take_more->first == NULL)
        return;
    if (list->last != NULL)
        list->last->next = take_more->first;
    else
        list->first = take_more->first;
    list->last = take_more->last;
    *take_more = (struct http_piece_list){0};
}

void http_pieces_drop_first(struct http_piece_list *list)
{
    struct http_piece *piece = list->first;
    list->first = piece->next;
    if (list->first == NULL)
        list->last = NULL;
    nx_buf_deinit(&piece->bytes);
    nx_free(piece);
}

void http_pieces_clear(struct http_piece_list *list)
{
    while (list->first != NULL)
        http_pieces_drop_first(list);
}
