"""One process, one loop over every PARTS-th line: serial_script.py INPUT OUTPUT HANDLER PART PARTS."""

import sys
from itertools import islice

import handlers
import orjson


def main():
    source, output, name = sys.argv[1:4]
    part, parts = map(int, sys.argv[4:6])
    handler = getattr(handlers, name)
    with open(source, "rb") as lines, open(output, "wb") as results:
        for line in islice(lines, part, None, parts):
            job = orjson.loads(line)
            results.write(orjson.dumps({"id": job["id"], "result": handler(job["payload"])}) + b"\n")


if __name__ == "__main__":
    main()
