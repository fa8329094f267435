/* SPDX-License-Identifier: Apache-2.0 */
/* cxx_shim.cc - the only C++ of the program.
 *
 * Every function is noexcept: what a library throws (memory exhaustion alone) ends the process, as in mem.c.
 */
#include "cxx_shim.h"

#include <charconv>
#include <cstring>
#include <re2/re2.h>
#include <string>
#include <system_error>
#include <vector>

/* RE2's own default, written down: it bounds the program of one pattern and the automata that matching builds. */
static constexpr int64_t regex_bytes_max = 8 << 20;
/* Chosen: groups beyond this are not asked for. */
static constexpr int regex_groups_max = 100;

extern "C" size_t cxx_float_to_scientific(char *out, size_t out_size, double value) noexcept
{
    std::to_chars_result result =
        std::to_chars(out, out + out_size, value, std::chars_format::scientific);
    return result.ec == std::errc() ? static_cast<size_t>(result.ptr - out) : 0;
}

extern "C" enum cxx_float_status cxx_float_from_text(const char *text, size_t len,
                                                     double *out_value) noexcept
{
    double value = 0;
    std::from_chars_result result =
        std::from_chars(text, text + len, value, std::chars_format::general);
    if (result.ptr != text + len)
        return CXX_FLOAT_BAD;
    if (result.ec == std::errc::result_out_of_range)
        return CXX_FLOAT_RANGE;
    if (result.ec != std::errc())
        return CXX_FLOAT_BAD;
    *out_value = value;
    return CXX_FLOAT_OK;
}

/* The words of Go's regexp for the same mistakes: they reach users through Prometheus' error messages. */
static const char *error_text(RE2::ErrorCode code)
{
    switch (code) {
    case RE2::NoError:
    case RE2::ErrorInternal:
        break;
    case RE2::ErrorBadEscape:
        return "invalid escape sequence";
    case RE2::ErrorBadCharClass:
        return "invalid character class";
    case RE2::ErrorBadCharRange:
        return "invalid character class range";
    case RE2::ErrorMissingBracket:
        return "missing closing ]";
    case RE2::ErrorMissingParen:
        return "missing closing )";
    case RE2::ErrorUnexpectedParen:
        return "unexpected )";
    case RE2::ErrorTrailingBackslash:
        return "trailing backslash at end of expression";
    case RE2::ErrorRepeatArgument:
        return "missing argument to repetition operator";
    case RE2::ErrorRepeatSize:
        return "invalid repeat count";
    case RE2::ErrorRepeatOp:
        return "invalid nested repetition operator";
    case RE2::ErrorBadPerlOp:
        return "invalid or unsupported Perl syntax";
    case RE2::ErrorBadUTF8:
        return "invalid UTF-8";
    case RE2::ErrorBadNamedCapture:
        return "invalid named capture";
    case RE2::ErrorPatternTooLarge:
        return "expression too large";
    }
    return "internal error";
}

struct cxx_regex {
    RE2 re;
    std::vector<std::string> names; /* by group; empty: no name */

    cxx_regex(re2::StringPiece pattern, const RE2::Options &options) : re(pattern, options)
    {
    }
};

extern "C" struct cxx_regex *cxx_regex_new(const char *pattern, size_t len, char *reason,
                                           size_t reason_size) noexcept
{
    RE2::Options options;
    options.set_encoding(RE2::Options::EncodingUTF8);
    options.set_dot_nl(true);
    options.set_log_errors(false);
    options.set_max_mem(regex_bytes_max);
    cxx_regex *regex = new cxx_regex(re2::StringPiece(pattern, len), options);
    if (!regex->re.ok()) {
        std::string error = error_text(regex->re.error_code());
        if (!regex->re.error_arg().empty())
            error += ": `" + regex->re.error_arg() + "`";
        size_t bytes = error.size() < reason_size ? error.size() : reason_size - 1;
        std::memcpy(reason, error.data(), bytes);
        reason[bytes] = '\0';
        delete regex;
        return nullptr;
    }
    regex->names.resize(static_cast<size_t>(regex->re.NumberOfCapturingGroups()) + 1);
    for (const auto &pair : regex->re.CapturingGroupNames())
        regex->names[static_cast<size_t>(pair.first)] = pair.second;
    return regex;
}

extern "C" void cxx_regex_free(struct cxx_regex *regex) noexcept
{
    delete regex;
}

extern "C" bool cxx_regex_match(const struct cxx_regex *regex, const char *text, size_t len,
                                size_t *groups, int group_count) noexcept
{
    re2::StringPiece whole(text == nullptr ? "" : text, len);
    re2::StringPiece found[regex_groups_max];
    int asked = group_count < regex_groups_max ? group_count : regex_groups_max;
    if (!regex->re.Match(whole, 0, len, RE2::ANCHOR_BOTH, asked == 0 ? nullptr : found, asked))
        return false;
    for (int i = 0; i < group_count; i++) {
        bool took_part = i < asked && found[i].data() != nullptr;
        size_t begin = took_part ? static_cast<size_t>(found[i].data() - whole.data()) : 0;
        groups[2 * i] = took_part ? begin : CXX_REGEX_NO_GROUP;
        groups[2 * i + 1] = took_part ? begin + found[i].size() : CXX_REGEX_NO_GROUP;
    }
    return true;
}

extern "C" int cxx_regex_group_count(const struct cxx_regex *regex) noexcept
{
    return regex->re.NumberOfCapturingGroups();
}

extern "C" const char *cxx_regex_group_name(const struct cxx_regex *regex, int group,
                                            size_t *out_len) noexcept
{
    if (group < 1 || static_cast<size_t>(group) >= regex->names.size())
        return nullptr;
    const std::string &name = regex->names[static_cast<size_t>(group)];
    if (name.empty())
        return nullptr;
    *out_len = name.size();
    return name.data();
}
