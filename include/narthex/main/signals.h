/* signals.h - signals are blocked in every thread and waited for by the main one. */
#pragma once

void signals_block(void); /* before the first thread */
/* Returns the signal that asks to stop: SIGTERM or SIGINT. SIGHUP is told and waited past. */
int signals_wait(void);
