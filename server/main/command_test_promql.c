/* SPDX-License-Identifier: Apache-2.0
 *
 * command_test_promql.c - narthex test promql FILE...: runs scripts, one summary line a file, exit 0 only when none
 * failed.
 */
#include "narthex/base/hash.h"
#include "narthex/main/commands.h"
#include "narthex/promql/script.h"

#include <stdio.h>

static void report(void *context, const char *path, unsigned line, struct nx_str why)
{
    (void)context;
    printf("%s:%u: %.*s\n", path, line, NX_STR_ARGS(why));
}

int command_test_promql(int argc, char **argv)
{
    int status = 0;
    if (argc == 0) {
        fprintf(stderr, "usage: narthex test promql FILE...\n");
        return 2;
    }
    hash_secret_init();
    for (int i = 0; i < argc; i++) {
        struct script_result result = {0};
        struct nx_err err;
        if (script_run(argv[i], report, NULL, &result, &err) != NX_OK) {
            fprintf(stderr, "narthex: %s\n", err.msg);
            status = 1;
            continue;
        }
        printf("%s: %zu passed, %zu failed\n", argv[i], result.passed, result.failed);
        if (result.failed > 0)
            status = 1;
    }
    return status;
}
