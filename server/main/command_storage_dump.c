/* SPDX-License-Identifier: Apache-2.0
 *
 * command_storage_dump.c - narthex storage dump: every sample as a line of text, bit-exact.
 *
 * The store is opened as a server would open it, without writing: head, journal and blocks are merged by its querier.
 */
#include "narthex/base/clock.h"
#include "narthex/base/float_text.h"
#include "narthex/base/io_copy.h"
#include "narthex/promql/parse.h"
#include "narthex/storage/store.h"

#include "command_storage.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define DUMP_CACHE_BYTES ((uint64_t)256 << 20)
#define DUMP_FLUSH_BYTES ((size_t)1 << 20)

struct dump {
    struct arena arena;
    struct matcher *matchers;
    size_t matcher_count;
    int64_t min_ms, max_ms;
    struct nx_buf out, labels;
    bool is_damaged;
};

static nx_code read_time(const struct config *config, enum dump_option option, int64_t default_ms,
                         int64_t *out_ms, struct nx_err *err)
{
    const char *text = config->values[option].text;
    *out_ms = default_ms;
    if (text[0] == '\0' || nx_str_to_i64(nx_str_from(text), out_ms))
        return NX_OK;
    return nx_err_set(err, NX_E_INVALID, "--%s: \"%.100s\" is no number of milliseconds",
                      config->options[option].name, text);
}

static nx_code read_options(const struct config *config, struct dump *dump, struct nx_err *err)
{
    const char *match = config->values[DUMP_MATCH].text;
    nx_code code = read_time(config, DUMP_MIN_TIME, INT64_MIN, &dump->min_ms, err);
    if (code == NX_OK)
        code = read_time(config, DUMP_MAX_TIME, INT64_MAX, &dump->max_ms, err);
    if (code == NX_OK && match[0] != '\0') {
        code = promql_parse_selector(nx_str_from(match), &dump->arena, &dump->matchers,
                                     &dump->matcher_count, err);
        if (code != NX_OK)
            return nx_err_wrap(err, "--match");
    }
    return code;
}

static void put_value(struct nx_buf *out, double value)
{
    uint64_t bits;
    char text[FLOAT_TEXT_MAX];
    memcpy(&bits, &value, sizeof(bits));
    if (isnan(value))
        nx_buf_printf(out, "NaN(0x%016" PRIx64 ")", bits);
    else
        nx_buf_append(out, text, float_text_json(text, value));
}

/* A count: an integer, or a float's shortest text. */
static void put_bits(struct nx_buf *out, bool is_float, uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof(value));
    if (is_float)
        put_value(out, value);
    else
        nx_buf_printf(out, "%" PRIu64, bits);
}

/* histogram(schema=0,hint=2,kind=int,count=3,zero=1@1e-128,sum=4.5,positive=[0+2|1;1],negative=[],bounds=[]): spans as
 * offset+length, then the buckets. */
static void put_histogram(struct nx_buf *out, const struct histogram *histogram)
{
    static const char *const sides[HISTOGRAM_SIGNS] = {"positive", "negative"};
    nx_buf_printf(out, "histogram(schema=%" PRId32 ",hint=%u,kind=%s,count=", histogram->schema,
                  histogram->hint, histogram->is_float ? "float" : "int");
    put_bits(out, histogram->is_float, histogram->count);
    nx_buf_append_cstr(out, ",zero=");
    put_bits(out, histogram->is_float, histogram->zero_count);
    nx_buf_append_byte(out, '@');
    put_value(out, histogram->zero_threshold);
    nx_buf_append_cstr(out, ",sum=");
    put_value(out, histogram->sum);
    for (unsigned i = 0; i < HISTOGRAM_SIGNS; i++) {
        const struct histogram_side *side = &histogram->sides[i];
        nx_buf_printf(out, ",%s=[", sides[i]);
        for (uint32_t j = 0; j < side->span_count; j++)
            nx_buf_printf(out, "%s%" PRId32 "+%" PRIu32, j == 0 ? "" : ";", side->spans[j].offset,
                          side->spans[j].length);
        for (uint32_t j = 0; j < side->bucket_count; j++) {
            nx_buf_append_byte(out, j == 0 ? '|' : ';');
            put_bits(out, histogram->is_float, side->buckets[j]);
        }
        nx_buf_append_byte(out, ']');
    }
    nx_buf_append_cstr(out, ",bounds=[");
    for (uint32_t i = 0; i < histogram->bound_count; i++) {
        if (i > 0)
            nx_buf_append_byte(out, ';');
        put_value(out, histogram->bounds[i]);
    }
    nx_buf_append_cstr(out, "])");
}

