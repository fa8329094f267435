/* SPDX-License-Identifier: Apache-2.0 */
/* eval_order.c - a bottom-up merge sort: runs of 1, 2, 4, ... are merged between the array and the scratch. */
#include "eval_order.h"

#include <string.h>

static void merge_runs(const size_t *from, size_t low, size_t middle, size_t high, size_t *to,
                       eval_precedes_fn precedes, const void *context)
{
    size_t left = low;
    size_t right = middle;
    for (size_t i = low; i < high; i++) {
        bool takes_right =
            left == middle || (right < high && precedes(context, from[right], from[left]));
        to[i] = takes_right ? from[right++] : from[left++];
    }
}

void eval_order_sort(size_t *order, size_t count, size_t *scratch, eval_precedes_fn precedes,
                     const void *context)
{
    size_t *from = order;
    size_t *to = scratch;
    for (size_t width = 1; width < count; width *= 2) {
        for (size_t low = 0; low < count; low += 2 * width) {
            size_t middle = low + width < count ? low + width : count;
            size_t high = low + 2 * width < count ? low + 2 * width : count;
            merge_runs(from, low, middle, high, to, precedes, context);
        }
        size_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != order && count > 0)
        memcpy(order, from, count * sizeof(*order));
}
