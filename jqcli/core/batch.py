"""A batch in the parent's eyes, and how large the next one should be."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING

from jqcli.core.codec import read_line
from jqcli.model import Job, Line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jqcli.core.codec import Scheme
    from jqcli.core.event import Answer

AIM_SECONDS = 0.02  # of work a batch: long against the 0.3 ms that a trip costs, short against a human's patience
AUTO_MOST = 4096
_FIRST = 1  # nothing is known of what a job costs: let it not wait behind another
_GROWTH = 4


@dataclass(slots=True, eq=False)
class Pending:
    """A job that the parent keeps as an object: it waits for a moment, for a worker, or for the first of its identity.

    `origin` and `index` are the batch it was read with and its place there; `offset` is where its line stands in the
    input, -1 where that cannot be read again; `attempts` every charged start, `crashes` those that ended their worker;
    `failed_at` the monotonic moment of the first failure that a breaker counted; `is_sent` says that it travelled as an
    object, `is_probe` that its breaker wants to know how it ends, `is_aside` that it came back from having been set
    aside, and does not count towards the queue yet.
    """

    line: Line
    job: Job
    source: int
    origin: int
    index: int
    attempts: int = 0
    crashes: int = 0
    offset: int = -1
    failed_at: float | None = None
    is_sent: bool = False
    is_probe: bool = False
    is_aside: bool = False
    history: list[dict[str, object]] = field(default_factory=list)
    noted: int = 0

    def note(self, entry: dict[str, object]) -> int:
        """Add a failed attempt to its history; return by how much that has grown, in bytes as far as they matter."""
        self.history.append(entry)
        grown = len(str(entry["message"]))
        self.noted += grown
        return grown

    def forget(self) -> int:
        """Take the last failed attempt out of its history again; return by how much that has shrunk."""
        shrunk = len(str(self.history.pop()["message"]))
        self.noted -= shrunk
        return shrunk

    def has_expired(self, now: float) -> bool:
        """Tell whether it may not start any more at this moment (Unix seconds)."""
        return self.job.asks.expires is not None and self.job.asks.expires <= now

    @property
    def size(self) -> int:
        """Bytes of its line and of what went wrong so far."""
        return len(self.line.data) + self.noted


@dataclass(slots=True, eq=False)
class Batch:
    """Lines that travel together. `jobs` is set where they were ruled before; then `data` is empty.

    `told` says whether any record of it was written, `keys` are the 16-byte identities of its lines; `buried` the
    indexes of lines that are empty here because an earlier run buried them unread. `offset` is where `data` stands in
    the input, -1 where that cannot be read again.
    """

    number: int
    source: int
    name: str
    stem: str
    first_line: int
    data: bytes
    lines: int
    buried: Sequence[int] = ()
    offset: int = -1
    crashes: int = 0
    keys: bytes = b""
    told: bool = False
    answer: Answer | None = None
    jobs: list[Pending] | None = None
    _split: list[bytes] | None = None
    _offsets: list[int] | None = None

    def line(self, index: int) -> Line:
        """Return one line of the batch."""
        if self._split is None:
            self._split = self.data.split(b"\n")
        return Line(self.name, self.stem, self.first_line + index, self._split[index])

    def offset_of(self, index: int) -> int:
        """Return where a line stands in the input, -1 where it cannot be read again."""
        if self.offset < 0 or self.buried:  # what was emptied here is longer there
            return -1
        if self._offsets is None:
            self._offsets = list(accumulate((len(line) + 1 for line in self.data.split(b"\n")), initial=self.offset))
        return self._offsets[index]

    def job(self, index: int, scheme: Scheme) -> Job:
        """Return a job of the batch, which is parsed for it where it was not ruled before."""
        if self.jobs is not None:
            return self.jobs[index].job
        job = read_line(self.line(index), scheme)
        assert isinstance(job, Job)  # noqa: S101 - the worker read it as one
        return job

    def attempt(self, index: int, *, is_counted: bool) -> int:
        """Return the number of a job's attempt, which may be counted by now."""
        return 1 if self.jobs is None else self.jobs[index].attempts + (not is_counted)

    def identities(self, indexes: Sequence[int]) -> tuple[bytes, list[str | None] | None]:
        """Return the identities of jobs in a row, and the handlers that their lines chose, None where none chose."""
        if self.jobs is not None:
            jobs = [self.jobs[index].job for index in indexes]
            handlers = [job.asks.handler for job in jobs]
            return b"".join([job.key for job in jobs]), handlers if any(handlers) else None
        if len(indexes) == self.lines:
            keys = self.keys
        else:
            keys = b"".join([self.keys[16 * index : 16 * index + 16] for index in indexes])
        notes = () if self.answer is None else self.answer.notes
        chosen = {index: note["asks"].get("handler") for index, note in notes if "asks" in note}
        return keys, [chosen.get(index) for index in indexes] if any(chosen.values()) else None

    def halves(self, number: int) -> tuple[Batch, Batch]:
        """Return the batch as two, with numbers from `number` on."""
        lines = self.data.split(b"\n")[:-1]
        middle = len(lines) // 2
        parts = (lines[:middle], 0), (lines[middle:], middle)
        first, second = (
            Batch(
                number + at, self.source, self.name, self.stem, self.first_line + skipped,
                b"".join(line + b"\n" for line in part), len(part),
                [index - skipped for index in self.buried if skipped <= index < skipped + len(part)],
                -1 if self.buried else self.offset_of(skipped),
            )
            for at, (part, skipped) in enumerate(parts)
        )  # fmt: skip
        return first, second


class Sizer:
    """Says how many lines the next batch should have: the user's number, or what takes some 20 ms.

    >>> sizer = Sizer(None)
    >>> for _ in range(9):
    ...     sizer.note(jobs=sizer.size, seconds=sizer.size * 0.001)
    >>> sizer.size
    20
    """

    def __init__(self, fixed: int | None) -> None:
        self._is_auto = fixed is None
        self.size = fixed if fixed is not None else _FIRST

    def note(self, jobs: int, seconds: float) -> None:
        """Learn from a batch that took this long; grows fourfold at most, shrinks at once."""
        if self._is_auto and jobs:
            wanted = int(AIM_SECONDS * jobs / max(seconds, 1e-6))
            self.size = max(1, min(wanted, self.size * _GROWTH, AUTO_MOST))
