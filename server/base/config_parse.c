/* SPDX-License-Identifier: Apache-2.0 */
/* config_parse.c - durations and sizes as people write them.
 *
 * Durations are Prometheus' (common/model): [Ny][Nw][Nd][Nh][Nm][Ns][Nms], each at most once and in this order, or "0".
 */
#include "narthex/base/assert.h"
#include "narthex/base/config.h"

#include <inttypes.h>

#define MS_PER_DAY      INT64_C(86400000)
#define DURATION_MS_MAX (INT64_MAX / 1000000) /* Go keeps nanoseconds in an int64 */

struct unit {
    const char *name;
    int64_t size;
    bool is_exact; /* printed only when nothing would be left over */
};

static const struct unit duration_units[] = {
    {"y", 365 * MS_PER_DAY, true},
    {"w", 7 * MS_PER_DAY, true},
    {"d", MS_PER_DAY, false},
    {"h", 3600000, false},
    {"m", 60000, false},
    {"s", 1000, false},
    {"ms", 1, false},
};

/* Cuts leading digits off *text. False when there are none. */
static bool cut_digits(struct nx_str *text, struct nx_str *out_digits)
{
    size_t count = 0;
    while (count < text->len && text->data[count] >= '0' && text->data[count] <= '9')
        count++;
    *out_digits = (struct nx_str){.data = text->data, .len = count};
    text->data += count;
    text->len -= count;
    return count > 0;
}

/* Letters up to the next digit. */
static struct nx_str cut_unit(struct nx_str *text)
{
    size_t count = 0;
    while (count < text->len && !(text->data[count] >= '0' && text->data[count] <= '9'))
        count++;
    struct nx_str unit = {.data = text->data, .len = count};
    text->data += count;
    text->len -= count;
    return unit;
}

static nx_code refuse(struct nx_str text, const char *reason, struct nx_err *err)
{
    int shown = text.len < 64 ? (int)text.len : 64;
    return nx_err_set(err, NX_E_INVALID, "%s: \"%.*s\"", reason, shown, text.data);
}

nx_code config_parse_duration_ms(struct nx_str text, int64_t *out_ms, struct nx_err *err)
{
    if (text.len == 0)
        return nx_err_set(err, NX_E_INVALID, "empty duration string");
    if (nx_str_eq(text, NX_STR("0"))) {
        *out_ms = 0;
        return NX_OK;
    }
    int64_t total = 0;
    size_t next_unit = 0;
    struct nx_str rest = text;
    while (rest.len > 0) {
        struct nx_str digits;
        if (!cut_digits(&rest, &digits))
            return refuse(text, "not a valid duration string", err);
        struct nx_str name = cut_unit(&rest);
        while (next_unit < NX_ARRAY_LEN(duration_units) &&
               !nx_str_eq(name, nx_str_from(duration_units[next_unit].name)))
            next_unit++;
        if (next_unit == NX_ARRAY_LEN(duration_units))
            return refuse(text, "not a valid duration string", err);
        int64_t number;
        int64_t part;
        if (!nx_str_to_i64(digits, &number) ||
            __builtin_mul_overflow(number, duration_units[next_unit].size, &part) ||
            __builtin_add_overflow(total, part, &total) || total > DURATION_MS_MAX)
            return refuse(text, "duration out of range", err);
        next_unit++;
    }
    *out_ms = total;
    return NX_OK;
}

void config_print_duration(int64_t ms, struct nx_buf *out)
{
    if (ms == 0) {
        nx_buf_append_cstr(out, "0s");
        return;
    }
    uint64_t left = ms < 0 ? 0 - (uint64_t)ms : (uint64_t)ms;
    if (ms < 0)
        nx_buf_append_byte(out, '-');
    for (size_t i = 0; i < NX_ARRAY_LEN(duration_units); i++) {
        const struct unit *unit = &duration_units[i];
        uint64_t size = (uint64_t)unit->size;
        if (unit->is_exact && left % size != 0)
            continue;
        if (left / size > 0)
            nx_buf_printf(out, "%" PRIu64 "%s", left / size, unit->name);
        left %= size;
    }
}

nx_code config_parse_bytes(struct nx_str text, int64_t *out_bytes, struct nx_err *err)
{
    static const char letters[] = "KMGTPE";
    struct nx_str unit = text;
    struct nx_str digits;
    int64_t number;
    if (!cut_digits(&unit, &digits))
        return refuse(text, "not a size", err);
    if (!nx_str_to_i64(digits, &number))
        return refuse(text, "size out of range", err);
    unsigned power = 0;
    if (unit.len > 1) {
        const char *letter = memchr(letters, unit.data[0], sizeof(letters) - 1);
        bool is_known =
            letter != NULL && ((unit.len == 2 && unit.data[1] == 'B') ||
                               (unit.len == 3 && unit.data[1] == 'i' && unit.data[2] == 'B'));
        if (!is_known)
            return refuse(text, "not a size (number and KB, MB, GB, TB)", err);
        power = (unsigned)(letter - letters) + 1;
    } else if (unit.len == 1 && unit.data[0] != 'B') {
        return refuse(text, "not a size (number and KB, MB, GB, TB)", err);
    }
    for (unsigned i = 0; i < power; i++) {
        if (__builtin_mul_overflow(number, (int64_t)1024, &number))
            return refuse(text, "size out of range", err);
    }
    *out_bytes = number;
    return NX_OK;
}
