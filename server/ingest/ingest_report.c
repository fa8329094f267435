/* SPDX-License-Identifier: Apache-2.0
 *
 * ingest_report.c - what was not stored, counted by reason and said in words that the sender's log will show.
 *
 * In       refusals of series and samples.
 * Out      counts, a message of a few lines: the first refusals with their series, then how many more.
 * Fails    never; a message that does not fit is cut.
 */
#include "narthex/base/float_text.h"
#include "narthex/base/metrics.h"

#include "ingest_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MESSAGE_LINES_MAX  8u
#define MESSAGE_LABELS_MAX 200u /* bytes of a series' text in one line */

/* Appends a line to the message unless it is full. */
static void add_line(struct ingest_request *request, const char *reason, struct labels labels)
{
    struct nx_buf text = {0};
    labels_print(labels, &text);
    size_t used = strlen(request->outcome.message);
    size_t shown = text.len < MESSAGE_LABELS_MAX ? text.len : MESSAGE_LABELS_MAX;
    snprintf(request->outcome.message + used, sizeof(request->outcome.message) - used,
             "%s%s, series %.*s%s", used == 0 ? "" : "\n", reason, (int)shown,
             (const char *)text.data, shown < text.len ? "..." : "");
    nx_buf_deinit(&text);
}

void ingest_report_refusal(struct ingest_request *request, enum ingest_refusal refusal,
                           uint64_t samples, struct labels labels, const char *reason)
{
    request->outcome.refused[refusal] += samples;
    if (request->message_lines++ < MESSAGE_LINES_MAX)
        add_line(request, reason, labels);
}

void ingest_report_write(struct ingest_request *request, const struct head_write *write,
                         struct labels labels)
{
    char reason[128];
    int64_t time_ms = write->refused_first.time_ms;
    if (write->refused[APPEND_CONFLICT] > 0 && write->has_histogram_conflict) {
        snprintf(reason, sizeof(reason),
                 "duplicate sample for timestamp %" PRId64
                 ": another sample is there, and one of them is a native histogram",
                 time_ms);
        ingest_report_refusal(request, INGEST_REFUSED_DUPLICATE, write->refused[APPEND_CONFLICT],
                              labels, reason);
    } else if (write->refused[APPEND_CONFLICT] > 0) {
        char existing[FLOAT_TEXT_MAX], value[FLOAT_TEXT_MAX];
        int existing_len = (int)float_text_json(existing, write->conflict_value);
        int value_len = (int)float_text_json(value, write->refused_first.value);
        snprintf(reason, sizeof(reason),
                 "duplicate sample for timestamp %" PRId64 ": existing %.*s, new value %.*s",
                 time_ms, existing_len, existing, value_len, value);
        ingest_report_refusal(request, INGEST_REFUSED_DUPLICATE, write->refused[APPEND_CONFLICT],
                              labels, reason);
    }
    if (write->refused[APPEND_FUTURE] > 0) {
        snprintf(reason, sizeof(reason),
                 "out of bounds: timestamp %" PRId64 " is too far in the future", time_ms);
        ingest_report_refusal(request, INGEST_REFUSED_FUTURE, write->refused[APPEND_FUTURE], labels,
                              reason);
    }
    if (write->refused[APPEND_TOO_OLD] > 0) {
        snprintf(reason, sizeof(reason),
                 "too old sample: timestamp %" PRId64 " is beyond the retention", time_ms);
        ingest_report_refusal(request, INGEST_REFUSED_TOO_OLD, write->refused[APPEND_TOO_OLD],
                              labels, reason);
    }
    if (write->refused[APPEND_SERIES_LIMIT] > 0)
        ingest_report_refusal(
            request, INGEST_REFUSED_SERIES_LIMIT, write->refused[APPEND_SERIES_LIMIT], labels,
            "the limit of active series (--storage.max-series) is reached, new series are refused");
    if (write->refused[APPEND_SERIES_MEMORY] > 0)
        ingest_report_refusal(
            request, INGEST_REFUSED_MEMORY, write->refused[APPEND_SERIES_MEMORY], labels,
            "memory is short (--storage.memory-limit), new series are refused until there is more");
    if (write->refused[APPEND_SERIES_RATE] > 0)
        ingest_report_refusal(request, INGEST_REFUSED_SERIES_RATE,
                              write->refused[APPEND_SERIES_RATE], labels,
                              "too many new series in the last minute "
                              "(--storage.max-new-series-per-minute), new series are refused");
}

void ingest_report_finish(struct ingest_request *request)
{
    struct ingest_outcome *outcome = &request->outcome;
    if (outcome->code != NX_OK)
        return;
    uint64_t refused = 0;
    metrics_add(METRIC_INGEST_REFUSED_EXEMPLARS, outcome->refused_exemplars);
    for (unsigned i = 0; i < INGEST_REFUSED_COUNT; i++) {
        if (outcome->refused[i] > 0)
            metrics_add_at(METRIC_INGEST_REFUSED, i, outcome->refused[i]);
        refused += outcome->refused[i];
    }
    if (refused == 0 && request->message_lines == 0)
        return;
    outcome->code = NX_E_INVALID;
    size_t used = strlen(outcome->message);
    if (request->message_lines > MESSAGE_LINES_MAX)
        snprintf(outcome->message + used, sizeof(outcome->message) - used,
                 "\n%u more series with refused samples",
                 request->message_lines - MESSAGE_LINES_MAX);
    used = strlen(outcome->message);
    snprintf(outcome->message + used, sizeof(outcome->message) - used,
             "\n%" PRIu64 " refused, %" PRIu64 " samples stored", refused, outcome->accepted);
}
