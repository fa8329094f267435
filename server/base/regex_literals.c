/* SPDX-License-Identifier: Apache-2.0 */
/* regex_literals.c - which strings a pattern can match, when they are few; and how every match begins.
 *
 * A recursive descent over the pattern keeps for each part a list of strings and a flag:
 *   exact      the part matches exactly the strings of the list;
 *   not exact  every match of the part begins with one of them.
 * Concatenation multiplies lists while the left side is exact and ignores what comes after that; alternation unites
 * them. A list that grows too large is replaced by its longest common prefix, not exact.
 *
 * Understood: literal characters, escaped ASCII punctuation, \n and its like, groups, alternation, classes of plain
 * ASCII characters, `?`. Known in length only, hence not exact: other classes, `.`, `*`, `+`, {n,m}, assertions. At
 * anything else (flags, \Q, \x, ...) the analysis gives up as a whole, so it never guesses. ^ and $ are dropped where
 * the anchoring at both ends makes them say nothing.
 */
#include "narthex/base/assert.h"
#include "narthex/base/regex.h"

#include "regex_internal.h"

#include <stdlib.h>
#include <string.h>

#define ANALYSIS_DEPTH_MAX 64                  /* chosen: nobody nests so deep by hand */
#define ANALYSIS_TEXT_MAX  ((size_t)256 << 10) /* chosen: bytes of all strings of one list */

struct part {
    struct nx_str *strings;
    size_t count;
    bool is_exact;
};

struct parser {
    struct arena *arena;
    const char *next;
    const char *end;
    unsigned depth;
    bool has_given_up;
};

static struct part give_up(struct parser *parser)
{
    parser->has_given_up = true;
    return (struct part){0};
}

/* A list of one string; a view, not copied. */
static struct part part_of(struct parser *parser, struct nx_str s, bool is_exact)
{
    struct nx_str *strings = arena_alloc(parser->arena, sizeof(*strings));
    if (strings == NULL)
        return give_up(parser);
    *strings = s;
    return (struct part){.strings = strings, .count = 1, .is_exact = is_exact};
}

static struct part part_unknown(struct parser *parser)
{
    return part_of(parser, (struct nx_str){0}, false);
}

static struct nx_str common_prefix(const struct part *part)
{
    struct nx_str prefix = part->strings[0];
    for (size_t i = 1; i < part->count; i++) {
        size_t same = 0;
        struct nx_str s = part->strings[i];
        while (same < prefix.len && same < s.len && prefix.data[same] == s.data[same])
            same++;
        prefix.len = same;
    }
    return prefix;
}

static struct part shortened(struct parser *parser, const struct part *part)
{
    return part_of(parser, common_prefix(part), false);
}

static size_t text_bytes(const struct part *part)
{
    size_t bytes = 0;
    for (size_t i = 0; i < part->count; i++)
        bytes += part->strings[i].len;
    return bytes;
}

static struct part concatenate(struct parser *parser, struct part left, struct part right)
{
    if (parser->has_given_up || !left.is_exact)
        return left;
    size_t bytes = text_bytes(&left) * right.count + text_bytes(&right) * left.count;
    if (left.count * right.count > REGEX_LITERALS_MAX || bytes > ANALYSIS_TEXT_MAX)
        return shortened(parser, &left);
    if (right.count == 1 && right.strings[0].len == 0) {
        left.is_exact = right.is_exact;
        return left;
    }
    struct part product = {.count = left.count * right.count, .is_exact = right.is_exact};
    product.strings = arena_alloc(parser->arena, product.count * sizeof(*product.strings));
    char *text = arena_alloc(parser->arena, bytes);
    if (product.strings == NULL || text == NULL)
        return give_up(parser);
    struct nx_str *to = product.strings;
    for (size_t i = 0; i < left.count; i++) {
        for (size_t j = 0; j < right.count; j++) {
            struct nx_str a = left.strings[i];
            struct nx_str b = right.strings[j];
            *to++ = (struct nx_str){.data = text, .len = a.len + b.len};
            if (a.len > 0)
                memcpy(text, a.data, a.len);
            if (b.len > 0)
                memcpy(text + a.len, b.data, b.len);
            text += a.len + b.len;
        }
    }
    return product;
}

