#!/usr/bin/env bash
# Generator | jq-run | report: results are JSON Lines on stdout, people are spoken to on stderr.
# Set JQ_RUN to use another jq-run than the one on the PATH.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

charge() {
    # 1 says that there are dead letters: worth a look, and no reason to stop the pipe.
    local code=0
    "${JQ_RUN:-jq-run}" - -H charge --dlq pipeline.dlq.jsonl || code=$?
    [ "$code" -eq 1 ] || return "$code"
}

python3 make_jobs.py 100 | charge | python3 -c '
import collections, json, sys

cents = collections.Counter()
for record in map(json.loads, sys.stdin):
    if record["status"] == "completed" and "cents" in record["result"]:
        cents[record["result"]["region"]] += record["result"]["cents"]
for region, total in sorted(cents.items()):
    print(f"{region:6} {total / 100:10.2f}")
'
