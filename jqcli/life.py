"""The letters of one redrive on their way: they become lines, and those whose job died again come back longer."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Any

import orjson

from jqcli.assembly import destination_of, patience_of
from jqcli.core.codec import Scheme, read_line
from jqcli.core.letter import Letter, extend_letter, find_members, job_hash_of, letter_of
from jqcli.core.prepare import id_text, key_member
from jqcli.edge.outputs import Outputs, is_journal, open_results
from jqcli.edge.redrive_log import Header, RedriveLog, again_line, amend_line
from jqcli.edge.redrive_outputs import Done, NotedStream, RedriveLetters
from jqcli.edge.redrive_source import RedriveSource, Row
from jqcli.edit import MOST
from jqcli.errors import FileError, UsageError
from jqcli.model import Job, Line, Unusable
from jqcli.run import scheme_of
from jqcli.selection import Ask, Selection, envelope_of, find_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from jqcli.config import Settings
    from jqcli.core.tally import Tally
    from jqcli.edge.letter import LetterFile
    from jqcli.edge.redrive_log import Progress

_NO_JOB = "of lines that are no jobs"
_TAKEN_OUT = "taken out in the editor"
_STRANGE = "not of the identity that their line has with this configuration"


class Lives:
    """The letters of one redrive on their way; a `Redrive` as `execute` wants it."""

    def __init__(
        self,
        log: RedriveLog,
        progress: Progress,
        selection: Selection,
        ask: Ask,
        settings: Settings,
        letters: LetterFile,
    ) -> None:
        self._log = log
        self._progress = progress
        self._selection = selection
        self._ask = ask
        self._letters = letters
        self._scheme: Scheme = scheme_of(settings)
        self._tag = settings.tag or ""
        self._max_line = settings.max_line
        self._amended: dict[int, list[int]] = {}  # offsets by the job hash of the amended line
        self._edited: dict[int, bytes] = {}
        self._is_unsynced = False
        self.left = Counter(selection.left)
        self.example = ""
        self.source = RedriveSource(
            tuple(selection.names), tuple(selection.stems), len(selection.offsets), self._rows(), self._release
        )

    def open(self, settings: Settings, stdout_fd: int, is_wanted: Callable[[], bool]) -> Outputs:
        """Open the results, and write down that the redrive begins."""
        done = Done(wanted=None if self._selection.may_change else self._selection.keys)
        results = open_results(destination_of(settings, stdout_fd, is_wanted), done, patience_of(settings, is_wanted))
        self._selection.keys.clear()
        path = results_path(settings)
        if self._log.header is None:
            size = 0 if path is None else os.path.getsize(path)
            self._log.begin(Header(self._selection.end, path, size, self._ask.said))
        letters = RedriveLetters(self._log, self._grow)
        return Outputs(results if path is not None else NotedStream(results, self._log), letters, done, [])

    def count_before(self, tally: Tally) -> None:
        """Count what an earlier start of this redrive came to."""
        before = self._selection.before
        count = sum(before.values())
        tally.read += count
        tally.settled_before += count
        tally.completed += before["completed"]
        tally.duplicate += before["duplicate"]
        tally.skipped += before["skipped"]
        tally.dead += before["dead"]
        tally.dead_before += before["dead"]
        tally.redriven = self._selection.total

    def edit(self) -> None:
        """Let the user change the jobs, where that is asked for, but not those that a killed start has seen already."""
        if self._ask.edit is None:
            return
        if len(self._selection.offsets) > MOST:
            raise UsageError(
                f"--edit: {len(self._selection.offsets):,} letters; choose {MOST:,} at most, as by --limit"
            )
        letters = (self._letter_at(offset) for offset in self._selection.offsets)
        shown = [letter for letter in letters if letter.spot not in self._progress.amended]
        self._edited = self._ask.edit(shown) if shown else {}

    # Letters become lines

    def _rows(self) -> Iterator[Row]:
        made = (self._make_row(self._letter_at(offset)) for offset in self._selection.offsets)
        # What came out of an editor is written down as a whole, before any of it runs.
        rows = made if self._ask.edit is None else list(made)
        yield from (row for row in rows if row is not None)

    def _make_row(self, letter: Letter) -> Row | None:
        """Return the line of a letter's job, None where it cannot be taken up; note it where it is another line now."""
        place = self._progress.amended.last(letter.spot)
        try:
            job_hash, data = (None, self._line_of(letter)) if place is None else self._log.job_at(place)
        except ValueError as error:
            self._leave(letter, "of lines that --set does not fit", str(error))
            return None
        spot = None if data is None else find_source(letter, self._envelope(data), self._selection.stems)
        if data is None:
            self._leave(letter, _TAKEN_OUT)
            return None
        if spot is None:  # also of a line that lost its id because it is no JSON any more
            job = read_line(Line("", "", 1, data), self._scheme)
            self._leave(letter, *((_NO_JOB, job.message) if isinstance(job, Unusable) else (_STRANGE,)))
            return None
        if len(data) > self._max_line:
            self._leave(letter, "of lines longer than --max-line")
            return None
        row = Row(*spot, data)
        if job_hash is not None:
            self._amended.setdefault(job_hash, []).append(letter.offset)
        return row if job_hash is not None or self._may_run(letter, row) else None

    def _line_of(self, letter: Letter) -> bytes | None:
        """Return the line that runs for a letter; None where its job was taken out of the editor."""
        if self._ask.edit is not None:
            return self._edited.get(letter.spot)
        return letter.job if self._ask.amend is None else self._ask.amend(letter)

    def _may_run(self, letter: Letter, row: Row) -> bool:
        """Tell whether a line may run for a letter: it is the letter's own, or is noted as what it runs as."""
        names, stems = self._selection.names, tuple(self._selection.stems)
        job = read_line(Line(names[row.source], stems[row.source], row.number, row.data), self._scheme)
        if not isinstance(job, Job):
            why = job.message if isinstance(job, Unusable) else "a blank line"
            self._leave(letter, _NO_JOB, why)
            return False
        job_hash = self._job_hash_of(job)
        if self._ask.edit is None and (self._ask.amend is None or row.data == letter.job):
            if job_hash == letter.job_hash:
                return True
            if letter.verdict.reason != "invalid_job":  # which may be a job by now
                self._leave(letter, _STRANGE)
                return False
        self._log.append(amend_line(letter.spot, job_hash, row.data))
        self._amended.setdefault(job_hash, []).append(letter.offset)
        self._is_unsynced = True
        return True

    def _job_hash_of(self, job: Job) -> int:
        head = b'{"id":%b,"key":"%b:%b",' % (id_text(job.id), self._tag.encode(), key_member(job))
        return job_hash_of(head)

    def _envelope(self, data: bytes) -> Mapping[str, Any] | None:
        try:
            return envelope_of(orjson.loads(data), self._scheme.input_format)
        except ValueError:
            return None

    def _leave(self, letter: Letter, why: str, detail: str = "") -> None:
        self.left[why] += 1
        if not self.example:
            self.example = f"{letter.id}: {detail}" if detail else letter.id

    def _release(self) -> None:
        if self._is_unsynced:
            self._log.sync()
            self._is_unsynced = False

    # Letters come back

    def _grow(self, new: bytes) -> bytes:
        """Return the line of the redrive's file for a new letter: who the old one is, its history, one more death."""
        job_hash = job_hash_of(new)
        amended = self._amended.get(job_hash)
        offset = amended.pop(0) if amended else self._selection.jobs.take(job_hash)
        old = self._letter_at(offset) if offset is not None else self._find_by_line(new)
        return again_line(old.spot, extend_letter(old.line, new, is_amended=amended is not None))

    def _find_by_line(self, new: bytes) -> Letter:
        """Return the old letter of a job that killed whoever parsed it: its new letter does not know its identity."""
        members = find_members(new) or {}
        text = orjson.loads(members[b"raw"]).encode() if b"raw" in members else members.get(b"job")
        for offset in self._selection.offsets:
            letter = self._letter_at(offset)
            if letter.job == text and self._selection.jobs.take(letter.job_hash) is not None:
                return letter
        raise FileError(f"{self._log.dlq}: the letter of a job that was retried is not there any more")

    def _letter_at(self, offset: int) -> Letter:
        letter = letter_of(self._letters.read_at(offset), self._log.dlq, offset)
        if letter is None:
            raise FileError(f"{self._log.dlq}: was changed by another program while it was retried")
        return letter


def results_path(settings: Settings) -> str | None:
    """Return the whole path of the results, None for a stream."""
    if settings.output is None or not is_journal(settings.output):
        return None
    return os.path.abspath(settings.output)
