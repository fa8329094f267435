/* SPDX-License-Identifier: Apache-2.0
 *
 * config_file.c - libyaml's events against a table of known keys.
 *
 * A document is nested mappings of scalars; the path of a value ("storage.tsdb.retention.time") is looked up in a
 * table. Prefixes of known paths are mappings, everything else is an error with its place.
 */
#include "narthex/main/config_file.h"

#include "narthex/base/buf.h"
#include "narthex/base/config.h"
#include "narthex/base/io.h"

#include <stddef.h>
#include <yaml.h>

#define CONFIG_FILE_BYTES_MAX ((size_t)1 << 20)
#define PATH_BYTES_MAX        128
#define DEPTH_MAX             8

struct known_key {
    const char *path;
    size_t offset;         /* of an int64_t in struct config_file */
    enum config_kind kind; /* CONFIG_DURATION or CONFIG_BYTES */
    int64_t min, max;
};

static const struct known_key known_keys[] = {
    {"global.evaluation_interval", offsetof(struct config_file, evaluation_interval_ms),
     CONFIG_DURATION, 1, INT64_C(86400000)},
    {"storage.tsdb.retention.time", offsetof(struct config_file, retention_ms), CONFIG_DURATION,
     3600000, INT64_C(3153600000000)},
    {"storage.tsdb.retention.size", offsetof(struct config_file, retention_bytes), CONFIG_BYTES, 0,
     INT64_C(1152921504606846976)},
};

struct reader {
    const char *file;
    struct config_file *out;
    char path[PATH_BYTES_MAX];  /* of the mapping at hand, dotted */
    size_t path_len[DEPTH_MAX]; /* its length at each depth */
    int depth;                  /* mappings open */
    bool has_key;               /* the next scalar is a value */
};

static nx_code fail_at(const struct reader *reader, yaml_mark_t mark, struct nx_err *err,
                       const char *what, const char *text)
{
    return nx_err_set(err, NX_E_INVALID, "%s:%zu:%zu: %s%s%s", reader->file, mark.line + 1,
                      mark.column + 1, what, text != NULL ? ": " : "", text != NULL ? text : "");
}

/* A known path, or the beginning of one up to a dot. */
static const struct known_key *find_key(const char *path, bool *out_is_prefix)
{
    size_t length = strlen(path);
    *out_is_prefix = false;
    for (size_t i = 0; i < sizeof(known_keys) / sizeof(known_keys[0]); i++) {
        if (strncmp(known_keys[i].path, path, length) != 0)
            continue;
        if (known_keys[i].path[length] == '\0')
            return &known_keys[i];
        if (known_keys[i].path[length] == '.')
            *out_is_prefix = true;
    }
    return NULL;
}

static nx_code take_key(struct reader *reader, const yaml_event_t *event, struct nx_err *err)
{
    const char *key = (const char *)event->data.scalar.value;
    size_t used = reader->path_len[reader->depth - 1];
    int n = snprintf(reader->path + used, sizeof(reader->path) - used, "%s%s", used == 0 ? "" : ".",
                     key);
    bool is_prefix;
    if (n < 0 || (size_t)n >= sizeof(reader->path) - used ||
        (find_key(reader->path, &is_prefix) == NULL && !is_prefix)) {
        reader->path[used] = '\0';
        return fail_at(reader, event->start_mark, err, "unknown key", key);
    }
    reader->has_key = true;
    return NX_OK;
}

static nx_code take_value(struct reader *reader, const yaml_event_t *event, struct nx_err *err)
{
    struct nx_str text = {.data = (const char *)event->data.scalar.value,
                          .len = event->data.scalar.length};
    struct nx_err why;
    bool is_prefix;
    int64_t number;
    const struct known_key *key = find_key(reader->path, &is_prefix);
    reader->has_key = false;
    reader->path[reader->path_len[reader->depth - 1]] = '\0';
    if (key == NULL)
        return text.len == 0
                   ? NX_OK
                   : fail_at(reader, event->start_mark, err, "expected a mapping here", NULL);
    bool is_duration = key->kind == CONFIG_DURATION;
    nx_code code = is_duration ? config_parse_duration_ms(text, &number, &why)
                               : config_parse_bytes(text, &number, &why);
    if (code != NX_OK)
        return fail_at(reader, event->start_mark, err,
                       is_duration ? "not a duration" : "not a size", text.data);
    if (number < key->min || number > key->max)
        return fail_at(reader, event->start_mark, err,
                       is_duration ? "duration out of bounds" : "size out of bounds", text.data);
    *(int64_t *)(void *)((char *)reader->out + key->offset) = number;
    return NX_OK;
}

static nx_code take_event(struct reader *reader, const yaml_event_t *event, struct nx_err *err)
{
    switch (event->type) {
    case YAML_MAPPING_START_EVENT: {
        bool is_prefix = true;
        if (reader->depth > 0 &&
            (!reader->has_key || find_key(reader->path, &is_prefix) != NULL || !is_prefix))
            return fail_at(reader, event->start_mark, err, "a mapping is not expected here", NULL);
        if (reader->depth == DEPTH_MAX)
            return fail_at(reader, event->start_mark, err, "nested too deeply", NULL);
        reader->path_len[reader->depth++] = strlen(reader->path);
        reader->has_key = false;
        return NX_OK;
    }
    case YAML_MAPPING_END_EVENT:
        reader->depth--;
        reader->path[reader->depth > 0 ? reader->path_len[reader->depth - 1] : 0] = '\0';
        return NX_OK;
    case YAML_SCALAR_EVENT:
        if (reader->depth == 0)
            return event->data.scalar.length == 0
                       ? NX_OK
                       : fail_at(reader, event->start_mark, err, "expected a mapping here", NULL);
        return reader->has_key ? take_value(reader, event, err) : take_key(reader, event, err);
    case YAML_SEQUENCE_START_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        return fail_at(reader, event->start_mark, err, "a list is not expected here", NULL);
    case YAML_ALIAS_EVENT:
        return fail_at(reader, event->start_mark, err, "aliases are not supported", NULL);
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_START_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        return NX_OK;
    }
    return NX_OK;
}

static nx_code read_events(struct reader *reader, yaml_parser_t *parser, struct nx_err *err)
{
    for (;;) {
        yaml_event_t event;
        if (!yaml_parser_parse(parser, &event))
            return fail_at(reader, parser->problem_mark, err,
                           parser->problem != NULL ? parser->problem : "not YAML", NULL);
        bool is_end = event.type == YAML_STREAM_END_EVENT;
        nx_code code = take_event(reader, &event, err);
        yaml_event_delete(&event);
        if (code != NX_OK || is_end)
            return code;
    }
}

nx_code config_file_read(const char *path, struct config_file *out, struct nx_err *err)
{
    struct nx_buf text = {0};
    struct config_file found = {0};
    struct reader reader = {.file = path, .out = &found};
    yaml_parser_t parser;
    nx_code code = io_read_file(io_real(), path, CONFIG_FILE_BYTES_MAX, &text, err);
    if (code != NX_OK) {
        nx_buf_deinit(&text);
        return nx_err_wrap(err, "--config.file");
    }
    if (!yaml_parser_initialize(&parser)) {
        nx_buf_deinit(&text);
        return nx_err_set(err, NX_E_LIMIT, "--config.file: no memory for the YAML parser");
    }
    yaml_parser_set_input_string(&parser, text.data, text.len);
    code = read_events(&reader, &parser, err);
    yaml_parser_delete(&parser);
    nx_buf_deinit(&text);
    if (code == NX_OK)
        *out = found;
    return code;
}
