#!/usr/bin/env python3
"""Captures what real exporters send, and tells what their values do: where the generator's mix comes from (decision 009).

    bench/load/capture.py scrape DIR SECONDS EVERY NAME=URL...     one file a target, until SECONDS have passed
    bench/load/capture.py families DIR [NAME=WEIGHT...]            table of the families; DIR/NAME.bin for bench_size
"""

import collections
import math
import pathlib
import re
import statistics
import struct
import sys
import threading
import time
import urllib.request

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def scrape(directory, seconds, every, targets):
    def one(name, url, phase, end):
        with open(directory / f"{name}.txt", "a", encoding="utf-8") as out:
            while time.time() < end:
                now = time.time()
                time.sleep((phase - now) % every)
                begun = int(time.time() * 1000)
                with urllib.request.urlopen(url, timeout=10) as answer:
                    text = answer.read().decode()
                lines = [line + "\n" for line in text.split("\n") if line and line[0] != "#"]
                out.write(f"@{begun}\n" + "".join(lines))
                out.flush()
                time.sleep(every / 2)

    end = time.time() + seconds
    threads = [
        threading.Thread(target=one, args=(*target.split("=", 1), every * i / len(targets), end))
        for i, target in enumerate(targets)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def read(path):
    series = collections.defaultdict(lambda: ([], []))
    begun = 0
    for line in path.read_text(encoding="utf-8").split("\n"):
        if line.startswith("@"):
            begun = int(line[1:])
            continue
        end = line.rfind("}") + 1 or line.find(" ")
        try:
            value = float(line[end:].split()[0])
        except (IndexError, ValueError):
            continue
        series[line[:end]][0].append(begun)
        series[line[:end]][1].append(value)
    return series


def label_order(key):
    """Neighbours in a block: by name, then labels, bounds of buckets as numbers."""
    name, _, labels = key.partition("{")
    pairs = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels)
    return name, [(n, f"{float(v):030.9f}" if n == "le" and v != "+Inf" else v) for n, v in sorted(pairs)]


def decimals_of(value):
    """Digits behind the point of which a float64 is made, by one of the ways in which exporters divide; None: no decimal."""
    for k in range(10):
        q = round(value * 10**k)
        if q / 10**k == value or q * 10.0**-k == value:
            return k
    return 6 if round(value * 1e6) / 1000 / 1000 == value else None


def family_of(key, values):
    name = key.partition("{")[0]
    finite = [v for v in values if math.isfinite(v)]
    if len(set(map(struct.Struct("<d").pack, values))) == 1:
        return "constant", None
    if len(set(finite)) < 2:
        return "NaN beside one number", None
    decimals = [decimals_of(v) for v in finite]
    known = sorted(d for d in decimals if d is not None)
    k = known[-1] if 4 * len(known) >= 3 * len(decimals) else None
    unit = 10 ** (9 if k is None else k)
    if k == 0 and all(int(v) % 4096 == 0 for v in finite):
        unit, k = 1 / 4096, "pages"
    steps = [(b - a) * unit for a, b in zip(finite, finite[1:])]
    moved = [abs(s) for s in steps if s != 0]
    idle = 1 - len(moved) / len(steps)
    mean = statistics.mean(moved)
    shape = (idle, math.log2(mean), statistics.pstdev(moved) / mean)
    counter = all(s >= 0 for s in steps)
    if k == "pages":
        return "pages counter" if counter else "pages gauge", shape
    if name.endswith("_sum"):
        return "sum, doubles" if k is None else "sum, decimals", shape
    if k is None:
        return "doubles, counter" if counter else "doubles, gauge", shape
    if k > 0:
        return f"{k} decimals, " + ("counter" if counter else "gauge"), shape
    if name.endswith("_bucket"):
        return "bucket", shape
    if not counter:
        return "integer gauge", shape
    if idle >= 0.8:
        return "bursty counter" if mean >= 50 else "quiet counter", shape
    return "busy counter" if idle < 0.2 else "fitful counter", shape


def quantiles(rows, column):
    rows = sorted((shape[column], weight) for weight, shape in rows)
    total, out = sum(weight for _, weight in rows), []
    for share in QUANTILES:
        seen = 0
        for value, weight in rows:
            seen += weight
            if seen >= share * total * (1 - 1e-9):
                break
        out.append(f"{value:6.2f}")
    return " ".join(out)


def families(directory, weights):
    shapes, shares = collections.defaultdict(list), collections.Counter()
    for path in sorted(directory.glob("*.txt")):
        series = read(path)
        scrapes = max(len(times) for times, _ in series.values())
        whole = {key: row for key, row in series.items() if len(row[0]) >= 0.7 * scrapes}
        weight = weights.get(path.stem, 1) / len(whole)
        constant = 0
        with open(path.with_suffix(".bin"), "wb") as out:
            for key in sorted(whole, key=label_order):
                times, values = whole[key]
                out.write(struct.pack(f"<Q{len(times)}q{len(times)}d", len(times), *times, *values))
                family, shape = family_of(key, values)
                constant += family == "constant"
                shares[family] += weight
                if shape:
                    shapes[family].append((weight, shape))
        print(f"{path.stem}: {scrapes} scrapes, {len(whole)} series, {100 * constant / len(whole):.1f} % constant")
    changing = sum(shares.values()) - shares["constant"]
    print(f"family: part of the changing series | idle steps | log2 of the mean step | its variation, at {QUANTILES}")
    for family, share in shares.most_common():
        if shapes[family]:
            columns = " | ".join(quantiles(shapes[family], column) for column in range(3))
            print(f"{family:20} {100 * share / changing:5.1f} % ({len(shapes[family]):4}) | {columns}")


def main():
    if len(sys.argv) < 3 or sys.argv[1] not in ("scrape", "families"):
        sys.exit(__doc__)
    directory = pathlib.Path(sys.argv[2])
    directory.mkdir(parents=True, exist_ok=True)
    if sys.argv[1] == "scrape":
        scrape(directory, float(sys.argv[3]), float(sys.argv[4]), sys.argv[5:])
    else:
        families(directory, {name: float(w) for name, _, w in (a.partition("=") for a in sys.argv[3:])})


if __name__ == "__main__":
    main()
