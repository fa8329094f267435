/* http_server_internal.h - what the files of the server share: server, connection, request, and who may touch what.
 *
 *   listener --accept--> connection --head, body--> request --handler--> (any thread) --answer--> queue --> connection
 *
 * Threads  [T:transport] the transport thread only. [L:lock] under http_server.lock. [A] atomic. [I] set before the
 *          request is handed to its handler. [H] the one thread that holds the request and answers it.
 * Rule     every callback of the event loop begins with http_server_tick and ends with http_server_settle: connections
 *          are freed, posted answers taken and waiting bodies resumed there and nowhere else.
 */
#pragma once

#include "narthex/base/arena.h"
#include "narthex/base/buf.h"
#include "narthex/base/thread.h"
#include "narthex/http/http_gzip.h"
#include "narthex/http/http_parse.h"
#include "narthex/http/http_response.h"
#include "narthex/http/http_router.h"
#include "narthex/http/http_server.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <sys/types.h>
#include <sys/uio.h>

#define HTTP_PEER_TEXT_BYTES (INET6_ADDRSTRLEN + 10) /* "[" address "]:" port NUL */

/* Positions in the row HTTP_REFUSED of metrics.def. */
enum http_refusal {
    HTTP_REFUSAL_CONNECTIONS,
    HTTP_REFUSAL_HEADER_LIMIT,
    HTTP_REFUSAL_BODY_LIMIT,
    HTTP_REFUSAL_BAD_REQUEST,
    HTTP_REFUSAL_TIMEOUT,
    HTTP_REFUSAL_OVERLOAD,
};

/* ---- transport: bytes to and from the peer, the seam for encryption ---- */

struct http_transport;
/* Like recv(2) and sendmsg(2): -1 with errno EAGAIN when it would block, in which direction ever; 0 from read is the
 * end. Sockets are edge-triggered: both are called until they block. */
struct http_transport_ops {
    ssize_t (*read)(struct http_transport *transport, void *out, size_t bytes);
    ssize_t (*write)(struct http_transport *transport, const struct iovec *parts, int part_count);
    void (*end)(struct http_transport *transport); /* no more will be written */
    void (*close)(struct http_transport *transport);
};
struct http_transport {
    const struct http_transport_ops *ops;
    int fd;
};
void http_transport_open_plain(struct http_transport *transport, int fd);

/* ---- output: pieces of an answer, owned by whichever list they are in ---- */

struct http_piece {
    struct http_piece *next;
    struct nx_buf bytes;
    size_t sent;     /* bytes before this are not (or no longer) to be sent */
    bool is_counted; /* in the request's unsent_bytes */
};
struct http_piece_list {
    struct http_piece *first;
    struct http_piece *last;
};
void http_pieces_add(struct http_piece_list *list, struct nx_buf *take_bytes, size_t skip,
                     bool is_counted);
void http_pieces_join(struct http_piece_list *list, struct http_piece_list *take_more);
void http_pieces_drop_first(struct http_piece_list *list);
void http_pieces_clear(struct http_piece_list *list);

/* ---- request ---- */

enum http_builtin {
    HTTP_BUILTIN_NONE, /* a route's handler answers */
    HTTP_BUILTIN_BAD_PATH,
    HTTP_BUILTIN_NO_PATH,
    HTTP_BUILTIN_NO_METHOD,
    HTTP_BUILTIN_OPTIONS,
};

struct http_request {
    struct http_server *server;         /* [I] */
    struct http_connection *connection; /* [T:transport] NULL once the connection is gone */
    struct nx_buf head_bytes;           /* [I] what head's spans point into */
    struct http_head head;              /* [I] */
    struct nx_str param;                /* [I] decoded, in the arena */
    const struct http_route *route;     /* [I] NULL for built-in answers */
    enum http_builtin builtin;          /* [I] */
    char peer[HTTP_PEER_TEXT_BYTES];    /* [I] */
    struct nx_buf body;                 /* [I] */
    size_t charged_bytes;               /* [T:transport] of http_server.body_bytes */
    struct arena arena;                 /* [H] */
    _Atomic unsigned refs;              /* [A] acq_rel: the connection's, the holder's, others' */
    _Atomic bool is_cancelled;          /* [A] release/acquire */

