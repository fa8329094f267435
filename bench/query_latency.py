#!/usr/bin/env python3
"""Latency of a fixed set of queries over the data of docs/benchmarks.md, "Size": first run and median of seven, in ms.

    bench/query_latency.py http://127.0.0.1:9201 [EXTRA]      EXTRA is added to the query string, such as '&nocache=1'
"""

import json
import statistics
import sys
import time
import urllib.parse
import urllib.request

DAY = 86_400
RUNS = 7

QUERIES = [  # expression, span and step in seconds (0: instant)
    ("sum by (namespace) (rate(http_requests_total[5m]))", 6 * 3600, 30),
    ("histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket[5m])))", 6 * 3600, 30),
    ("topk(5, sum by (pod) (rate(container_network_receive_bytes_total[5m])))", 6 * 3600, 60),
    ('container_memory_working_set_bytes{namespace="payments-prod",container="server"}', 6 * 3600, 30),
    ("max by (node) (max_over_time(process_resident_memory_bytes[10m]))", 6 * 3600, 60),
    ("sum by (namespace) (rate(http_requests_total[10m]))", DAY, 300),
    ("avg by (namespace) (queue_utilization_ratio)", DAY, 300),
    ("sum(rate(http_requests_total[5m]))", 0, 0),
    ("topk(10, container_memory_working_set_bytes)", 0, 0),
    ('count by (__name__) ({__name__=~"container_.*"})', 0, 0),
]


def ask(url):
    begun = time.perf_counter()
    with urllib.request.urlopen(url) as answer:
        body = answer.read()
    return (time.perf_counter() - begun) * 1000, len(json.loads(body)["data"]["result"])


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    base, extra = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
    end = int(time.time()) // DAY * DAY - 30
    print(f"{'first':>8} {'median':>8}  series  query")
    for query, span, step in QUERIES:
        if span:
            path, params = "query_range", {"query": query, "start": end - span, "end": end, "step": step}
        else:
            path, params = "query", {"query": query, "time": end}
        url = f"{base}/api/v1/{path}?{urllib.parse.urlencode(params)}{extra}"
        runs = [ask(url) for _ in range(RUNS)]
        kind = f"{span // 3600} h / {step} s" if span else "instant"
        print(f"{runs[0][0]:8.1f} {statistics.median(t for t, _ in runs):8.1f}  {runs[0][1]:6}  {kind}: {query}")


if __name__ == "__main__":
    main()
