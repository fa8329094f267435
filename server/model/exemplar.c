/* SPDX-License-Identifier: Apache-2.0 */
/* exemplar.c - comparing, checking and copying exemplars. */
#include "narthex/model/exemplar.h"

#include "narthex/model/staleness.h"

#include <math.h>
#include <stdlib.h>

bool exemplar_equal(const struct exemplar *a, const struct exemplar *b)
{
    return a->time_ms == b->time_ms && float_bits(a->value) == float_bits(b->value) &&
           labels_equal(a->labels, b->labels);
}

static int compare_values(double a, double b)
{
    if (a < b || (!isnan(a) && isnan(b)))
        return -1;
    if (a > b || (isnan(a) && !isnan(b)))
        return 1;
    return (float_bits(a) > float_bits(b)) - (float_bits(a) < float_bits(b));
}

int exemplar_compare(const struct exemplar *a, const struct exemplar *b)
{
    if (a->time_ms != b->time_ms)
        return a->time_ms < b->time_ms ? -1 : 1;
    int order = compare_values(a->value, b->value);
    return order != 0 ? order : labels_compare(a->labels, b->labels);
}

/* Of valid UTF-8: every byte but those that continue a character. */
static size_t characters(struct nx_str text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++)
        count += ((uint8_t)text.data[i] & 0xc0) != 0x80;
    return count;
}

nx_code exemplar_check(const struct exemplar *exemplar, struct nx_err *err)
{
    const struct label *items = exemplar->labels.items;
    size_t count = 0;
    for (size_t i = 0; i < exemplar->labels.count; i++) {
        if (items[i].name.len == 0)
            return nx_err_set(err, NX_E_INVALID, "exemplar has an empty label name");
        if (!nx_utf8_is_valid(items[i].name) || !nx_utf8_is_valid(items[i].value))
            return nx_err_set(err, NX_E_INVALID, "exemplar has a label that is not valid UTF-8");
        int order = i == 0 ? -1 : nx_str_cmp(items[i - 1].name, items[i].name);
        if (order >= 0)
            return nx_err_set(err, NX_E_INVALID, "exemplar has labels that are %s",
                              order == 0 ? "not unique" : "not sorted");
        count += characters(items[i].name) + characters(items[i].value);
        if (count > EXEMPLAR_CHARACTERS_MAX)
            return nx_err_set(err, NX_E_INVALID,
                              "label length for exemplar exceeds maximum of %u UTF-8 characters",
                              EXEMPLAR_CHARACTERS_MAX);
    }
    return NX_OK;
}

bool exemplar_copy(struct arena *arena, const struct exemplar *exemplar, struct exemplar *out)
{
    struct labels labels = labels_copy(arena, exemplar->labels);
    if (labels.count != exemplar->labels.count)
        return false;
    *out =
        (struct exemplar){.labels = labels, .value = exemplar->value, .time_ms = exemplar->time_ms};
    return true;
}

static int compare(const void *left, const void *right)
{
    return exemplar_compare(left, right);
}

size_t exemplars_sort(struct exemplar *exemplars, size_t count)
{
    size_t kept = 0;
    if (count == 0)
        return 0;
    qsort(exemplars, count, sizeof(*exemplars), compare);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || exemplar_compare(&exemplars[kept - 1], &exemplars[i]) != 0)
            exemplars[kept++] = exemplars[i];
    return kept;
}
