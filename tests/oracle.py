"""Counts again, from the files alone, what a run was asked and what it left. Imports nothing of jqcli.

Every non-blank line of the input has exactly one record; every line of an output parses and ends in a newline; no
record is double; no identity was executed more often than attempts, crashes and deaths of the parent allow.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

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


# By identity, where the input may have been edited between the runs. Keys are calculated again from the README's
# words, so payloads may hold texts, integers, and floats that Python and orjson write alike.

MADE = "made up"
UNUSABLE = object()
MEMBERS = {"payload", "id", "key"}  # those that are looked at here
SHARING = ("duplicate_of_dead", "key_conflict")  # reasons of letters whose job did not run


class Asked(NamedTuple):
    """A line of the input: its identity, its own id as JSON (or MADE), the id of its record."""

    identity: str
    own: str
    id: str


def hash_of(data):
    """Return the first 128 bits of BLAKE2b, in hexadecimal."""
    return blake2b(data).hexdigest()[:32]


def payload_hash(payload):
    """Return the hash of a payload in its canonical form."""
    return hash_of(json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())


def read_asked(data, stem="jobs"):
    """Return the lines of an input's bytes."""
    asked = []
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        made = canonical(f"{stem}:{number}")
        try:
            value = json.loads(line)
        except ValueError:
            value = UNUSABLE
        is_envelope = isinstance(value, dict) and "payload" in value
        if value is UNUSABLE or (is_envelope and value.keys() - MEMBERS):
            asked.append(Asked(hash_of(b"!" + line), MADE, made))
            continue
        hashed = payload_hash(value["payload"] if is_envelope else value)
        key = value.get("key") if is_envelope else None
        own = canonical(value["id"]) if is_envelope and "id" in value else MADE
        asked.append(Asked(hashed if key is None else f"={key}/{hashed}", own, made if own == MADE else own))
    return asked


def identity_of(record):
    """Return the identity that a record or letter says it has; the tag is the same in all of a test's."""
    text = record["key"].partition(":")[2]
    return f"{text}/{record['payload_hash']}" if "payload_hash" in record else text


def check_lines(now, results, letters, log=None, *, earlier=(), stem="jobs", deaths=0, crashes=0, remembered=()):
    """Return the count of a finished run over an input that may have been edited since earlier ones (bytes each).

    `remembered` are the records of a store that the run shared: what it did may have a record there alone.
    Every line that is in the input now has one record; there are no more of a kind than some version had lines, and
    none that no version asked for; of one identity one job ran, and the others share its fate.
    """
    count = read_outputs(results, letters)
    versions = [read_asked(data, stem) for data in (*earlier, now)]
    known = {(each.identity, each.id): each.own for version in versions for each in version}
    found = Counter()
    for record in (*count.results, *count.dead):
        place = identity_of(record), canonical(record["id"])
        assert place in known, f"nobody asked for {place}"
        found[place[0], known[place]] += 1
    wanted = [Counter((each.identity, each.own) for each in version) for version in versions]
    for kind, times in wanted[-1].items():
        assert found[kind] >= times, f"{found[kind]} records for {times} lines: {kind}"
    for kind, times in found.items():
        most = max(version[kind] for version in wanted)
        assert times <= most, f"{times} records for {most} lines: {kind}"
    _check_sharing(count, remembered, is_edited=bool(earlier))
    if log is not None:
        _check_work(count, read_lines(log), deaths, crashes, remembered, is_edited=bool(earlier))
    return count


def has_run(record):
    """Tell whether a record or letter is that of a job that ran itself."""
    if "status" not in record:
        return record["reason"] not in SHARING and record["attempts"] > 0
    return record["status"] != "duplicate"


def _check_sharing(count, remembered, *, is_edited):
    """Fail where two jobs of one identity ran, or where a duplicate has another fate than its first.

    A dead letter whose line stands elsewhere now, or is gone, does not keep a new line of its identity from running.
    """
    done, dead = {}, {}
    for record in filter(has_run, count.results):
        assert identity_of(record) not in done, f"ran twice: {record} and {done[identity_of(record)]}"
        done[identity_of(record)] = record
    for letter in filter(has_run, count.dead):
        dead.setdefault(identity_of(letter), []).append(letter)
    if not is_edited:
        twice = [identity for identity, letters in dead.items() if len(letters) > 1 or identity in done]
        assert not twice, f"ran twice: {twice}"
    elsewhere = {}
    for record in remembered:
        elsewhere.setdefault(identity_of(record), []).append(record)
    for record in count.results:
        if record["status"] == "duplicate":
            identity = identity_of(record)
            firsts = [*([done[identity]] if identity in done else ()), *elsewhere.get(identity, ())]
            assert record["duplicate_of"] in (None, *(first["id"] for first in firsts)), record
            results = [first.get("result") for first in firsts]
            assert record.get("result", results[0]) in results, record
    for letter in count.dead:
        if letter["reason"] == "duplicate_of_dead":
            assert letter["duplicate_of"] in (None, *(first["id"] for first in dead[identity_of(letter)])), letter


def hash_in(record):
    """Return the payload hash of a record or letter of a job."""
    return record.get("payload_hash", identity_of(record))


def _check_work(count, log, deaths, crashes, remembered, *, is_edited):
    """Fail where a payload ran more often than attempts and deaths allow, or less often than its records say."""
    count.executions = Counter(map(canonical, log))
    times, attempts = Counter(map(payload_hash, log)), Counter()
    for record in filter(has_run, (*count.results, *count.dead)):
        attempts[hash_in(record)] += record["attempts"]
    for hashed, tried in attempts.items():
        least, most = tried - crashes, tried * (1 + deaths) + crashes
        assert least <= times[hashed] <= most, f"{hashed} ran {times[hashed]} times; {tried} attempts, {deaths} deaths"
    unknown = times.keys() - set(map(hash_in, (*count.results, *count.dead, *remembered)))
    assert is_edited or not unknown, f"work without a record: {unknown}"


def read_store(path):
    """Return the records in a store, which a run may just have been killed over: from a copy, which is put in order."""
    with tempfile.TemporaryDirectory() as folder:
        for end in ("", "-journal"):
            if os.path.exists(f"{path}{end}"):
                shutil.copy(f"{path}{end}", f"{folder}/store{end}")
        with closing(sqlite3.connect(f"{folder}/store")) as sql:
            assert sql.execute("pragma integrity_check").fetchone() == ("ok",)
            if not sql.execute("select count(*) from sqlite_schema where name = 'log'").fetchone()[0]:
                return []
            rows = sql.execute("select keys, records from log").fetchall()
    records = [[json.loads(line) for line in text.split(b"\n")[:-1]] for _, text in rows]
    for (keys, _), lines in zip(rows, records, strict=True):
        assert len(keys) == 16 * len(lines), "a row of a store has not one record for each key"
    return [record for lines in records for record in lines]


def settled_payloads(results, letters, *, dead=True):
    """Return the payload hashes that have a record of a run by now; the last line of a file may be torn."""
    lines = (*read_lines_whole(results), *(read_lines_whole(letters) if dead else ()))
    return {hash_in(each) for each in lines if has_run(each)}


def times_run(log):
    """Count the executions in a side-effect log by payload hash; its last line may be torn."""
    return Counter(map(payload_hash, read_lines_whole(log)))
