#!/usr/bin/env python3
"""Reads the source as a reviewer would: bans, layers, preambles, stems, length. Prints what to use instead; exit 1 on a finding."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
FUNCTION_LINES_MAX = 90
LINE_COLUMNS_MAX = 120

# What may not be called, and what to call instead. Where: a regex of paths that are exempt.
BANNED = [
    (r"\b(strcpy|strcat|sprintf|vsprintf|gets)\s*\(", "snprintf, nx_buf_printf", None),
    (r"\b(strtok|gmtime|localtime|atoi|atol|atof|rand|srand|alloca)\s*\(", "base/str, base/rand, base/config", None),
    (r"(?<![\w.>])(malloc|calloc|realloc|free)\s*\(", "nx_alloc, nx_calloc, nx_realloc, nx_free",
     r"^server/base/|^tests/|^bench/load/process\.c|^server/block/lmdb_|^server/http/"),
    (r"(?<![\w.>])(printf|puts|fprintf|putchar)\s*\(", "log_info and its like", r"^server/main/|^bench/|^tests/|^server/base/"),
    (r"(?<![\w.>:])pthread_(mutex|cond|rwlock|create)", "base/thread", r"^server/base/|^include/narthex/base/|^tests/"),
]

# Third-party headers and the only places that may include them.
OWNERS = {
    r"<lmdb\.h>": r"^server/block/",
    r"<event2?/": r"^server/http/",
    r"<snappy-c\.h>": r"^server/codec/snappy\.c",
    r"<re2/": r"^server/base/.*\.cc",
    r"<roaring/": r"^server/(codec/postings|head/|block/)",
    r"<zstd\.h>": r"^server/codec/zstd_block\.c",
    r"<xxhash\.h>": r"^server/base/hash\.c",
    r"<yaml\.h>": r"^server/main/config_file\.c",
    r"<zlib\.h>": r"^(server/http/|tests/unit/http/)",
}

findings = []


def find(path, line, text):
    findings.append(f"{path}:{line}: {text}")


def strip_comments_and_strings(text):
    """Same length and lines, with comments and literals blanked: what is left is code."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group(0))
    return re.sub(r'/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


def layer_edges():
    """layer -> layers it may include, from cmake/layers.cmake, the one place where the edges are written."""
    edges = {}
    for name, rest in re.findall(r"^nx_layer\((\w+)([^)]*)\)", (ROOT / "cmake/layers.cmake").read_text(), re.M):
        uses = re.search(r"USES((?: \w+)*?)(?: LIBS|$)", rest.strip())
        edges[name] = {name} | set(uses.group(1).split() if uses else [])
    # What a used layer uses may be included, too.
    changed = True
    while changed:
        changed = False
        for uses in edges.values():
            more = set().union(*(edges[u] for u in uses if u in edges)) - uses
            if more:
                uses |= more
                changed = True
    return edges


def layer_of(path):
    parts = path.split("/")
    if parts[0] == "server":
        return parts[1]
    if parts[:2] == ["include", "narthex"]:
        return parts[2]
    return None


def check_includes(path, raw, edges):
    layer = layer_of(path)
    for number, line in enumerate(raw.splitlines(), 1):
        include = re.match(r'\s*#\s*include\s+(["<].*[">])', line)
        if not include:
            continue
        what = include.group(1)
        inner = re.match(r'"narthex/(\w+)/', what)
        if layer and inner and inner.group(1) not in edges[layer]:
            find(path, number, f"layer {layer} may not include {what}: cmake/layers.cmake has no such edge")
        for header, owner in OWNERS.items():
            if re.match(header, what) and not re.match(owner, path):
                find(path, number, f"{what} belongs behind its own module ({owner})")


def check_functions(path, code, raw_lines):
    """A function begins at a line that starts in column 0 and ends with its '{' in column 0."""
    lines = code.splitlines()
    begin = None
    for number, line in enumerate(lines, 1):
        if line.startswith("{"):
            begin = number
        elif line.startswith("}") and begin is not None:
            if number - begin > FUNCTION_LINES_MAX and "tidy: long" not in "".join(raw_lines[max(0, begin - 12):begin]):
                find(path, begin, f"function of {number - begin} lines; split it, or say why: /* tidy: long: reason */ above it")
            begin = None


def check_c(path, raw, edges):
    code = strip_comments_and_strings(raw)
    for number, line in enumerate(raw.splitlines(), 1):
        if "\t" in line:
            find(path, number, "tab; use spaces")
        if len(line) > LINE_COLUMNS_MAX:
            find(path, number, f"line of {len(line)} columns")
        if line != line.rstrip():
            find(path, number, "trailing white space")
    for number, line in enumerate(code.splitlines(), 1):
        if "//" in line:
            find(path, number, "// comment; use /* */")
        if re.search(r"\bgoto\s+(?!done\b|fail\b|out\b)", line):
            find(path, number, "goto to a label other than done or fail")
        for pattern, instead, exempt in BANNED:
            if re.search(pattern, line) and not (exempt and re.search(exempt, path)):
                find(path, number, f"{re.search(pattern, line).group(0).strip()} is banned; use {instead}")
    if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", raw):
        find(path, 1, "a marker for later; do it or write a decision")
    if path.endswith(".c") and not raw.startswith("/* SPDX-License-Identifier: Apache-2.0"):
        find(path, 1, "first line must be the SPDX comment")
    preamble = raw.split("#include")[0].replace("SPDX-License-Identifier: Apache-2.0", "")
    if path.startswith("server/") and path.endswith(".c") and len(re.findall(r"\w+", preamble)) < 5:
        find(path, 1, "no preamble: one sentence of purpose at least")
    if path.endswith(".h") and "#pragma once" not in raw:
        find(path, 1, "no #pragma once")
    check_includes(path, raw, edges)
    check_functions(path, code, raw.splitlines())


def check_everything(path, raw):
    for number, line in enumerate(raw.splitlines(), 1):
        if re.search(r"(^|[\s\"'(=])/(work|root|home)/", line):
            find(path, number, "a path of one machine")


def check_stems(files):
    """A stem names one module in the whole tree: one word finds one file (headers and their .c share it)."""
    owners = {}
    for path in files:
        if not re.match(r"(server|include)/.*\.(c|cc|h)$", path):
            continue
        stem = pathlib.PurePath(path).stem
        layer = layer_of(path)
        if owners.setdefault(stem, layer) != layer:
            find(path, 1, f"stem {stem} is also in layer {owners[stem]}")


def check_versions():
    project = re.search(r"project\(narthex VERSION ([\d.]+)", (ROOT / "CMakeLists.txt").read_text()).group(1)
    header = re.search(r'NARTHEX_VERSION "([\d.]+)"', (ROOT / "include/narthex/base/version.h").read_text()).group(1)
    if project != header:
        find("include/narthex/base/version.h", 1, f"version {header}, CMakeLists.txt says {project}")


def main():
    skip = ("build/", ".git", "data/", "tests/fuzz/corpus/", "tests/golden/")
    files = sorted(str(p.relative_to(ROOT)) for p in ROOT.rglob("*") if p.is_file())
    files = [f for f in files if not f.startswith(skip) and "__pycache__" not in f and "/bin/" not in f]
    edges = layer_edges()
    for path in files:
        try:
            raw = (ROOT / path).read_text()
        except UnicodeDecodeError:
            continue
        if re.search(r"\.(c|cc|h)$", path):
            check_c(path, raw, edges)
        if path != "tests/tidy/tidy.py":
            check_everything(path, raw)
    check_stems(files)
    check_versions()
    for line in findings:
        print(line)
    print(f"{len(files)} files read, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