/* Adds the strings of `more`; *cap is the room in whole->strings. */
static void unite(struct parser *parser, struct part *whole, size_t *cap, struct part more)
{
    if (parser->has_given_up)
        return;
    bool is_exact = whole->is_exact && more.is_exact;
    if (whole->count + more.count > *cap) {
        size_t new_cap = (whole->count + more.count) * 2;
        struct nx_str *strings = arena_grow(parser->arena, whole->strings, *cap * sizeof(*strings),
                                            new_cap * sizeof(*strings));
        if (strings == NULL) {
            parser->has_given_up = true;
            return;
        }
        whole->strings = strings;
        *cap = new_cap;
    }
    memcpy(whole->strings + whole->count, more.strings, more.count * sizeof(*more.strings));
    whole->count += more.count;
    whole->is_exact = is_exact;
}

static bool is_at(const struct parser *parser, char c)
{
    return parser->next < parser->end && *parser->next == c;
}

static bool is_punctuation(char c)
{
    return c > ' ' && c < 0x7f && !(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') &&
           !(c >= 'A' && c <= 'Z');
}

/* Behind the '{' of a repetition: reads {n}, {n,} or {n,m}. False when it is none. */
static bool parse_repetition(struct parser *parser, bool *out_is_optional)
{
    const char *p = parser->next + 1;
    const char *digits = p;
    bool is_zero = true;
    for (; p < parser->end && *p >= '0' && *p <= '9'; p++)
        is_zero = is_zero && *p == '0';
    if (p == digits)
        return false;
    if (p < parser->end && *p == ',') {
        p++;
        while (p < parser->end && *p >= '0' && *p <= '9')
            p++;
    }
    if (p == parser->end || *p != '}')
        return false;
    parser->next = p + 1;
    *out_is_optional = is_zero;
    return true;
}

static struct part with_empty(struct parser *parser, struct part item)
{
    struct part whole = {.is_exact = true};
    size_t cap = 0;
    unite(parser, &whole, &cap, item);
    unite(parser, &whole, &cap, part_of(parser, (struct nx_str){0}, true));
    return parser->has_given_up ? (struct part){0} : whole;
}

static bool is_at_quantifier(const struct parser *parser)
{
    return is_at(parser, '*') || is_at(parser, '+') || is_at(parser, '?') || is_at(parser, '{');
}

/* `item` with the quantifier behind it, if any. */
static struct part quantified(struct parser *parser, struct part item)
{
    if (parser->has_given_up || !is_at_quantifier(parser))
        return item;
    bool is_optional = true;
    bool is_question = is_at(parser, '?');
    if (is_at(parser, '{')) {
        if (!parse_repetition(parser, &is_optional))
            return give_up(parser);
    } else {
        is_optional = !is_at(parser, '+');
        parser->next++;
    }
    if (is_at(parser, '?'))
        parser->next++; /* lazy: the same language */
    if (is_at_quantifier(parser))
        return give_up(parser);
    if (is_question)
        return with_empty(parser, item);
    if (is_optional)
        return part_unknown(parser);
    item.is_exact = false;
    return item;
}

/* Steps over a class; *out_length is the number of plain ASCII characters in it, 0 when it holds anything else. */
static bool skip_class(struct parser *parser, size_t *out_length)
{
    const char *p = parser->next + 1;
    bool is_plain = true;
    if (p < parser->end && (*p == '^' || *p == ']')) {
        is_plain = false;
        if (*p == '^')
            p++;
        if (p < parser->end && *p == ']')
            p++;
    }
    const char *first = p;
    while (p < parser->end && *p != ']') {
        if (*p == '-' || *p == '\\' || *p == '[' || (unsigned char)*p >= 0x80)
            is_plain = false;
        if (*p == '\\') {
            p += parser->end - p > 1 ? 2 : 1;
        } else if (*p == '[' && parser->end - p > 1 && p[1] == ':') {
            const char *close = memmem(p + 2, (size_t)(parser->end - p) - 2, ":]", 2);
            if (close == NULL)
                return false;
            p = close + 2;
        } else {
            p++;
        }
    }
    if (p == parser->end)
        return false;
    *out_length = is_plain ? (size_t)(p - first) : 0;
    parser->next = p + 1;
    return true;
}

static struct part parse_class(struct parser *parser)
{
    const char *first = parser->next + 1;
    size_t length;
    if (!skip_class(parser, &length))
        return give_up(parser);
    if (length == 0)
        return part_unknown(parser);
    struct nx_str *strings = arena_alloc(parser->arena, length * sizeof(*strings));
    if (strings == NULL)
        return give_up(parser);
    for (size_t i = 0; i < length; i++)
        strings[i] = (struct nx_str){.data = first + i, .len = 1};
    return (struct part){.strings = strings, .count = length, .is_exact = true};
}

/* \p{Name}, \pN and the negations: one character, unknown which. */
static struct part parse_unicode_class(struct parser *parser)
{
    parser->next += 2;
    if (parser->next == parser->end)
        return give_up(parser);
    if (!is_at(parser, '{')) {
        parser->next++;
        return part_unknown(parser);
    }
    const char *close = memchr(parser->next, '}', (size_t)(parser->end - parser->next));
    if (close == NULL)
        return give_up(parser);
    parser->next = close + 1;
    return part_unknown(parser);
}

static struct part parse_escape(struct parser *parser)
{
    if (parser->end - parser->next < 2)
        return give_up(parser);
    char c = parser->next[1];
    if (c == 'p' || c == 'P')
        return parse_unicode_class(parser);
    parser->next += 2;
    if (is_punctuation(c))
        return part_of(parser, (struct nx_str){.data = parser->next - 1, .len = 1}, true);
    static const char names[] = "afnrtv";
    static const char meanings[] = "\a\f\n\r\t\v";
    const char *named = memchr(names, c, sizeof(names) - 1);
    if (named != NULL)
        return part_of(parser, (struct nx_str){.data = meanings + (named - names), .len = 1}, true);
    if (memchr("dDsSwWbBAz", c, 10) != NULL)
        return part_unknown(parser);
    return give_up(parser);
}

static struct part parse_alternatives(struct parser *parser);

static struct part parse_group(struct parser *parser)
{
    parser->next++;
    if (is_at(parser, '?')) {
        struct nx_str rest = {.data = parser->next, .len = (size_t)(parser->end - parser->next)};
        if (nx_str_starts_with(rest, NX_STR("?:"))) {
            parser->next += 2;
        } else if (nx_str_starts_with(rest, NX_STR("?P<"))) {
            const char *close = memchr(rest.data, '>', rest.len);
            if (close == NULL)
                return give_up(parser);
            parser->next = close + 1;
        } else {
            return give_up(parser);
        }
    }
    if (parser->depth == ANALYSIS_DEPTH_MAX)
        return give_up(parser);
    parser->depth++;
    struct part inner = parse_alternatives(parser);
    parser->depth--;
    if (!is_at(parser, ')'))
        return give_up(parser);
    parser->next++;
    return inner;
}

static size_t character_bytes(const struct parser *parser)
{
    const char *p = parser->next + 1;
    while (p < parser->end && ((unsigned char)*p & 0xc0) == 0x80)
        p++;
    return (size_t)(p - parser->next);
}

/* ^ and $ at the ends of an outermost alternative repeat the anchoring and match nothing by themselves. */
static struct part parse_anchor(struct parser *parser, bool is_first)
{
    bool is_begin = *parser->next == '^';
    parser->next++;
    bool is_last = parser->next == parser->end || *parser->next == '|';
    bool is_idle =
        parser->depth == 0 && (is_begin ? is_first : is_last) && !is_at_quantifier(parser);
    return part_of(parser, (struct nx_str){0}, is_idle);
}

static struct part parse_item(struct parser *parser, bool is_first)
{
    switch (*parser->next) {
    case '(':
        return parse_group(parser);
    case '[':
        return parse_class(parser);
    case '\\':
        return parse_escape(parser);
    case '.':
        parser->next++;
        return part_unknown(parser);
    case '^':
    case '$':
        return parse_anchor(parser, is_first);
    case '*':
    case '+':
    case '?':
    case '{':
    case ')':
        return give_up(parser);
    default: {
        struct nx_str character = {.data = parser->next, .len = character_bytes(parser)};
        parser->next += character.len;
        return part_of(parser, character, true);
    }
    }
}

/* The run of literal characters that stands here, quantified ones left out: one step instead of one per character. */
static struct part parse_literals(struct parser *parser)
{
    const char *first = parser->next;
    while (parser->next < parser->end && memchr("([\\.^$*+?{)|", *parser->next, 12) == NULL) {
        const char *before = parser->next;
        parser->next += character_bytes(parser);
        if (is_at_quantifier(parser)) {
            parser->next = before;
            break;
        }
    }
    return part_of(parser, (struct nx_str){.data = first, .len = (size_t)(parser->next - first)},
                   true);
}

static struct part parse_sequence(struct parser *parser)
{
    struct part whole = part_of(parser, (struct nx_str){0}, true);
    bool is_first = true;
    while (!parser->has_given_up && parser->next < parser->end && *parser->next != '|') {
        if (*parser->next == ')' && parser->depth > 0)
            break;
        const char *before = parser->next;
        struct part item = parse_literals(parser);
        if (parser->next == before)
            item = quantified(parser, parse_item(parser, is_first));
        whole = concatenate(parser, whole, item);
        is_first = false;
    }
    return whole;
}

static struct part parse_alternatives(struct parser *parser)
{
    struct part whole = parse_sequence(parser);
    size_t cap = whole.count;
    while (!parser->has_given_up && is_at(parser, '|')) {
        parser->next++;
        unite(parser, &whole, &cap, parse_sequence(parser));
        if (!parser->has_given_up && whole.count > REGEX_LITERALS_MAX) {
            whole = shortened(parser, &whole);
            cap = whole.count;
        }
    }
    return whole;
}

static int compare_strings(const void *a, const void *b)
{
    return nx_str_cmp(*(const struct nx_str *)a, *(const struct nx_str *)b);
}

static size_t sort_distinct(struct nx_str *strings, size_t count)
{
    qsort(strings, count, sizeof(*strings), compare_strings);
    size_t kept = 1;
    for (size_t i = 1; i < count; i++) {
        if (!nx_str_eq(strings[i], strings[kept - 1]))
            strings[kept++] = strings[i];
    }
    return kept;
}

struct regex_analysis regex_analyze(struct nx_str pattern, struct arena *arena)
{
    /* A copy: the strings of the result may be views of it. */
    struct nx_str text = arena_strdup(arena, pattern);
    if (text.data == NULL)
        return (struct regex_analysis){0};
    struct parser parser = {.arena = arena, .next = text.data, .end = text.data + text.len};
    struct part whole = parse_alternatives(&parser);
    if (parser.has_given_up || parser.next != parser.end)
        return (struct regex_analysis){0};
    NX_ASSERT(whole.count > 0);
    struct regex_analysis analysis = {.prefix = common_prefix(&whole)};
    if (whole.is_exact) {
        analysis.literal_count = sort_distinct(whole.strings, whole.count);
        analysis.literals = whole.strings;
    }
    return analysis;
}
