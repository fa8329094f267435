/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_float_text.c - any text is read or refused without harm, and what is read or made of bits survives all forms.
 *
 * Input: the first 8 bytes are a float's bits; all of it is also text to read.
 */
#include "narthex/base/assert.h"
#include "narthex/base/float_text.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_round_trip(double value)
{
    size_t (*const forms[])(char[FLOAT_TEXT_MAX], double) = {float_text_f, float_text_e,
                                                             float_text_g, float_text_json};
    for (size_t i = 0; i < NX_ARRAY_LEN(forms); i++) {
        char text[FLOAT_TEXT_MAX];
        size_t len = forms[i](text, value);
        NX_ASSERT(len > 0 && len < FLOAT_TEXT_MAX);
        double back = 0;
        bool is_read = float_text_parse((struct nx_str){.data = text, .len = len}, &back);
        NX_ASSERT(is_read);
        NX_ASSERT(isnan(value) ? isnan(back) : memcmp(&back, &value, sizeof(value)) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    double value;
    if (size >= sizeof(value)) {
        memcpy(&value, data, sizeof(value));
        check_round_trip(value);
    }
    if (float_text_parse((struct nx_str){.data = (const char *)data, .len = size}, &value))
        check_round_trip(value);
    return 0;
}
