/* map_guard.h - a mapped file that cannot be read ends the process with a line that names it.
 *
 * Problem  indexes and the catalog are read through maps. A sector that the disk does not give, or a file that somebody
 *          cut, is a SIGBUS in the middle of a query: nothing can be unwound from there.
 * Policy   the handler looks the address up in /proc/self/maps, writes one log line, leaves a file `bad` beside a
 *          block's index, and exits with status 1. The next start sets the block aside and serves the rest.
 * Threads  any may fault. Everything in the handler is async-signal-safe.
 */
#pragma once

/* In a block's directory: the block is not opened any more. */
#define BLOCK_BAD_NAME "bad"

void map_guard_install(void); /* once, at the start of a server */
