"""The script that one would write instead: pool_script.py INPUT OUTPUT WORKERS CHUNKSIZE HANDLER."""

import multiprocessing
import sys

import handlers
import orjson

handler = getattr(handlers, sys.argv[5])


def work(line):
    job = orjson.loads(line)
    return orjson.dumps({"id": job["id"], "result": handler(job["payload"])}) + b"\n"


def main():
    source, output, workers, chunksize = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    with (
        open(source, "rb") as lines,
        open(output, "wb") as results,
        multiprocessing.Pool(workers) as pool,
    ):
        results.writelines(pool.imap_unordered(work, lines, chunksize))


if __name__ == "__main__":
    main()
