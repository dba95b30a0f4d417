"""Cuts the inputs of a run into blocks of whole lines, in order, in bounded memory, without ever waiting."""

from __future__ import annotations

import os
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING

from jqcli.edge.cutter import Block, Cutter, Oversized
from jqcli.edge.input import Input
from jqcli.errors import FileError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Block", "Oversized", "Source"]

# A line from a pipe waits this long for company; as long as the report of a finished record does at most.
LINGER_SECONDS = 0.05
_KEPT_OPEN = 32  # files that were read and may be asked for again
# One call reads this much beyond a block at most, so that a line of many GiB does not hold up the caller.
_CALL_BYTES = 32 * 1024 * 1024


class Source:
    """The inputs of a run, one after the other; `-` is stdin.

    Raises UsageError at once, naming the input, where one cannot be read; InputError, from `cut`, where
    reading or unpacking fails later, once all whole lines before that were cut. Memory: `max_bytes` of
    the block asked for, some 256 KiB as read, and one line of `max_line` bytes. `keeps_open` says that
    lines may be asked for again: the last few files stay open after they were read.
    """

    def __init__(self, paths: Sequence[str], *, max_line: int, keeps_open: bool = False) -> None:
        self._inputs = [Input(path) for path in paths]
        self._max_line = max_line
        self._keeps_open = keeps_open
        self.names = tuple(each.name for each in self._inputs)
        self.stems = _choose_stems(self._inputs)
        sizes = [each.size for each in self._inputs]
        self.bytes_total = None if None in sizes else sum(size or 0 for size in sizes)
        self._index = 0
        self._cutter: Cutter | None = None
        self._bytes_before = 0
        self._read_at = 0.0
        self._arrived_at: float | None = None
        self._ready_at: float | None = None
        self._is_hungry = False
        self._again: OrderedDict[int, int] = OrderedDict()  # descriptors of inputs that were read, by their number
        self._problem: InputError | None = None

    @property
    def ended(self) -> bool:
        """Whether every line was cut."""
        return self._index >= len(self._inputs)

    @property
    def bytes_read(self) -> int:
        """Raw bytes, as stored, of the lines that were cut; nearly, where the input is compressed."""
        if self._cutter is None:
            return self._bytes_before
        current = self._inputs[self._index]
        share = min(1.0, self._cutter.offset / max(1, current.unpacked))
        return self._bytes_before + round(current.raw_used * share)

    def cut(self, max_lines: int, max_bytes: int, now: float) -> Block | Oversized | None:
        """Return the next block, None when there is none at `now`, a monotonic moment in seconds.

        A block has at most `max_lines` lines and, where one line alone is not longer, `max_bytes` bytes;
        both are at least 1.

        Lines of a file leave in full blocks; lines of a pipe at latest 50 ms after the oldest arrived. None
        from a source that has not ended: poll `wait_fd()` until `ready_at()`, then ask again.
        """
        self._is_hungry = False
        self._ready_at = None
        budget = _CALL_BYTES + max_bytes
        while not self.ended:
            current, cutter = self._open()
            is_over = current.is_ended or self._problem is not None
            part = cutter.cut(max_lines, max_bytes) or (cutter.cut_rest() if is_over else None)
            if part is not None:
                return self._release(part)
            if self._problem is not None:
                raise self._problem
            if current.is_ended:
                self._advance()
                continue
            if budget <= 0:
                self._ready_at = now
                return None
            try:
                got = self._fill(current, cutter, now)
            except InputError as error:
                self._problem = error
                continue
            if got is None:
                return self._cut_waiting(cutter, now)
            budget -= got
        return None

    def wait_fd(self) -> int | None:
        """Return what to poll for reading after `cut` has returned None; None where waiting is no use."""
        return self._inputs[self._index].fd if self._is_hungry else None

    def ready_at(self) -> float | None:
        """Return the monotonic moment, in seconds, at which to ask again although nothing was read."""
        return self._ready_at

    def is_lasting(self, source: int) -> bool:
        """Tell whether what was cut from an input can be read again where it stood."""
        return self._inputs[source].is_lasting

    def read_again(self, source: int, offset: int, size: int) -> bytes:
        """Return what stands there now, less where the file has become shorter; raises FileError."""
        each = self._inputs[source]
        fd = each.fd
        if fd < 0:
            fd = self._again.pop(source, -1)
            self._keep(source, each.open_again() if fd < 0 else fd)
            fd = self._again[source]
        try:
            return os.pread(fd, size, offset)
        except OSError as error:
            raise FileError(f"{each.name}: {error.strerror}") from None

    def close(self) -> None:
        """Close the inputs that are open."""
        if not self.ended:
            self._inputs[self._index].close()
        while self._again:
            os.close(self._again.popitem()[1])

    def _keep(self, source: int, fd: int) -> None:
        """Keep the descriptor of an input that was read; of many inputs the one that was asked for last."""
        self._again[source] = fd
        while len(self._again) > _KEPT_OPEN:
            os.close(self._again.popitem(last=False)[1])

    def _open(self) -> tuple[Input, Cutter]:
        current = self._inputs[self._index]
        if self._cutter is None:
            current.open()
            self._cutter = Cutter(self._index, self._max_line)
        return current, self._cutter

    def _fill(self, current: Input, cutter: Cutter, now: float) -> int | None:
        """Move what can be read into the cutter; return how many bytes, None when there is nothing yet."""
        contents = current.read()
        if contents is None:
            return None
        self._read_at = now
        cutter.feed(contents)
        if current.is_ended:
            cutter.finish()
        return len(contents)

    def _cut_waiting(self, cutter: Cutter, now: float) -> Block | Oversized | None:
        """Cut lines that have waited long enough; note when the others will have."""
        if cutter.lines:
            if self._arrived_at is None:
                self._arrived_at = self._read_at
            if now - self._arrived_at >= LINGER_SECONDS and (part := cutter.cut_rest()):
                return self._release(part)
            self._ready_at = self._arrived_at + LINGER_SECONDS
        self._is_hungry = True
        return None

    def _release(self, part: Block | Oversized) -> Block | Oversized:
        self._arrived_at = None
        is_whole = self._problem is None and self._inputs[self._index].is_ended
        if self._cutter and self._cutter.is_empty and is_whole:
            self._advance()
        return part

    def _advance(self) -> None:
        current = self._inputs[self._index]
        self._bytes_before += current.raw_read
        if self._keeps_open and current.is_lasting:
            # What was cut from it may be read again, be it renamed or replaced meanwhile.
            self._keep(self._index, current.give())
        current.close()
        self._cutter = None
        self._index += 1


def _choose_stems(inputs: Sequence[Input]) -> tuple[str, ...]:
    """Return the prefixes of made-up ids; inputs that would share one get their paths."""
    count = Counter(each.stem for each in inputs)
    return tuple(each.stem if count[each.stem] == 1 else each.path for each in inputs)
