"""What is kept of dead jobs to the end of a run, for duplicates that come later.

As text they take some 200 bytes each, the key included; as objects they took 550.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from jqcli.errors import shorten
from jqcli.model import First

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEPT_BYTES = 200


class Graves:
    """Dead jobs by their identity.

    >>> graves = Graves()
    >>> graves.add(b"k", 10**21, {"type": "builtins.KeyError", "message": "no such user", "stacktrace": "…"})
    >>> graves.find(b"k").id, graves.find(b"k").error, graves.find(b"j")
    (1000000000000000000000, {'type': 'builtins.KeyError', 'message': 'no such user'}, None)
    """

    def __init__(self) -> None:
        self._by_key: dict[bytes, bytes] = {}

    def __contains__(self, key: object) -> bool:
        """Tell whether the job of an identity is dead."""
        return key in self._by_key

    def add(self, key: bytes, own_id: str | int, error: Mapping[str, object]) -> None:
        """Keep the id of a dead job, and what duplicates are told of its error."""
        kept = {"type": error.get("type"), "message": shorten(str(error.get("message")), _KEPT_BYTES)}
        # Not orjson: a letter that somebody changed may hold what only this writes.
        self._by_key[key] = json.dumps((own_id, kept)).encode()

    def take_over(self, key: bytes, earlier: Graves) -> None:
        """Keep what an earlier run kept of an identity, if it did, and nothing is kept here."""
        if key in earlier:
            self._by_key.setdefault(key, earlier._by_key[key])

    def find(self, key: bytes) -> First | None:
        """Return the dead job of an identity, None where there is none."""
        kept = self._by_key.get(key)
        if kept is None:
            return None
        own_id, error = json.loads(kept)
        return First(own_id, "dead", error=error)