static nx_code write_out(struct dump *dump, struct nx_err *err)
{
    size_t put = fwrite(dump->out.data, 1, dump->out.len, stdout);
    bool is_whole = put == dump->out.len;
    nx_buf_reset(&dump->out);
    return is_whole ? NX_OK : nx_err_set(err, NX_E_IO, "the output could not be written");
}

static nx_code put_series(struct dump *dump, const struct series_columns *series,
                          struct nx_err *err)
{
    nx_code code = NX_OK;
    nx_buf_reset(&dump->labels);
    labels_print_series(series->labels, &dump->labels);
    /* Floats and histograms in one order of time; no time is in both. */
    for (size_t i = 0, j = 0;
         code == NX_OK && (i < series->count || j < series->histogram_count);) {
        bool is_float = j == series->histogram_count ||
                        (i < series->count && series->times_ms[i] < series->histograms[j].time_ms);
        nx_buf_append(&dump->out, dump->labels.data, dump->labels.len);
        nx_buf_append_byte(&dump->out, ' ');
        if (is_float)
            put_value(&dump->out, series->values[i]);
        else
            put_histogram(&dump->out, series->histograms[j].histogram);
        nx_buf_printf(&dump->out, " %" PRId64 "\n",
                      is_float ? series->times_ms[i++] : series->histograms[j++].time_ms);
        if (dump->out.len >= DUMP_FLUSH_BYTES)
            code = write_out(dump, err);
    }
    return code;
}

static nx_code dump_all(struct dump *dump, struct store *store, struct nx_err *err)
{
    struct series_source *source = store_source(store);
    const struct series_hints hints = {.arena = &dump->arena};
    struct series_warnings warnings = {0};
    struct series_set *set = NULL;
    nx_code code = source->ops->select(source, dump->matchers, dump->matcher_count, dump->min_ms,
                                       dump->max_ms, &hints, &set, &warnings, err);
    if (code != NX_OK)
        return code;
    struct series_columns series;
    int more;
    while ((more = set->ops->next(set, &series, err)) > 0 && code == NX_OK)
        code = put_series(dump, &series, err);
    if (more < 0)
        code = err->code;
    if (code == NX_OK)
        code = write_out(dump, err);
    for (size_t i = 0; i < warnings.count; i++)
        fprintf(stderr, "narthex: not all is there: %.*s\n", NX_STR_ARGS(warnings.texts[i]));
    dump->is_damaged = dump->is_damaged || warnings.count > 0;
    set->ops->free(set);
    return code;
}

static void tell_opened(struct dump *dump, const struct store_open_result *opened)
{
    if (opened->damage[0] == '\0')
        return;
    fprintf(stderr, "narthex: not all is there: %s\n", opened->damage);
    dump->is_damaged = true;
}

int storage_dump(const struct config *config, char **arguments)
{
    struct dump dump = {0};
    struct nx_err err;
    struct store *store = NULL;
    struct store_open_result opened;
    const struct store_options options = {.data_dir = arguments[0],
                                          .io = io_read_only(),
                                          .clock = clock_real(),
                                          .cache_bytes = DUMP_CACHE_BYTES,
                                          .is_read_only = true};
    arena_init(&dump.arena, 0);
    nx_code code = read_options(config, &dump, &err);
    if (code == NX_OK)
        code = store_open(&store, &options, &opened, &err);
    if (code == NX_OK) {
        tell_opened(&dump, &opened);
        code = dump_all(&dump, store, &err);
        struct nx_err ignored;
        nx_ignore(store_close(store, &ignored));
    }
    for (size_t i = 0; i < dump.matcher_count; i++)
        matcher_deinit(&dump.matchers[i]);
    arena_deinit(&dump.arena);
    nx_buf_deinit(&dump.out);
    nx_buf_deinit(&dump.labels);
    if (code != NX_OK)
        return tool_error(&err);
    return dump.is_damaged ? TOOL_FAILED : TOOL_FINE;
}
