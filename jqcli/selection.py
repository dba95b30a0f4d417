"""What of a DLQ a redrive takes up: which letters, of which command line, and what is settled of them already."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jqcli.core.lookup import Lookup, entry
from jqcli.edge.letter import LetterFile, LetterFiles
from jqcli.edge.redrive_log import status_at
from jqcli.edge.redrive_source import ANYWHERE
from jqcli.origin import Origins

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jqcli.core.choice import Choice
    from jqcli.core.letter import Letter
    from jqcli.edge.redrive_log import Progress, RedriveLog

    Amend = Callable[[Letter], bytes]
    Edit = Callable[[Sequence[Letter]], dict[int, bytes]]

_MADE_ID = re.compile(r"(.*):([1-9][0-9]{0,17})", re.DOTALL)
RAW = "of lines that are no JSON; `--edit` mends them"
SPENT = "retried as often as --max-redrives allows"


@dataclass(frozen=True, slots=True)
class Ask:
    """What a redrive is to do: which letters, and how their jobs are changed; `said` is the same as plain JSON.

    `amend` returns the changed line of one job, `edit` those of many by spot; at most one of them is there. Two
    redrives that say the same are one: the second goes on where the first was killed.
    """

    choice: Choice
    said: Mapping[str, Any]
    max_redrives: int | None = None
    amend: Amend | None = None
    edit: Edit | None = None


@dataclass(slots=True)
class Selection:
    """Letters by offset, in the order in which they run; `jobs` leads from the record of a job to its letter.

    `stems` numbers the inputs that ids were made up from, 0 being for ids of their own; `keys` are the identities as
    results are asked for them, as far as the jobs stay who they are, which `may_change`. `before` counts what a killed
    start came to by status, `left` what is not taken up.
    """

    end: int
    offsets: array[int] = field(default_factory=lambda: array("Q"))
    jobs: Lookup = field(default_factory=Lookup)
    stems: dict[str, int] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    keys: set[bytes] = field(default_factory=set)
    origins: Origins = field(default_factory=Origins)
    before: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    total: int = 0
    may_change: bool = False


def select(log: RedriveLog, progress: Progress, ask: Ask) -> Selection:
    """Look through a DLQ, as far as it went when the redrive began, for letters to take up."""
    file = LetterFile(log.dlq, None if log.header is None else log.header.dlq_end)
    jobs: list[int] = []
    conflicts = array("Q")  # whose key belongs to another job, which is to come first
    with LetterFiles([file]) as letters:
        selection = Selection(file.whole_end, names=[log.dlq], stems={"": ANYWHERE})
        selection.may_change = ask.amend is not None or ask.edit is not None or len(progress.amended) > 0
        for letter, _ in letters.choose(ask.choice):
            if _is_open(letter, log, progress, selection) and _is_fit(letter, progress, ask, selection):
                jobs.append(entry(letter.job_hash, letter.offset))
                _take(letter, selection, conflicts)
        selection.total = letters.count
    selection.offsets.extend(conflicts)
    selection.jobs = Lookup(jobs)
    return selection


def find_source(letter: Letter, job: Mapping[str, Any] | None, stems: Mapping[str, int]) -> tuple[int, int] | None:
    """Return the number of a job's input and its line there; None where its id was made up in no way of ours.

    `job` is what was parsed of its line, None where that is no envelope.
    """
    if job is not None and "id" in job:
        return ANYWHERE, 0
    match = _MADE_ID.fullmatch(letter.id)
    return None if match is None or match[1] not in stems else (stems[match[1]], int(match[2]))


def envelope_of(parsed: object, input_format: str) -> Mapping[str, Any] | None:
    """Return a parsed line where it is an envelope."""
    is_envelope = isinstance(parsed, dict) and "payload" in parsed and input_format != "raw"
    return parsed if is_envelope and isinstance(parsed, dict) else None


def _is_open(letter: Letter, log: RedriveLog, progress: Progress, selection: Selection) -> bool:
    """Tell whether a letter has no outcome in this redrive yet, and count it if it has."""
    spot = letter.spot
    if spot in progress.again:
        selection.before["dead"] += 1
        return False
    amended = progress.amended.last(spot)
    place = progress.done.take(letter.job_hash if amended is None else log.job_at(amended)[0])
    if place is None:
        return True
    selection.before[status_at(place)] += 1
    return False


def _is_fit(letter: Letter, progress: Progress, ask: Ask, selection: Selection) -> bool:
    """Tell whether a letter may be taken up, and count it if not."""
    if ask.max_redrives is not None and letter.redrives >= ask.max_redrives:
        selection.left[SPENT] += 1
    elif not letter.has_job and ask.edit is None and progress.amended.last(letter.spot) is None:
        selection.left[RAW] += 1
    else:
        return True
    return False


def _take(letter: Letter, selection: Selection, conflicts: array[int]) -> None:
    (conflicts if letter.verdict.reason == "key_conflict" else selection.offsets).append(letter.offset)
    selection.origins.add(letter)
    selection.may_change |= letter.verdict.reason == "invalid_job"
    match = _MADE_ID.fullmatch(letter.id)
    if match is not None and match[1] not in selection.stems:
        selection.stems[match[1]] = len(selection.stems)
        selection.names.append(letter.text("source").rpartition(":")[0] or match[1])
    selection.keys.add(letter.record.claim)
