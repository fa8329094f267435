/* admission.h - whether the head may make one more series: memory, and how many came in the last minute. */
#pragma once

#include "narthex/base/clock.h"
#include "narthex/base/mem_budget.h"
#include "narthex/base/token_bucket.h"
#include "narthex/head/head.h"

struct admission {
    struct mem_budget *budget; /* [I] borrowed, may be NULL */
    const struct clock *clock; /* [I] borrowed */
    struct token_bucket bucket;
};

void admission_init(struct admission *admission, struct mem_budget *budget,
                    uint64_t new_series_per_minute, const struct clock *clock);
/* As head_options.admit; `context` is a struct admission. Series that are loaded at a start do not come here. */
enum append_result admission_series(void *context, struct labels labels);
