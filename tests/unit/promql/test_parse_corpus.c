/* SPDX-License-Identifier: Apache-2.0 */
/* test_parse_corpus.c - expressions from the field parse, and survive being printed.
 *
 * The corpus is not part of the source: NARTHEX_CONFORMANCE_DIR names a folder with
 *   queries/{dashboards,alerts,recording}.txt, queries/extended/ likewise: one expression per line, # comments
 *   promqltest/<name>.test: test scripts, whose eval lines are read
 * Without it the tests are skipped, and say so.
 */
#include "parse_support.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#define PROBLEMS_SHOWN_MAX 20

struct corpus {
    size_t read;
    size_t failed;
};

static const char *corpus_dir(void)
{
    const char *dir = getenv("NARTHEX_CONFORMANCE_DIR");
    if (dir == NULL || dir[0] == '\0') {
        print_message("skipped: NARTHEX_CONFORMANCE_DIR is not set\n");
        skip();
    }
    return dir;
}

static void corpus_try(struct corpus *corpus, const char *file, size_t line, struct nx_str text)
{
    char problem[600];
    corpus->read++;
    const char *found = round_trip_problem(text, problem, sizeof(problem));
    if (found == NULL)
        return;
    if (corpus->failed++ < PROBLEMS_SHOWN_MAX)
        print_message("%s:%zu: %s\n  %.*s\n", file, line, found, NX_STR_ARGS(text));
}

/* Calls `take` for each line of a file, numbered from 1, without its newline. */
typedef void (*line_fn)(struct corpus *corpus, const char *file, size_t number, struct nx_str line);

static void corpus_read(struct corpus *corpus, const char *path, line_fn take)
{
    static char line[1 << 16];
    size_t number = 0;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        fail_msg("cannot open %s", path);
    while (fgets(line, sizeof(line), file) != NULL)
        take(corpus, path, ++number, nx_str_trim(nx_str_from(line)));
    (void)fclose(file);
}

static void take_query(struct corpus *corpus, const char *file, size_t number, struct nx_str line)
{
    if (line.len > 0 && line.data[0] != '#')
        corpus_try(corpus, file, number, line);
}

static struct nx_str word_take(struct nx_str *rest)
{
    struct nx_str word;
    struct nx_str after = {0};
    (void)nx_str_split(nx_str_trim(*rest), ' ', &word, &after);
    *rest = after;
    return word;
}

/* "eval instant at T EXPR", "eval range from T to T step T EXPR"; old forms have a suffix at eval. */
static void take_eval(struct corpus *corpus, const char *file, size_t number, struct nx_str line)
{
    struct nx_str rest = line;
    if (!nx_str_starts_with(word_take(&rest), NX_STR("eval")))
        return;
    struct nx_str kind = word_take(&rest);
    int words = nx_str_eq(kind, NX_STR("instant")) ? 2 : nx_str_eq(kind, NX_STR("range")) ? 6 : 0;
    for (int i = 0; i < words; i++)
        (void)word_take(&rest);
    if (words > 0)
        corpus_try(corpus, file, number, rest);
}

static void corpus_report(const struct corpus *corpus, const char *what)
{
    print_message("%s: %zu read, %zu failed\n", what, corpus->read, corpus->failed);
    assert_true(corpus->read > 0);
    assert_int_equal(corpus->failed, 0);
}

static void test_queries_of_dashboards_and_rules_round_trip(void **state)
{
    (void)state;
    static const char *const files[] = {
        "queries/dashboards.txt",      "queries/alerts.txt",
        "queries/recording.txt",       "queries/extended/dashboards.txt",
        "queries/extended/alerts.txt", "queries/extended/recording.txt",
    };
    const char *dir = corpus_dir();
    struct corpus corpus = {0};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char path[512];
        (void)snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
        corpus_read(&corpus, path, take_query);
    }
    corpus_report(&corpus, "queries");
}

static void test_expressions_of_test_scripts_round_trip(void **state)
{
    (void)state;
    char folder[400];
    struct corpus corpus = {0};
    (void)snprintf(folder, sizeof(folder), "%s/promqltest", corpus_dir());
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char path[700];
        if (!nx_str_ends_with(nx_str_from(entry->d_name), NX_STR(".test")))
            continue;
        (void)snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        corpus_read(&corpus, path, take_eval);
    }
    (void)closedir(dir);
    corpus_report(&corpus, "scripts");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_queries_of_dashboards_and_rules_round_trip),
        cmocka_unit_test(test_expressions_of_test_scripts_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
