"""Writes, then remembers (law 5): the one place where a record goes to its file and a line gets its outcome.

Letters are gathered for one turn of the loop, so that their file is locked once; nothing depends on them before.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from typing import TYPE_CHECKING, NamedTuple

from jqcli.claimer import GATHERED_BYTES
from jqcli.core import effect as do
from jqcli.core.burial import letter, oversized_letter, oversized_message
from jqcli.core.prepare import NO_ID
from jqcli.core.record import duplicate_record, durations_of, status_of
from jqcli.core.settled import STATUSES, claim_key
from jqcli.core.tally import Tally
from jqcli.edge.sink import UNNUMBERED

if TYPE_CHECKING:
    from jqcli.claimer import Claimer
    from jqcli.core.burial import LetterHead, OversizedLine
    from jqcli.core.event import Finished
    from jqcli.core.window import Window
    from jqcli.edge.outputs import Outputs

_LOOK_EVERY = 1.0  # seconds between two looks at the files, and two syncs
_SYNC_BYTES = 16 << 20  # of results, which are synced earlier, so that little is left to wait for at the end


class _Letter(NamedTuple):
    """A dead letter that is not written yet, and what is to be counted when it is."""

    text: bytes
    reason: str
    type: str
    message: str
    named: str | int


class Recorder:
    """The outputs of a run and the count of what is in them.

    `window` is there only with `--keep-order`, `claimer` only with a store.
    """

    def __init__(
        self,
        outputs: Outputs,
        head: LetterHead,
        window: Window | None,
        durability: str,
        claimer: Claimer | None = None,
    ) -> None:
        self._results = outputs.results
        self._dlq = outputs.letters
        self._settled = outputs.settled
        self._window = window
        self._durability = durability
        self._claimer = claimer
        self._letters: list[_Letter] = []
        self._released: list[tuple[str | None, bytes]] = []
        self._doubles: list[bytes] = []
        self._due: deque[tuple[int, list[bytes]]] = deque()  # their turn has come
        self._looked_at = time.monotonic()
        self.head = head
        self.tally = Tally()

    @property
    def held(self) -> int:
        """Records that wait for their turn."""
        return 0 if self._window is None else self._window.held

    @property
    def is_full(self) -> bool:
        """Whether the reader of the results is so far behind that nothing new should start."""
        return self._results.is_full

    @property
    def sync_at(self) -> float:
        """The monotonic moment of the next `sync`."""
        return self._looked_at + _LOOK_EVERY

    def begin(self) -> None:
        """With `full`, sync what earlier runs left and could not sync: it counts as done from here on."""
        if self._durability == "full":
            self._sync()

    def finish(self, event: Finished, places: list[do.Place] | None) -> None:
        """Write the records of finished jobs, then count them; `places` of each with a window.

        What is held counts while it waits; see `give_up`.
        """
        if places is None or self._window is None:
            self._results.append(event.batch, event.records)
            self._sync_fully()
            self._count(event)
            return
        for place, record in zip(places, b"".join(event.records).split(b"\n")[:-1], strict=True):
            self._window.put(place.batch, place.index, record + b"\n")
        self._count(event)
        self._release()

    def _count(self, event: Finished) -> None:
        tally = self.tally
        tally.completed += event.completed
        tally.skipped += event.skipped
        tally.attempts += event.completed + event.skipped
        for microseconds, count in event.durations or durations_of(event.records):
            tally.count_latency(microseconds, count)

    def remember(
        self, event: Finished, keys: bytes, handlers: list[str | None] | None, places: list[do.Place] | None
    ) -> None:
        """Let the store know of finished jobs whose records are written; `handlers` are those that lines chose.

        What the order of the output still holds is noted too: its record is the store's until it is in its file.
        """
        if self._claimer is not None:
            batches = [event.batch] if places is None else dict.fromkeys(place.batch for place in places)
            self._claimer.note(batches, keys, handlers, event.records)
            if self._durability == "full" or self._claimer.gathered > GATHERED_BYTES:
                self._sync()

    def settle(self, effect: do.Settling) -> None:
        """Write what the parent itself has to write of a line, and count it."""
        match effect:
            case do.Opened(batch, lines):
                self.tally.read += lines
                if self._window is not None:
                    self._window.open(batch, lines)
            case do.Pass(batch, indexes, statuses):
                for status, count in statuses.items():
                    self._count_passed(status, count)
                if self._window is not None:
                    for index in indexes:
                        self._window.put(batch, index, b"")
            case do.Bury():
                self._bury(effect)
            case do.Double(place, job, first):
                self._put_double(place, duplicate_record(self.head.tag, job, first))

    def bury_oversized(self, part: OversizedLine, source: str, made_id: str) -> bool:
        """Write the letter of a line that was too long to be read; False where an earlier run has."""
        self.tally.read += 1
        if self._settled.claim(claim_key(part.digest, None), NO_ID) is not None:
            self._count_passed("dead", 1)
            return False
        message = oversized_message(part)
        text = oversized_letter(self.head, source, made_id, part, message, time.time())
        self._letters.append(_Letter(text, "line_too_long", "jqcli.line_too_long", message, made_id))
        return True

    def flush_doubles(self) -> None:
        """Write the duplicates' records that were gathered."""
        if self._doubles:
            doubles, self._doubles = self._doubles, []
            self._results.append(UNNUMBERED, doubles)
            self._sync_fully()
            self.tally.duplicate += len(doubles)
        if self._window is not None:
            self._release()

    def flush(self) -> bool:
        """Write what was gathered; tell whether a stream is behind, so that something is left."""
        if self._letters:
            letters, self._letters = self._letters, []
            self._dlq.append(b"".join([letter.text for letter in letters]))
            self._sync_fully()
            for _, reason, kind, message, named in letters:
                self.tally.count_dead(reason, kind, message, named)
            if self._claimer is not None:
                self._claimer.release(self._released)
                self._released.clear()
        return self._results.flush()

    def sync(self, now: float) -> None:
        """Look, if it is time to, whether the files are still those of this run, and sync them with `batch`.

        Nothing counts as done by that before the end, but for a store; so without one the run goes on meanwhile.
        """
        is_time = now >= self.sync_at
        if is_time:
            self._looked_at = now
            self._check()
        if self._claimer is not None:
            if is_time:
                self._sync()
            elif self._durability == "batch":  # so that little is left to wait for when the store is told
                self._results.begin_sync(GATHERED_BYTES // 4)
        elif self._durability == "batch":
            if is_time:
                self._dlq.sync()
            self._results.begin_sync(1 if is_time else _SYNC_BYTES)

    def end(self) -> None:
        """Write all that is held, with gaps where lines are unfinished, and sync for the last time."""
        if self._window is not None:
            self._due.extend(self._window.release_all())
            self._write_due()
        self.flush()
        self._check()
        self._sync(is_last=True)

    def give_up(self) -> None:
        """Take records that are held, and will not be written, out of the counts: the run ends by an error."""
        if self._window is None:
            return
        self._due.extend(self._window.release_all())
        for status, count in Counter(status_of(record) for _, records in self._due for record in records).items():
            setattr(self.tally, status, getattr(self.tally, status) - count)

    def _check(self) -> None:
        self._dlq.check()
        self._results.check()

    def _sync(self, *, is_last: bool = False) -> None:
        """Sync the files, and only then let the store count what is in them (law 5)."""
        if self._durability != "none":
            self._dlq.sync()
            self._results.sync()
        if self._claimer is not None:
            self._claimer.commit(waits=is_last or self._durability == "full")

    def _sync_fully(self) -> None:
        """Let what was written outlive a power cut before it counts, where that is asked for."""
        if self._durability == "full":
            self._sync()

    def _release(self) -> None:
        assert self._window is not None  # noqa: S101 - the callers look
        self._due.extend(self._window.release())
        self._write_due()

    def _write_due(self) -> None:
        while self._due:
            self._results.append(*self._due[0])
            self._due.popleft()
        self._sync_fully()

    def _put_double(self, place: do.Place, record: bytes) -> None:
        if self._window is None:
            self._doubles.append(record)
        else:
            self.tally.duplicate += 1
            self._window.put(place.batch, place.index, record)

    def _bury(self, bury: do.Bury) -> None:
        text = letter(self.head, bury, time.time())
        named = bury.job.id if bury.job is not None else bury.line.made_id
        self._letters.append(_Letter(text, bury.reason, str(bury.error["type"]), str(bury.error["message"]), named))
        self._leave_gap(bury.place)
        if self._claimer is not None and bury.job is not None and bury.reason != "key_conflict":
            self._released.append((bury.job.asks.handler, bury.job.key))

    def _leave_gap(self, place: do.Place) -> None:
        if self._window is not None:
            self._window.put(place.batch, place.index, b"")

    def _count_passed(self, status: str | None, count: int) -> None:
        """Count lines that are blank, or that an earlier run settled."""
        if status is None:
            self.tally.read -= count
            return
        name = "dead" if status == STATUSES[-1] else status
        setattr(self.tally, name, getattr(self.tally, name) + count)
        self.tally.settled_before += count
        if name == "dead":
            self.tally.dead_before += count
