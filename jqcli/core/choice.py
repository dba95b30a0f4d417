"""Which dead letters are asked for: the filters that all `dlq` commands share, and the groups of the summary."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import re

    from jqcli.core.letter import Letter, Verdict

REASONS = (
    *("rejected", "not_retryable", "max_attempts", "timeout", "worker_crash", "unserializable_result"),
    *("invalid_json", "invalid_job", "line_too_long", "expired", "duplicate_of_dead", "key_conflict"),
)
_MOST_GROUPS = 10_000


@dataclass(frozen=True, slots=True)
class Choice:
    """What a letter must be to be chosen; empty and None ask for nothing. Moments in Unix seconds."""

    reasons: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    match: re.Pattern[str] | None = None
    groups: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    handlers: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()
    since: float | None = None
    until: float | None = None
    min_attempts: int | None = None
    limit: int | None = None

    @property
    def is_all(self) -> bool:
        """Whether nothing is asked for."""
        return self == Choice()

    def accepts(self, letter: Letter, verdict: Verdict) -> bool:
        """Tell whether a letter is asked for; `verdict` is its own, or its first's. The limit is not looked at."""
        return (
            (not self.ids or letter.id in self.ids)
            and (not self.reasons or verdict.reason in self.reasons)
            and (not self.errors or any(names_type(name, verdict.type) for name in self.errors))
            and (not self.handlers or letter.text("handler") in self.handlers)
            and (not self.tenants or letter.text("tenant") in self.tenants)
            and (self.min_attempts is None or _count(letter.parsed.get("attempts")) >= self.min_attempts)
            and (self.match is None or self.match.search(verdict.message) is not None)
            and (not self.groups or verdict.fingerprint in self.groups)
            and self._is_in_time(letter)
        )

    def _is_in_time(self, letter: Letter) -> bool:
        if self.since is None and self.until is None:
            return True
        moment = moment_of(letter.text("dead_at"))
        return moment is not None and (self.since or 0.0) <= moment and (self.until is None or moment <= self.until)


@dataclass(slots=True)
class Group:
    """Letters that look alike, as the summary shows them; `first_at` and `last_at` as letters say them."""

    verdict: Verdict
    fingerprint: str
    count: int = 0
    first_at: str = ""
    last_at: str = ""
    sample_id: str = ""
    handlers: set[tuple[str, str]] = field(default_factory=set)


@dataclass(slots=True)
class Groups:
    """Letters by reason and fingerprint; what exceeds 10,000 groups is counted in `beyond`, so memory is bounded."""

    groups: dict[tuple[str, str], Group] = field(default_factory=dict)
    beyond: int = 0

    def add(self, letter: Letter, verdict: Verdict) -> None:
        """Count one letter."""
        key = (verdict.reason, verdict.fingerprint)
        group = self.groups.get(key)
        if group is None:
            if len(self.groups) >= _MOST_GROUPS:
                self.beyond += 1
                return
            short = verdict._replace(message=verdict.message[:300])
            group = self.groups[key] = Group(short, key[1], sample_id=letter.id)
        dead_at = letter.text("dead_at")
        group.count += 1
        group.first_at = min(group.first_at or dead_at, dead_at)
        group.last_at = max(group.last_at, dead_at)
        if len(group.handlers) < 10:
            group.handlers.add((letter.text("handler"), letter.text("cwd")))

    def largest_first(self) -> list[Group]:
        """Return the groups, the largest first."""
        return sorted(self.groups.values(), key=lambda group: (-group.count, group.verdict.reason, group.fingerprint))


def names_type(name: str, dotted: str) -> bool:
    """Tell whether a bare or dotted name means a type.

    >>> names_type("KeyError", "builtins.KeyError"), names_type("ins.KeyError", "builtins.KeyError")
    (True, False)
    """
    return dotted == name or dotted.endswith("." + name)


def moment_of(text: str) -> float | None:
    """Return the Unix seconds of an RFC 3339 moment with a zone; None where it is none.

    >>> moment_of("1970-01-01T00:01:00Z"), moment_of("1970-01-01t00:01:00z"), moment_of("yesterday")
    (60.0, 60.0, None)
    """
    try:
        moment = datetime.fromisoformat(text.upper())  # RFC 3339 allows `t` and `z`
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo is not None else None


def _count(said: object) -> int:
    return said if isinstance(said, int) else 0
