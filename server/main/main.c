/* SPDX-License-Identifier: Apache-2.0
 *
 * main.c - narthex [<flags>] serves; narthex <verb> <noun> ... is a tool. One table of commands.
 */
#include "narthex/main/commands.h"

#include <stdio.h>
#include <string.h>

struct command {
    const char *verb;
    const char *noun;                  /* NULL: the command reads it itself */
    int (*run)(int argc, char **argv); /* what follows the noun, or the verb */
};

static const struct command commands[] = {
    {"test", "promql", command_test_promql},
    {"storage", NULL, command_storage},
};

int main(int argc, char **argv)
{
    if (argc < 2 || argv[1][0] == '-')
        return command_serve(argc, argv);
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (commands[i].noun == NULL && strcmp(argv[1], commands[i].verb) == 0)
            return commands[i].run(argc - 2, argv + 2);
        if (commands[i].noun != NULL && argc > 2 && strcmp(argv[1], commands[i].verb) == 0 &&
            strcmp(argv[2], commands[i].noun) == 0)
            return commands[i].run(argc - 3, argv + 3);
    }
    fprintf(
        stderr,
        "narthex: unknown command \"%.100s%s%.100s\"; known: storage, test promql; --help lists the flags\n",
        argv[1], argc > 2 ? " " : "", argc > 2 ? argv[2] : "");
    return 2;
}
