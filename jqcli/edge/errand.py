"""Work that goes on beside the run, in a thread: writes and syncs of local files, for which no Python has to wait."""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Errand(Generic[T]):
    """One piece of work, which has begun; `at_end` is called however it ends, in the thread that did it.

    Where no thread can be had, that is the caller's, and it has ended.

    >>> Errand(lambda: 6 * 7).wait()
    42
    """

    def __init__(self, work: Callable[[], T], at_end: Callable[[], None] = lambda: None) -> None:
        self._work = work
        self._at_end = at_end
        self._result: list[T] = []
        self._error: BaseException | None = None
        self._thread: Thread | None = None
        try:
            thread = Thread(target=self._run, name="errand")
            thread.start()
        except (RuntimeError, MemoryError):  # there are too many threads, or too little memory
            self._run()
        else:
            self._thread = thread

    @property
    def is_over(self) -> bool:
        """Whether `wait` returns at once."""
        return self._thread is None or not self._thread.is_alive()

    def wait(self) -> T:
        """Return what came of it; raises what it raised, each time."""
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error
        return self._result[0]

    def _run(self) -> None:
        try:
            self._result.append(self._work())
        except BaseException as error:  # noqa: BLE001 - for whoever waits
            self._error = error
        finally:
            self._at_end()