    /* [H] the answer while it is being made */
    struct http_gzip *gzip;
    struct nx_buf stage; /* a streamed answer's next piece, behind room for its chunk header */
    struct http_piece_list held_head; /* a streamed answer's head, until it has company */
    bool is_begun;
    bool is_framed;  /* streamed in chunks */
    bool drops_body; /* HEAD, 204, 304 */
    bool is_cut;     /* something could not be sent: the answer must not look complete */
    bool closes;     /* [I], then [H]: the connection ends with this answer */
    unsigned status;

    /* [L:lock] from the holder to the transport thread */
    struct http_piece_list pieces;
    size_t unsent_bytes;
    bool is_posted;
    bool is_ended;
    bool is_aborted;
    void (*on_cancel)(void *context);
    void *on_cancel_context;
    struct nx_cond room; /* unsent_bytes fell, or the request was cancelled */
    struct http_request *next_posted;

    bool is_answer_whole;      /* [T:transport] all pieces are in the connection's output */
    struct http_request *next; /* in the dead list [L:lock], in the pool [T:transport] */
};

/* Built-in answers: 400, 404, 405, OPTIONS. */
void http_request_answer_builtin(struct http_request *request);
void http_request_reset(struct http_request *request); /* for the pool; keeps memory */
void http_request_destroy(struct http_request *request);

/* ---- response ---- */

/* Appends a whole one-line text answer that closes the connection: for what never became a request. */
void http_response_refusal(struct nx_buf *out, unsigned status, const char *why);

/* ---- connection ---- */

enum connection_state {
    CONNECTION_HEAD,
    CONNECTION_BODY,
    CONNECTION_CHUNKS,
    CONNECTION_WAITING,  /* for room for its body */
    CONNECTION_HANDLING, /* its request is held by someone, or the answer is on its way */
    CONNECTION_REFUSING, /* the transport's own answer is on its way */
    CONNECTION_LINGER,   /* all is said; the peer may still be sending */
    CONNECTION_CLOSED,
};

struct http_connection { /* [T:transport] */
    struct http_server *server;
    struct http_connection *previous; /* of server->connections */
    struct http_connection *next;
    struct http_connection *next_again;   /* of server->again */
    struct http_connection *next_waiting; /* of server->waiting */
    struct http_connection *next_closed;  /* of server->closed */
    struct http_transport transport;
    struct event io;      /* read, write and hang-up, edge-triggered: set once */
    struct event timer;   /* may fire before the deadline, never after */
    uint64_t timer_at_ns; /* 0: not set */
    enum connection_state state;
    uint64_t since_ns; /* the state's begin or its last progress: its time-out counts from here */
    bool is_readable;
    bool is_writable;
    bool is_peer_done; /* the peer has closed its sending side (or all of it) */
    bool is_first;     /* no request has come yet */
    bool is_again;     /* in server->again */

    struct nx_buf in; /* taken from the server while there is input */
    size_t in_at;     /* bytes before this are consumed */
    struct http_head head;
    struct http_chunked chunked;
    struct http_request *request; /* from the end of the head to the end of the answer */
    size_t body_bytes_max;
    uint64_t rate_since_ns; /* body_rate_min: the window's begin, and the body's length then */
    size_t rate_from_bytes;
    bool is_pressed; /* measured while others wait for room: from this length of the body on */
    size_t pressed_from_bytes;
    size_t linger_bytes;

    struct http_piece_list out;
    char peer[HTTP_PEER_TEXT_BYTES];
};

struct http_connection *http_connection_new(struct http_server *server, int fd, const char *peer);
/* Instead of serving it: says so and lingers. */
void http_connection_turn_away(struct http_connection *connection);
/* Does what can be done: send, receive, hand over requests. */
void http_connection_run(struct http_connection *connection);
/* The body that was waiting has got its http_connection_body_growth. */
void http_connection_resume(struct http_connection *connection);
size_t http_connection_body_growth(const struct http_connection *connection);
void http_connection_close(struct http_connection *connection);
/* Others wait for room: gives up a body that came too slowly, or that has waited too long with what it has. */
void http_connection_press(struct http_connection *connection);
void http_connection_free(struct http_connection *connection); /* only by http_server_settle */
/* Nothing of a request has come yet, or all of its answer has gone. */
bool http_connection_is_idle(const struct http_connection *connection);

