"""Counts again, from the files alone, what a run was asked and what it left. Imports nothing of jqcli.

Every non-blank line of the input has exactly one record; every line of an output parses and ends in a newline; no
record is double; no identity was executed more often than attempts, crashes and deaths of the parent allow.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

STATUSES = ("completed", "duplicate", "skipped")


@dataclass
class Count:
    """What was found: result lines, dead letters, executions by payload."""

    results: list
    dead: list
    executions: Counter = field(default_factory=Counter)

    @property
    def records(self):
        """Results by the JSON text of their id."""
        return {canonical(record["id"]): record for record in self.results}

    @property
    def letters(self):
        """Dead letters by the JSON text of their id."""
        return {canonical(letter["id"]): letter for letter in self.dead}

    @property
    def statuses(self):
        """How many lines ended in which way."""
        found = Counter(record["status"] for record in self.results)
        return dict(found + Counter(dead=len(self.dead)))

    @property
    def reasons(self):
        """How many letters have which reason."""
        return dict(Counter(letter["reason"] for letter in self.dead))


def canonical(value):
    """Return a text that two payloads share only if they are equal."""
    return json.dumps(value, sort_keys=True)


def read_lines(path):
    """Return the parsed lines of an output; a missing file has none."""
    text = Path(path).read_bytes() if Path(path).exists() else b""
    assert not text or text.endswith(b"\n"), f"{path}: torn: {text[-80:]!r}"
    return [json.loads(line) for line in text.split(b"\n")[:-1]]


def read_lines_whole(path):
    """Return the parsed lines that end in a newline, of a file whose writer may have been killed."""
    text = Path(path).read_bytes() if Path(path).exists() else b""
    return [json.loads(line) for line in text.split(b"\n")[:-1]]


def read_executions(path):
    """Count the lines of a side-effect log, each a payload."""
    return Counter(canonical(payload) for payload in read_lines(path))


def expected_ids(path, stem=None):
    """Return the ids of the jobs of a plain-text input, as canonical JSON, in order."""
    stem = stem or Path(path).name.partition(".")[0]
    ids = []
    for number, line in enumerate(Path(path).read_bytes().split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        own = value.get("id") if isinstance(value, dict) and "payload" in value else None
        ids.append(canonical(f"{stem}:{number}" if own is None else own))
    return ids


def index(lines):
    """Return lines by id, none of them double."""
    double = [name for name, count in Counter(canonical(line["id"]) for line in lines).items() if count > 1]
    assert not double, f"recorded twice: {double[:5]}"
    return {canonical(line["id"]): line for line in lines}


def read_outputs(results, letters):
    """Return the count of two files, after what can be said of them alone."""
    count = Count(read_lines(results), read_lines(letters))
    assert all(record["status"] in STATUSES for record in count.results)
    bodies = {"job", "raw", "raw_base64"}
    assert all(letter["reason"] and len(bodies & letter.keys()) == 1 for letter in count.dead)
    return count


def check(ids, results, letters, log=None, *, deaths=0, crashes=0):
    """Return the count of a finished run; fails where a law is broken.

    `ids` are those of the input, `deaths` how often the parent died, `crashes` how many workers were killed from
    outside. Results in the tests echo their payload in `payload`, so executions can be matched with attempts.
    """
    count = read_outputs(results, letters)
    wanted, found = Counter(ids), Counter(canonical(line["id"]) for line in (*count.results, *count.dead))
    missing, extra = wanted - found, found - wanted
    assert not missing, f"no record: {sorted(missing)[:5]} of {len(missing)}"
    assert not extra, f"double, or no such job: {sorted(extra)[:5]} of {len(extra)}"
    if log is not None:
        count.executions = read_executions(log)
        _check_executions(count, deaths, crashes)
    return count


def _check_executions(count, deaths, crashes):
    attempts = Counter()
    for record in count.results:
        result = record.get("result")
        if isinstance(result, dict) and "payload" in result:  # of a duplicate too: it adds no attempts
            attempts[canonical(result["payload"])] += record.get("attempts", 0)
    for letter in count.dead:
        if isinstance(letter.get("job"), dict):
            attempts[canonical(letter["job"].get("payload", letter["job"]))] += letter["attempts"]
    for name, times in count.executions.items():
        if name in attempts:
            most = attempts[name] * (1 + deaths) + crashes
            assert times <= most, f"{name} ran {times} times; {attempts[name]} attempts, {deaths} deaths"
