/* commands.h - narthex <verb> <noun>: each returns the exit status of the process. */
#pragma once

int command_serve(int argc, char **argv);
int command_storage(int argc, char **argv);     /* argv[0] is the tool: verify, list, ... */
int command_test_promql(int argc, char **argv); /* argv[0] is the first file */
