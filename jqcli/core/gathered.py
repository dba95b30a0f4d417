"""What this run did and its store does not have yet, and where there it stands once it has."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jqcli.core.recall import split_keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_ROW_BYTES = 1 << 17  # of records a row, as much as a batch of small jobs; those that travel one by one share a row


@dataclass(slots=True)
class Done:
    """What was done of one handler, to be one row: the batches that it was of, and records in the order of the keys."""

    handler: str | None
    batches: list[int] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    records: list[bytes] = field(default_factory=list)
    size: int = 0


class Gathered:
    r"""Records that wait for the next commit; `size` is their bytes.

    >>> gathered = Gathered()
    >>> gathered.add([7], None, b"a" * 16, b"one\n")
    >>> gathered.find(7, b"a" * 16), gathered.find(8, b"a" * 16), gathered.size
    (b'one', None, 4)
    >>> [done.batches for done in gathered.take()], gathered.size
    ([[7]], 0)
    """

    def __init__(self) -> None:
        self._done: list[Done] = []
        self._open: dict[str | None, Done] = {}  # those of them that take more
        self.size = 0

    def __bool__(self) -> bool:
        """Tell whether there is any."""
        return bool(self._done)

    def add(self, batches: Iterable[int], handler: str | None, keys: bytes, records: bytes) -> None:
        """Take what is done of one handler, which stands under these batches."""
        done = self._open.get(handler)
        if done is None or done.size + len(records) > _ROW_BYTES:
            done = self._open[handler] = Done(handler)
            self._done.append(done)
        done.batches += batches
        done.keys.append(keys)
        done.records.append(records)
        done.size += len(records)
        self.size += len(records)

    def take(self) -> list[Done]:
        """Return all, and begin anew."""
        done = self._done
        self._done, self._open, self.size = [], {}, 0
        return done

    def find(self, batch: int, key: bytes) -> bytes | None:
        """Return the record of an identity that stands under a batch."""
        for done in self._done:
            for keys, records in zip(done.keys, done.records, strict=True) if batch in done.batches else ():
                row = split_keys(keys)
                if key in row:
                    return records.split(b"\n")[row.index(key)]
        return None


def by_handler(
    keys: bytes, handlers: list[str | None] | None, records: bytes
) -> Iterator[tuple[str | None, bytes, bytes]]:
    r"""Yield the identities and the records of each handler, in their order; `handlers` None: the default one.

    >>> list(by_handler(b"a" * 16 + b"b" * 16, ["x", None], b"1\n2\n"))
    [('x', b'aaaaaaaaaaaaaaaa', b'1\n'), (None, b'bbbbbbbbbbbbbbbb', b'2\n')]
    """
    if handlers is None:
        yield None, keys, records
        return
    parts: dict[str | None, tuple[list[bytes], list[bytes]]] = {}
    for handler, key, line in zip(handlers, split_keys(keys), records.split(b"\n"), strict=False):
        found_keys, lines = parts.setdefault(handler, ([], []))
        found_keys.append(key)
        lines.append(line + b"\n")
    for handler, (found_keys, lines) in parts.items():
        yield handler, b"".join(found_keys), b"".join(lines)


class OwnRows:
    """In which of its rows of the store a run wrote what each of its batches did, in sixteen bytes a batch.

    >>> own = OwnRows()
    >>> own.add(1, 7), own.add(3, 7), own.add(1, 9)
    (None, None, None)
    >>> list(own.of(1)), list(own.of(2)), list(own.of(3))
    ([7, 9], [], [7])
    """

    def __init__(self) -> None:
        self._rows = array("Q")
        self._first = array("Q")
        self._last = array("Q")

    def add(self, batch: int, row: int) -> None:
        """Note a row, none before the last one."""
        if not self._rows or self._rows[-1] != row:
            self._rows.append(row)
        new = [0] * (batch + 1 - len(self._first))
        self._first.extend(new)
        self._last.extend(new)
        self._first[batch] = self._first[batch] or row
        self._last[batch] = row

    def of(self, batch: int) -> Sequence[int]:
        """Return the rows among which those of a batch are."""
        if batch >= len(self._first) or not self._first[batch]:
            return ()
        return self._rows[bisect_left(self._rows, self._first[batch]) : bisect_right(self._rows, self._last[batch])]
