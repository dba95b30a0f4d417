"""Where a redrive's records go: results to their file or stream, letters to the file beside the DLQ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jqcli.core.settled import Settled
from jqcli.edge.redrive_log import done_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jqcli.edge.redrive_log import RedriveLog
    from jqcli.edge.sink import Results
    from jqcli.model import First

Grow = Callable[[bytes], bytes]
"""Makes of a new letter the line for the redrive's file."""


@dataclass(slots=True)
class Done(Settled):
    """What of these identities is done, so that none of them runs again; the records settle no line of the redrive.

    `wanted` are the claims (see `claim_key`) that anybody will ask for, None where that is not known.
    """

    wanted: set[bytes] | None = None

    def add(self, claim: bytes, id_json: bytes, status: str, offset: int) -> None:
        """Remember one record, if it matters."""
        if self.wanted is None or claim in self.wanted:
            # Not super(): a dataclass with slots is another class than the one that this body was compiled in.
            Settled.add(self, claim, id_json, status, offset)
            self.count = 0

    def add_all(
        self, keys: Sequence[bytes], ids: Sequence[bytes], statuses: Sequence[bytes], offset: int, step: int = 0
    ) -> None:
        """Remember those of a block that matter."""
        if self.wanted is not None and self.wanted.isdisjoint(keys):
            return
        for number, (key, own_id, status) in enumerate(zip(keys, ids, statuses, strict=True)):
            self.add(key, own_id, status.decode(), offset + number * step)

    def claim(self, claim: bytes, own_id: bytes) -> str | None:  # noqa: ARG002 - its base's
        """Return None: the letters of settled jobs were left out before."""
        return None


class RedriveLetters:
    """Takes the letters of jobs that died again; `grow` gives each the history of its old one."""

    def __init__(self, log: RedriveLog, grow: Grow) -> None:
        self._log = log
        self._grow = grow

    def append(self, letters: bytes) -> None:
        """Append whole letters."""
        self._log.append(b"".join(self._grow(line + b"\n") for line in letters.split(b"\n")[:-1]))

    def check(self) -> None:
        """Look whether what was appended is there."""
        self._log.check()

    def sync(self) -> None:
        """Sync, if anything was written."""
        self._log.sync()

    def close(self) -> bool | None:
        """Return None: what becomes of the DLQ is the redrive's, and how many letters stay is counted."""
        return None


class NotedStream:
    """Results on a stream, which cannot be read back: what its reader has taken is noted in the redrive's file."""

    def __init__(self, stream: Results, log: RedriveLog) -> None:
        self._stream = stream
        self._log = log
        self._notes: list[bytes] = []

    @property
    def is_full(self) -> bool:
        """Whether the reader is far behind."""
        return self._stream.is_full

    @property
    def wait_fd(self) -> int:
        """The descriptor that takes more when it is writable."""
        return self._stream.wait_fd

    def append(self, batch: int, records: Sequence[bytes | memoryview]) -> None:
        """Append whole records of a batch."""
        self._stream.append(batch, records)
        self._notes += [done_line(record) for record in b"".join(records).splitlines(keepends=True)]

    def find(self, batch: int, share: float, key_text: str) -> First | None:
        """Return the record that a batch wrote for a key, while it is among the latest."""
        return self._stream.find(batch, share, key_text)

    def find_at(self, offset: int, key_text: str) -> First | None:
        """Return None: a stream holds no earlier run's records."""
        return self._stream.find_at(offset, key_text)

    def flush(self) -> bool:
        """Write what the reader takes now; when all is taken, note it."""
        is_left = self._stream.flush()
        if not is_left and self._notes:
            self._log.append(b"".join(self._notes))
            self._notes.clear()
        return is_left

    def check(self) -> None:
        """Look whether the notes are there; what has left is the reader's."""
        self._log.check()

    def sync(self) -> None:
        """Do nothing: a stream cannot be synced."""

    def begin_sync(self, least: int) -> None:
        """Do nothing: a stream cannot be synced."""

    def close(self) -> None:
        """Leave the descriptor to its owner."""
        self._stream.close()
