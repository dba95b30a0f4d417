"""What this run has claimed, a row a batch: a batch that is done is let go of by a number, and not by its identities.

Jobs of a batch may end apart from it, after a retry or never. So what is done of a batch waits for the rest of it over
one commit at most, and then is let go of by its identities.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection


@dataclass(slots=True)
class _Row:
    number: int
    keys: bytes
    left: int  # bytes of them
    parts: list[bytes] = field(default_factory=list)


class Done(NamedTuple):
    """What may be let go of, with the handlers that lines chose: rows by their number, and identities in rows."""

    rows: list[tuple[str | None, int]]
    keys: list[tuple[str | None, bytes]]


class OwnClaims:
    """The rows of a run's claims by the batch that they are of.

    >>> own = OwnClaims()
    >>> own.add(7, b"a" * 16 + b"b" * 16), own.add(8, b"c" * 16 + b"d" * 16)
    (1, 2)
    >>> own.finish([7], None, b"a" * 16), own.finish([8], None, b"d" * 16), own.finish([7], None, b"b" * 16)
    (None, None, None)
    >>> own.take()
    Done(rows=[(None, 1)], keys=[])
    >>> own.take()
    Done(rows=[], keys=[(None, b'dddddddddddddddd')])
    """

    def __init__(self) -> None:
        self._count = 0
        self._rows: dict[int, _Row] = {}
        self._begun: dict[int, str | None] = {}  # batches of which a part is done, with their handlers
        self._late: set[int] = set()
        self._done = Done([], [])

    @property
    def is_any_done(self) -> bool:
        """Whether there is, or soon will be, something to let go of."""
        return bool(self._begun or self._done.rows or self._done.keys)

    def add(self, batch: int | None, keys: bytes) -> int:
        """Return the number of a new row; `batch` is None where it is not of one batch and one handler."""
        self._count += 1
        if batch is not None:
            self._rows[batch] = _Row(self._count, keys, len(keys))
        return self._count

    def finish(self, batches: Collection[int], handler: str | None, keys: bytes) -> None:
        """Note identities as done, which stand under these batches."""
        batch = next(iter(batches)) if len(batches) == 1 else None
        row = None if batch is None else self._rows.get(batch)
        if batch is None or row is None:
            self._done.keys.append((handler, keys))
            return
        row.parts.append(keys)
        row.left -= len(keys)
        if row.left > 0:
            self._begun[batch] = handler
            return
        del self._rows[batch]
        self._begun.pop(batch, None)
        done = b"".join(row.parts)
        if done == row.keys:
            self._done.rows.append((handler, row.number))
        else:  # one that came to the batch later was done before one that was claimed with it
            self._done.keys.append((handler, done))

    def take(self) -> Done:
        """Return what may be let go of, once; for a commit of all that was done so far."""
        for batch in self._late & self._begun.keys():
            handler, row = self._begun.pop(batch), self._rows.pop(batch)
            self._done.keys.append((handler, b"".join(row.parts)))
        self._late = set(self._begun)
        done, self._done = self._done, Done([], [])
        return done
