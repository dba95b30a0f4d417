"""Jobs whose identity is in flight in another run: they wait here until it is done there, or free again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jqcli.core.recall import ELSEWHERE, REMEMBERED, split_keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jqcli.core.batch import Pending


class Elsewhere:
    """The waiting jobs by identity, in the order of the input."""

    def __init__(self) -> None:
        self._jobs: dict[bytes, list[Pending]] = {}
        self.count = 0

    @property
    def wanted(self) -> dict[str | None, bytes]:
        """The identities that are waited for, in a row, by the handler that their line chose."""
        found: dict[str | None, list[bytes]] = {}
        for key, jobs in self._jobs.items():
            found.setdefault(jobs[0].job.asks.handler, []).append(key)
        return {handler: b"".join(keys) for handler, keys in found.items()}

    def add(self, pending: Pending) -> None:
        """Let a job wait."""
        self._jobs.setdefault(pending.job.key, []).append(pending)
        self.count += 1

    def clear(self) -> int:
        """Let all of them go; return how many there were."""
        count, self.count = self.count, 0
        self._jobs.clear()
        return count

    def join(self, wanted: Mapping[str | None, bytes], known: Mapping[bytes, str]) -> Mapping[bytes, str]:
        """Return what is `known` of identities, where what is waited for here is elsewhere until `take` says more.

        It may have become free meanwhile, and a later line of it must not overtake the first one, and run beside it.
        """
        if not self._jobs:
            return known
        waiting = (key for keys in wanted.values() for key in split_keys(keys) if key in self._jobs)
        return {**dict.fromkeys(waiting, ELSEWHERE), **known}

    def take(self, known: Mapping[bytes, str]) -> tuple[list[Pending], list[list[Pending]]]:
        """Return the jobs that the other run did, and by identity those that it let go of.

        `known` says of each identity what it is; one that it does not name is free.
        """
        remembered: list[Pending] = []
        free: list[list[Pending]] = []
        for key in [key for key in self._jobs if known.get(key) != ELSEWHERE]:
            jobs = self._jobs.pop(key)
            self.count -= len(jobs)
            if known.get(key) == REMEMBERED:
                remembered += jobs
            else:
                free.append(jobs)
        return remembered, free
