"""Tells a monitor that a run began and how it ended, by the convention of healthchecks.io.

https://healthchecks.io/docs/http_api/ : POST `<url>/start`, then `<url>/<exit code>`, both with one `rid`.
A name that does not resolve can hold a thread up for as long as it likes, so requests are made in threads of their
own that nobody waits for beyond a limit. They touch nothing of the run's.
"""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from math import inf
from typing import TYPE_CHECKING

from jqcli import __version__
from jqcli.edge.digest import summary_object
from jqcli.edge.line import to_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from jqcli.core.tally import Snapshot

_ANSWER_LIMIT = 5.0  # seconds for one request
_END_LIMIT = 10.0  # seconds that the end of a run waits for its ping
_TRIES = 3


class Ping:
    """Says that a run began when it is made, and how it ended by `say_end`; never raises.

    It is an observer of the run, for the counts in the body of its last word. `say` is told what went wrong.
    """

    interval = inf

    def __init__(self, url: str, say: Callable[[str], None]) -> None:
        self.run = ""  # its id, as soon as it has one
        self._url = url
        self._say = say
        self._rid = str(uuid.uuid4())
        self._body = b"{}"
        self._problem = ""
        self._is_over = False
        self._thread = self._send("start")

    def update(self, snapshot: Snapshot) -> None:
        """Do nothing: a monitor wants to hear of beginnings and ends."""

    def end(self, snapshot: Snapshot, exit_code: int) -> None:
        """Keep the counts for the last word."""
        said = summary_object(snapshot, run=self.run, exit_code=exit_code, results=None, dlq=None)
        self._body = to_json({name: value for name, value in said.items() if name != "outputs"})

    def say_end(self, exit_code: int) -> None:
        """Say how the run ended; takes 10 s at most."""
        deadline = time.monotonic() + _END_LIMIT
        self._thread.join(_END_LIMIT / 2)
        self._is_over = True
        self._thread = self._send(str(exit_code))
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive():
            self._problem = "no answer in time"
        if self._problem:
            self._say(f"--ping: {self._problem}")

    def _send(self, word: str) -> threading.Thread:
        thread = threading.Thread(target=self._post, args=(word, self._body), daemon=True)
        thread.start()
        return thread

    def _post(self, word: str, body: bytes) -> None:
        parts = urllib.parse.urlsplit(self._url)
        query = "&".join(filter(None, (parts.query, f"rid={self._rid}")))
        url = parts._replace(path=f"{parts.path.rstrip('/')}/{word}", query=query, fragment="").geturl()
        headers = {"User-Agent": f"jq-run/{__version__}", "Content-Type": "application/json"}
        request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310 - the settings take http alone
        for number in range(_TRIES):
            if number and word == "start" and self._is_over:
                return  # heard after the end, it would say that the job began once more
            try:
                with urllib.request.urlopen(request, timeout=_ANSWER_LIMIT) as answer:  # noqa: S310 - see above
                    answer.read(1000)
            except urllib.error.HTTPError as error:
                self._problem = f"{word}: the monitor answered {error.code}"
                error.close()
                if error.code < 500:
                    return
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not fail the run
                self._problem = f"{word}: {error}"
            else:
                self._problem = ""
                return
