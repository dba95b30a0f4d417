"""The files are the journal: reads from results and letters of earlier runs what is settled."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from jqcli.core.record import Record, find_plain, parse_letter, parse_result, plain_results
from jqcli.errors import FileError, ForeignFileError, StopNow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jqcli.core.settled import Settled

_BLOCK = 1 << 18  # a record is looked for in its whole block, so that is small


def read_results(
    fd: int, path: str, tag: str, settled: Settled, explain: Callable[[str], str], is_wanted: Callable[[], bool]
) -> None:
    """Remember every record of a results file; raises ForeignFileError where one is not this run's.

    `explain` says what another tag means. A block is read as a whole; only one that holds anything but plain results
    of this run is read line by line. Raises StopNow, within a block, when the reading is not wanted any more.
    """
    plain = plain_results(tag)
    for offset, block in read_blocks(fd, path, is_wanted=is_wanted):
        found = find_plain(plain, block)
        if found is not None:
            settled.add_all(*found, offset)
            continue
        at = offset
        for line in block.split(b"\n")[:-1]:
            record = parse_result(line)
            if record is None:
                raise ForeignFileError(
                    f"{path}: holds lines that are no results of ours (byte {at}); choose another --output"
                )
            if record.tag != tag:
                hint = "--fresh starts over, another --output goes beside it"
                raise ForeignFileError(f"{path}: {explain(record.tag)}; {hint}")
            _add_record(record, at, settled)
            at += len(line) + 1


def _add_record(record: Record, at: int, settled: Settled) -> None:
    status = record.members["status"]
    if record.payload_hash is not None and status != "duplicate":
        settled.owners.setdefault(record.key, record.payload_hash)
    settled.add(record.claim, record.id_json, status, at)


def read_letters(
    fd: int, path: str, tag: str, output: str | None, settled: Settled, is_wanted: Callable[[], bool]
) -> int:
    """Remember the letters of this command line; return how many. Others' are left alone; `output` None has none.

    Raises as `read_results` does.
    """
    count = 0
    for offset, block in read_blocks(fd, path, is_wanted=is_wanted):
        at = offset
        for line in block.split(b"\n")[:-1]:
            letter = parse_letter(line)
            if letter is None:
                raise ForeignFileError(
                    f"{path}: holds lines that are no dead letters (byte {at}); choose another --dlq"
                )
            if output is not None and letter.tag == tag and letter.members.get("output") == output:
                count += 1
                _add_letter(letter, at, settled)
            at += len(line) + 1
    return count


def _add_letter(letter: Record, at: int, settled: Settled) -> None:
    members = letter.members
    is_conflict = members["reason"] == "key_conflict"
    settled.add(letter.claim, letter.id_json, "conflict" if is_conflict else "dead", at)
    if members["reason"] == "worker_crash" and "job" not in members:
        settled.unread.add(letter.key)
    is_first = members["reason"] != "duplicate_of_dead" or letter.key not in settled.dead
    if "job" in members and not is_conflict and is_first:
        settled.dead.add(letter.key, members["id"], members.get("error", {}))


def _always() -> bool:
    return True


def read_blocks(
    fd: int, path: str, end: int = sys.maxsize, is_wanted: Callable[[], bool] = _always
) -> Iterator[tuple[int, bytes]]:
    """Yield whole lines with their offset, but not a torn tail; nothing from `end` on is read.

    Raises StopNow when the reading is not wanted any more.
    """
    offset, rest = 0, b""
    while True:
        at = offset + len(rest)
        try:
            # As much again as a long line has already, or putting it together would take the square of its length.
            data = os.pread(fd, min(max(_BLOCK, len(rest)), end - at), at)
        except OSError as error:
            raise FileError(f"{path}: {error.strerror}") from error
        if not data:
            return
        if not is_wanted():
            raise StopNow
        block = rest + data
        end_of_lines = block.rfind(b"\n") + 1
        if end_of_lines:
            yield offset, block[:end_of_lines]
        rest = block[end_of_lines:]
        offset += end_of_lines
