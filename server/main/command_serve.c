/* SPDX-License-Identifier: Apache-2.0
 *
 * command_serve.c - `narthex` without a verb: flags, start, wait for a signal, stop.
 */
#include "narthex/base/hash.h"
#include "narthex/base/log.h"
#include "narthex/base/mem_limit.h"
#include "narthex/base/version.h"
#include "narthex/block/map_guard.h"
#include "narthex/main/commands.h"
#include "narthex/main/options.h"
#include "narthex/main/signals.h"
#include "narthex/main/startup.h"

#include <signal.h>
#include <stdio.h>

/* Exit statuses: 1 failed while running, 2 wrong flags or a start that could not be (as Prometheus). */
enum {
    EXIT_STATUS_FAILED = 1,
    EXIT_STATUS_USAGE = 2,
};

static int usage_error(const struct nx_err *err)
{
    fprintf(stderr, "narthex: %s\n", err->msg);
    return EXIT_STATUS_USAGE;
}

static void print_help(void)
{
    struct nx_buf text = {0};
    nx_buf_append_cstr(
        &text, "usage: narthex [<flags>]\n"
               "       narthex storage verify|list|analyze|dump|repair|restore DIR [<flags>]\n"
               "       narthex test promql FILE...\n\n"
               "A metrics store for Prometheus remote write, queried with PromQL.\n\n");
    config_help(options_table, OPTION_COUNT, &text);
    fwrite(text.data, 1, text.len, stdout);
    nx_buf_deinit(&text);
}

static int serve(const struct config *config)
{
    struct server *server;
    struct nx_err err;
    mem_heap_tune();
    signals_block();
    hash_secret_init();
    map_guard_install();
    if (server_start(&server, config, &err) != NX_OK)
        return usage_error(&err);
    int number = signals_wait();
    log_info("main", "stopping", LOG_STR("signal", number == SIGTERM ? "SIGTERM" : "SIGINT"));
    if (server_stop(server, &err) != NX_OK) {
        log_error("main", "stopped with an error", LOG_STR("error", err.msg));
        return EXIT_STATUS_FAILED;
    }
    log_info("main", "stopped");
    return 0;
}

static int run(const struct config *config)
{
    enum log_level level;
    struct nx_err err;
    if (option_number(config, OPTION_HELP) != 0) {
        print_help();
        return 0;
    }
    if (option_number(config, OPTION_VERSION) != 0) {
        printf("narthex, version %s\n", NARTHEX_VERSION);
        return 0;
    }
    if (!log_level_parse(nx_str_from(option_text(config, OPTION_LOG_LEVEL)), &level)) {
        nx_err_set(&err, NX_E_INVALID,
                   "--log.level: \"%.100s\" is none of debug, info, warn, error",
                   option_text(config, OPTION_LOG_LEVEL));
        return usage_error(&err);
    }
    log_set_level(level);
    return serve(config);
}

/* Reads the flags into `config`, which is the caller's to deinit either way. */
static int serve_with_flags(struct config *config, int argc, char **argv)
{
    struct nx_err err;
    int rest;
    if (config_init(config, options_table, OPTION_COUNT, argc, argv, &rest, &err) != NX_OK)
        return usage_error(&err);
    if (rest < argc) {
        nx_err_set(&err, NX_E_INVALID, "unexpected argument \"%.100s\"; --help lists the flags",
                   argv[rest]);
        return usage_error(&err);
    }
    return run(config);
}

int command_serve(int argc, char **argv)
{
    struct config config = {0};
    int status = serve_with_flags(&config, argc, argv);
    config_deinit(&config);
    return status;
}
