/* client.h - a remote-write client over one kept-alive connection: send a body, wait for the status. */
#pragma once

#include "narthex/base/err.h"
#include "narthex/base/str.h"

#include <stdint.h>

struct client {
    char host[256];
    char port[16];
    char path[512];
    int fd; /* -1: not connected */
    uint8_t input[8192];
};

/* http://host[:port]/path */
NX_NODISCARD nx_code client_init(struct client *client, const char *url, struct nx_err *err);
void client_deinit(struct client *client);

/* Connects when needed. *out_status and the first bytes of an error's body; NX_E_IO when the connection broke. */
NX_NODISCARD nx_code client_write(struct client *client, struct nx_bytes body, unsigned *out_status,
                                  char *out_text, size_t text_bytes, struct nx_err *err);
