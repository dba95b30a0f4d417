"""The files are the journal: reads from results and letters of earlier runs what is settled.

Our own records begin in a known way, so a block of them is read by one regular expression, checked to have matched
every line of it; only a block that holds anything else is read line by line.
"""

from __future__ import annotations

import os
import re
from struct import Struct
from typing import TYPE_CHECKING, Any

import orjson

from jqcli.core.codec import RECORD_START, key_of_text
from jqcli.core.prepare import id_text
from jqcli.core.settled import Settled, claim_key
from jqcli.errors import FileError, ForeignFileError
from jqcli.model import First

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BLOCK = 1 << 18  # a record is looked for in its whole block, so that is small
_ID = rb'("[^"\\\n]*+"|-?[0-9]+)'  # one with an escape in it is read the long way
_STATUSES = {b"completed": "completed", b"duplicate": "duplicate", b"skipped": "skipped"}


def read_results(fd: int, path: str, tag: str, settled: Settled, explain: Callable[[str], str]) -> None:
    """Remember every record of a results file; raises ForeignFileError where one is not this run's.

    `explain` says what another tag means.
    """
    plain = re.compile(
        rb'^\{"id":' + _ID + rb',"key":"' + tag.encode() + rb':([0-9a-f]{32})","status":"(completed|duplicate|skipped)"'
        rb"[^\n]*\}$",
        re.MULTILINE,
    )
    for offset, block in _read_blocks(fd, path):
        found = plain.findall(block)
        if len(found) == block.count(b"\n"):
            ids, keys, statuses = zip(*found, strict=True)
            raw = bytes.fromhex(b"".join(keys).decode())
            settled.add_all(Struct("16s" * len(keys)).unpack(raw), ids, statuses, offset)
            continue
        at = offset
        for line in block.split(b"\n")[:-1]:
            _add_record(line, at, path, tag, settled, explain)
            at += len(line) + 1


def _add_record(line: bytes, at: int, path: str, tag: str, settled: Settled, explain: Callable[[str], str]) -> None:
    record = _parse(line)
    if record is None or record.get("status") not in _STATUSES.values():
        raise ForeignFileError(f"{path}: holds lines that are no results of ours (byte {at}); choose another --output")
    found_tag, text = _split_key(record, path)
    if found_tag != tag:
        raise ForeignFileError(f"{path}: {explain(found_tag)}; --fresh starts over, another --output goes beside it")
    key = key_of_text(text)
    payload_hash = bytes.fromhex(record["payload_hash"]) if "payload_hash" in record else None
    if payload_hash is not None and record["status"] != "duplicate":
        settled.owners.setdefault(key, payload_hash)
    match = RECORD_START.match(line)
    own_id = match[1] if match else id_text(record["id"])
    settled.add(claim_key(key, payload_hash), own_id, record["status"], at)


def read_letters(fd: int, path: str, tag: str, output: str | None, settled: Settled) -> int:
    """Remember the letters of this command line; return how many. Others' are left alone; `output` None has none."""
    count = 0
    for offset, block in _read_blocks(fd, path):
        at = offset
        for line in block.split(b"\n")[:-1]:
            letter = _parse(line)
            if letter is None or "reason" not in letter:
                raise ForeignFileError(
                    f"{path}: holds lines that are no dead letters (byte {at}); choose another --dlq"
                )
            found_tag, text = _split_key(letter, path)
            if output is not None and found_tag == tag and letter.get("output") == output:
                count += 1
                _add_letter(line, letter, key_of_text(text), at, settled)
            at += len(line) + 1
    return count


def _add_letter(line: bytes, letter: dict[str, Any], key: bytes, at: int, settled: Settled) -> None:
    payload_hash = bytes.fromhex(letter["payload_hash"]) if "payload_hash" in letter else None
    match = RECORD_START.match(line)
    own_id = match[1] if match else id_text(letter["id"])
    is_conflict = letter["reason"] == "key_conflict"
    settled.add(claim_key(key, payload_hash), own_id, "conflict" if is_conflict else "dead", at)
    if "job" in letter and not is_conflict:
        error = letter.get("error", {})
        kept = {"type": error.get("type"), "message": str(error.get("message"))[:200]}
        if letter["reason"] != "duplicate_of_dead" or key not in settled.dead:
            settled.dead[key] = First(letter["id"], "dead", error=kept)


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        found = orjson.loads(line)
    except ValueError:
        return None
    is_ours = isinstance(found, dict) and "id" in found and isinstance(found.get("key"), str)
    return found if is_ours else None


def _split_key(record: dict[str, Any], path: str) -> tuple[str, str]:
    tag, colon, text = record["key"].partition(":")
    if not colon or len(tag) != 6:
        raise ForeignFileError(f"{path}: holds keys that are not ours ({record['key'][:60]!r}); choose another file")
    return tag, text


def _read_blocks(fd: int, path: str) -> Iterator[tuple[int, bytes]]:
    """Yield whole lines with their offset. The torn tail was cut before."""
    offset, rest = 0, b""
    while True:
        try:
            data = os.pread(fd, _BLOCK, offset + len(rest))
        except OSError as error:
            raise FileError(f"{path}: {error.strerror}") from error
        if not data:
            return
        block = rest + data
        end = block.rfind(b"\n") + 1
        if end:
            yield offset, block[:end]
        rest = block[end:]
        offset += end