/* ---- server ---- */

struct http_listener {
    int fd; /* -1: closed */
    uint16_t port;
    struct event event;
    struct http_server *server;
};

enum server_phase {
    SERVER_PHASE_SERVING,
    SERVER_PHASE_DRAINING,
    SERVER_PHASE_STOPPING,
};

struct http_server {
    struct http_server_options options;                 /* [I] */
    const struct http_router *router;                   /* [I] */
    struct event_base *base;                            /* [T:transport] */
    struct http_listener listeners[HTTP_LISTENERS_MAX]; /* [T:transport] once started */
    size_t listener_count;
    struct event listen_again; /* after a failure to accept for want of descriptors */
    bool is_listening;
    struct nx_thread thread;
    int wake_fd;
    struct event wake;
    struct event again_timer;

    struct nx_mutex lock;
    struct http_request *posted_first; /* [L:lock] requests with news from their holder, in order */
    struct http_request *posted_last;
    struct http_request *dead; /* [L:lock] requests whose last reference is gone */
    bool is_woken;             /* [L:lock] wake_fd is written and not yet read */
    enum server_phase phase;   /* [L:lock] */
    bool is_idle;              /* [L:lock] draining, and nothing is left */
    struct nx_cond idle;
    _Atomic bool is_draining; /* [A] relaxed: answers say Connection: close */

    /* [T:transport] from here */
    uint64_t now_ns;
    struct http_connection *connections;
    unsigned connection_count;
    struct http_connection *again;         /* have input left over, or may go on */
    struct http_connection *waiting_first; /* for room for a body, in order */
    struct http_connection *waiting_last;
    struct http_connection *closed;
    struct event press_timer; /* set while connections wait for room */
    bool is_pressing;
    size_t body_bytes;                    /* all bodies, see http_server_options.bodies_bytes_max */
    const struct http_request *overdraft; /* the one that may exceed it */
    size_t request_count;
    struct http_request *request_pool;
    size_t request_pool_count;
    struct nx_buf *body_pool;
    size_t body_pool_count;
    size_t body_pool_bytes;
    struct nx_buf in_pool[16];
    size_t in_pool_count;
    uint8_t *discard; /* HTTP_DISCARD_BYTES that nobody reads */
};

#define HTTP_DISCARD_BYTES (64 * 1024)

void http_server_tick(struct http_server *server);
void http_server_settle(struct http_server *server);
bool http_server_is_transport_thread(const struct http_server *server);
/* Runs the connection again in the loop's next round. */
void http_server_run_again(struct http_connection *connection);

/* Hands what the holder has made to the transport thread. Any thread. */
void http_server_post(struct http_request *request, struct http_piece_list *take_pieces,
                      bool is_ended, bool is_aborted);
/* The same, but waits for room first. NX_E_CANCELLED: not taken. */
nx_code http_server_post_when_room(struct http_request *request,
                                   struct http_piece_list *take_pieces);
void http_server_cancel(struct http_request *request);

struct http_request *http_server_take_request(struct http_server *server);
void http_server_unref_request(struct http_request *request); /* [T:transport] */
/* Room for `growth` more bytes of a body: false, and the connection is queued, when there is none now. */
bool http_server_charge_body(struct http_connection *connection, size_t growth, bool never_waits);
/* The body is complete with `bytes`: the rest of its room is not needed. */
void http_server_trim_charge(struct http_request *request, size_t bytes);
void http_server_stop_waiting(struct http_connection *connection);
void http_server_take_body_buf(struct http_server *server, struct nx_buf *out_buf);
void http_server_take_in_buf(struct http_server *server, struct nx_buf *out_buf);
void http_server_return_in_buf(struct http_server *server, struct nx_buf *take_buf);
void http_server_count_refusal(enum http_refusal reason, unsigned status);
void http_server_count_answer(unsigned status);

/* http_listener.c */
void http_listeners_start(struct http_server *server);
void http_listeners_close(struct http_server *server);
/* "10.0.0.7:51234", "[::1]:51234" */
struct sockaddr_storage;
void http_listener_peer_text(const struct sockaddr_storage *address,
                             char out[HTTP_PEER_TEXT_BYTES]);
