/* SPDX-License-Identifier: Apache-2.0 */
/* metrics.c - the table of metrics.def, its numbers, and its text.
 *
 *   cells[id][i]   counter: count of label value i         gauge: bits of a double
 *                  histogram: observations in bucket i, not cumulative; the one behind the last bound is +Inf
 *   sums[id]       histogram: bits of a double
 *
 * A scrape reads cell by cell: each number is exact, but two may be of slightly different moments. A histogram's
 * count is summed from the cells that were read, so that it always equals its +Inf bucket.
 */
#include "narthex/base/metrics.h"

#include "narthex/base/assert.h"
#include "narthex/base/float_text.h"
#include "narthex/base/thread.h"
#include "narthex/base/version.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define METRICS_HOOKS_MAX 16

enum metric_kind {
    METRIC_KIND_COUNTER,
    METRIC_KIND_GAUGE,
    METRIC_KIND_HISTOGRAM,
};

struct metric_row {
    const char *name;
    const char *help;
    enum metric_kind kind;
    const char *label;         /* NULL: none */
    const char *const *values; /* of the label */
    const double *bounds;      /* of a histogram, ascending */
    unsigned cell_count;
};

/* First the lists that rows point to, then the rows. */
#define METRIC_COUNTER(id, name, help)
#define METRIC_GAUGE(id, name, help)
#define METRIC_HISTOGRAM(id, name, help, ...)                                                      \
 static const double bounds_##id[] = {__VA_ARGS__};                                                \
 static_assert(NX_ARRAY_LEN(bounds_##id) <= METRICS_BUCKETS_MAX, "too many buckets");
#define METRIC_COUNTER_BY(id, name, help, label, ...)                                              \
 static const char *const values_##id[] = {__VA_ARGS__};                                           \
 static_assert(NX_ARRAY_LEN(values_##id) <= METRICS_LABEL_VALUES_MAX, "too many label values");
#define METRIC_GAUGE_BY(id, name, help, label, ...)                                                \
 METRIC_COUNTER_BY(id, name, help, label, __VA_ARGS__)
#include "narthex/base/metrics.def"
#undef METRIC_COUNTER
#undef METRIC_GAUGE
#undef METRIC_HISTOGRAM
#undef METRIC_COUNTER_BY
#undef METRIC_GAUGE_BY

static const struct metric_row rows[METRIC_COUNT] = {
#define METRIC_COUNTER(id, name, help)                                                             \
 [METRIC_##id] = {name, help, METRIC_KIND_COUNTER, NULL, NULL, NULL, 1},
#define METRIC_GAUGE(id, name, help)                                                               \
 [METRIC_##id] = {name, help, METRIC_KIND_GAUGE, NULL, NULL, NULL, 1},
#define METRIC_HISTOGRAM(id, name, help, ...)                                                      \
 [METRIC_##id] = {name,                                                                            \
                  help,                                                                            \
                  METRIC_KIND_HISTOGRAM,                                                           \
                  NULL,                                                                            \
                  NULL,                                                                            \
                  bounds_##id,                                                                     \
                  (unsigned)NX_ARRAY_LEN(bounds_##id) + 1},
#define METRIC_COUNTER_BY(id, name, help, label, ...)                                              \
 [METRIC_##id] = {name,                                                                            \
                  help,                                                                            \
                  METRIC_KIND_COUNTER,                                                             \
                  label,                                                                           \
                  values_##id,                                                                     \
                  NULL,                                                                            \
                  (unsigned)NX_ARRAY_LEN(values_##id)},
#define METRIC_GAUGE_BY(id, name, help, label, ...)                                                \
 [METRIC_##id] = {name,                                                                            \
                  help,                                                                            \
                  METRIC_KIND_GAUGE,                                                               \
                  label,                                                                           \
                  values_##id,                                                                     \
                  NULL,                                                                            \
                  (unsigned)NX_ARRAY_LEN(values_##id)},
#include "narthex/base/metrics.def"
#undef METRIC_COUNTER
#undef METRIC_GAUGE
#undef METRIC_HISTOGRAM
#undef METRIC_COUNTER_BY
#undef METRIC_GAUGE_BY
};

#define CELLS_MAX METRICS_LABEL_VALUES_MAX
static_assert(METRICS_BUCKETS_MAX + 1 <= CELLS_MAX, "a histogram's buckets fit in a row of cells");

static _Atomic uint64_t cells[METRIC_COUNT][CELLS_MAX];
static _Atomic uint64_t sums[METRIC_COUNT];

struct metrics_hook {
    metrics_collect_fn collect;
    void *context;
};

static struct nx_mutex hooks_lock = {.os = PTHREAD_MUTEX_INITIALIZER, .rank = LOCK_RANK_METRICS};
static struct metrics_hook hooks[METRICS_HOOKS_MAX]; /* [L:hooks_lock] */
static size_t hook_count;                            /* [L:hooks_lock] */

static uint64_t bits_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static double value_of(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static uint64_t cell_read(unsigned id, unsigned index)
{
    return atomic_load_explicit(&cells[id][index], memory_order_relaxed);
}

void metrics_add(enum metric_id id, uint64_t n)
{
    metrics_add_at(id, 0, n);
}

void metrics_add_at(enum metric_id id, unsigned label_index, uint64_t n)
{
    NX_DCHECK(rows[id].kind == METRIC_KIND_COUNTER && label_index < rows[id].cell_count);
    atomic_fetch_add_explicit(&cells[id][label_index], n, memory_order_relaxed);
}

void metrics_set(enum metric_id id, double value)
{
    metrics_set_at(id, 0, value);
}

void metrics_set_at(enum metric_id id, unsigned label_index, double value)
{
    NX_DCHECK(rows[id].kind == METRIC_KIND_GAUGE && label_index < rows[id].cell_count);
    atomic_store_explicit(&cells[id][label_index], bits_of(value), memory_order_relaxed);
}

void metrics_observe(enum metric_id id, double value)
{
    const struct metric_row *row = &rows[id];
    NX_DCHECK(row->kind == METRIC_KIND_HISTOGRAM);
    unsigned bucket = 0;
    while (bucket + 1 < row->cell_count && !(value <= row->bounds[bucket]))
        bucket++;
    atomic_fetch_add_explicit(&cells[id][bucket], 1, memory_order_relaxed);
    uint64_t before = atomic_load_explicit(&sums[id], memory_order_relaxed);
    uint64_t after;
    do {
        after = bits_of(value_of(before) + value);
    } while (!atomic_compare_exchange_weak_explicit(&sums[id], &before, after, memory_order_relaxed,
                                                    memory_order_relaxed));
}

uint64_t metrics_get(enum metric_id id)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < rows[id].cell_count; i++)
        total += cell_read(id, i);
    return total;
}

void metrics_on_collect(metrics_collect_fn collect, void *context)
{
    mutex_lock(&hooks_lock);
    NX_ASSERT(hook_count < METRICS_HOOKS_MAX);
    hooks[hook_count++] = (struct metrics_hook){.collect = collect, .context = context};
    mutex_unlock(&hooks_lock);
}

void metrics_off_collect(metrics_collect_fn collect, void *context)
{
    mutex_lock(&hooks_lock);
    for (size_t i = 0; i < hook_count; i++) {
        if (hooks[i].collect == collect && hooks[i].context == context) {
            hook_count--;
            memmove(&hooks[i], &hooks[i + 1], (hook_count - i) * sizeof(hooks[0]));
            break;
        }
    }
    mutex_unlock(&hooks_lock);
}

static void render_head(struct nx_buf *out, const char *name, const char *help, const char *type)
{
    nx_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void render_float(struct nx_buf *out, double value)
{
    char text[FLOAT_TEXT_MAX];
    nx_buf_append(out, text, float_text_g(text, value));
}

static void render_sample(struct nx_buf *out, const char *name, double value)
{
    nx_buf_printf(out, "%s ", name);
    render_float(out, value);
    nx_buf_append_byte(out, '\n');
}

static void render_histogram(struct nx_buf *out, unsigned id)
{
    const struct metric_row *row = &rows[id];
    uint64_t count = 0;
    for (unsigned i = 0; i < row->cell_count; i++) {
        count += cell_read(id, i);
        nx_buf_printf(out, "%s_bucket{le=\"", row->name);
        if (i + 1 < row->cell_count)
            render_float(out, row->bounds[i]);
        else
            nx_buf_append_cstr(out, "+Inf");
        nx_buf_printf(out, "\"} %" PRIu64 "\n", count);
    }
    nx_buf_printf(out, "%s_sum ", row->name);
    render_float(out, value_of(atomic_load_explicit(&sums[id], memory_order_relaxed)));
    nx_buf_printf(out, "\n%s_count %" PRIu64 "\n", row->name, count);
}

static void render_row(struct nx_buf *out, unsigned id)
{
    static const char *const types[] = {
        [METRIC_KIND_COUNTER] = "counter",
        [METRIC_KIND_GAUGE] = "gauge",
        [METRIC_KIND_HISTOGRAM] = "histogram",
    };
    const struct metric_row *row = &rows[id];
    render_head(out, row->name, row->help, types[row->kind]);
    if (row->kind == METRIC_KIND_HISTOGRAM) {
        render_histogram(out, id);
        return;
    }
    for (unsigned i = 0; i < row->cell_count; i++) {
        nx_buf_append_cstr(out, row->name);
        if (row->label != NULL)
            nx_buf_printf(out, "{%s=\"%s\"}", row->label, row->values[i]);
        nx_buf_append_byte(out, ' ');
        if (row->kind == METRIC_KIND_COUNTER)
            nx_buf_printf(out, "%" PRIu64, cell_read(id, i));
        else
            render_float(out, value_of(cell_read(id, i)));
        nx_buf_append_byte(out, '\n');
    }
}

/* A small file of /proc, cut at the size of `text`. */
static struct nx_str read_proc(const char *path, char *text, size_t size)
{
    struct nx_str content = {.data = text};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return content;
    ssize_t got;
    while (content.len < size && (got = read(fd, text + content.len, size - content.len)) > 0)
        content.len += (size_t)got;
    close(fd);
    return content;
}

/* Field `number` of /proc/self/stat, counted as proc(5) does; 0 when it is missing. Fields up to 2 hold the name, which
 * may contain anything, so counting starts behind its closing parenthesis. */
static uint64_t stat_field(struct nx_str stat, unsigned number)
{
    const char *close_paren = stat.len == 0 ? NULL : memrchr(stat.data, ')', stat.len);
    if (close_paren == NULL)
        return 0;
    const char *begin = close_paren + 2;
    const char *end = stat.data + stat.len;
    struct nx_str rest = {.data = begin, .len = begin < end ? (size_t)(end - begin) : 0};
    struct nx_str field = {0};
    for (unsigned i = 3; i <= number; i++) {
        struct nx_str behind;
        nx_str_split(rest, ' ', &field, &behind);
        rest = behind;
    }
    uint64_t value = 0;
    return nx_str_to_u64(nx_str_trim(field), &value) ? value : 0;
}

/* Seconds since the epoch at which the machine started, from the line "btime N" of /proc/stat. */
static uint64_t boot_time_seconds(void)
{
    char text[16384];
    struct nx_str rest = read_proc("/proc/stat", text, sizeof(text));
    struct nx_str line;
    uint64_t seconds = 0;
    while (nx_str_split(rest, '\n', &line, &rest)) {
        if (!nx_str_starts_with(line, NX_STR("btime ")))
            continue;
        line.data += 6;
        line.len -= 6;
        return nx_str_to_u64(nx_str_trim(line), &seconds) ? seconds : 0;
    }
    return 0;
}

static unsigned open_fd_count(void)
{
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL)
        return 0;
    unsigned count = 0;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count > 0 ? count - 1 : 0; /* one is ours */
}

static void render_process(struct nx_buf *out)
{
    char text[2048];
    struct nx_str stat = read_proc("/proc/self/stat", text, sizeof(text));
    double ticks = (double)sysconf(_SC_CLK_TCK);
    double page_bytes = (double)sysconf(_SC_PAGESIZE);
    struct rlimit files = {0};
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        files.rlim_cur = 0;
    const struct {
        const char *name;
        const char *help;
        const char *type;
        double value;
    } samples[] = {
        {"process_cpu_seconds_total", "Processor time spent, user and system.", "counter",
         (double)(stat_field(stat, 14) + stat_field(stat, 15)) / ticks},
        {"process_resident_memory_bytes", "Resident memory.", "gauge",
         (double)stat_field(stat, 24) * page_bytes},
        {"process_virtual_memory_bytes", "Virtual memory.", "gauge", (double)stat_field(stat, 23)},
        {"process_open_fds", "Open file descriptors.", "gauge", open_fd_count()},
        {"process_max_fds", "Limit of open file descriptors.", "gauge", (double)files.rlim_cur},
        {"process_start_time_seconds", "Start of the process, seconds since the epoch.", "gauge",
         (double)boot_time_seconds() + (double)stat_field(stat, 22) / ticks},
    };
    for (size_t i = 0; i < NX_ARRAY_LEN(samples); i++) {
        render_head(out, samples[i].name, samples[i].help, samples[i].type);
        render_sample(out, samples[i].name, samples[i].value);
    }
}

void metrics_render(struct nx_buf *out)
{
    mutex_lock(&hooks_lock);
    for (size_t i = 0; i < hook_count; i++)
        hooks[i].collect(hooks[i].context);
    mutex_unlock(&hooks_lock);
    for (unsigned id = 0; id < METRIC_COUNT; id++)
        render_row(out, id);
    render_head(out, "narthex_build_info", "Always 1; the version of this program is in the label.",
                "gauge");
    nx_buf_append_cstr(out, "narthex_build_info{version=\"" NARTHEX_VERSION "\"} 1\n");
    render_process(out);
}
