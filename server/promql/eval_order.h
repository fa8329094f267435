/* eval_order.h - a stable sort of indices, for results whose order is the answer.
 *
 * Equal elements keep their order, as in Prometheus for up to twelve of them (it inserts them one by one).
 * `precedes` may say true both ways (NaN before NaN): then later ones come first, as with insertion.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef bool (*eval_precedes_fn)(const void *context, size_t a, size_t b);

/* Sorts order[0..count); `scratch` has room for as many. */
void eval_order_sort(size_t *order, size_t count, size_t *scratch, eval_precedes_fn precedes,
                     const void *context);
