"""Loads handlers: from `pkg.module:name`, `path/file.py:name`, a function or a class."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

from jqcli.errors import HandlerLoadError, StopNow, suggest
from jqcli.policy import ATTRIBUTE, Policy

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable
    from types import ModuleType

_CTX_NAMES = ("ctx", "context")
_CALLED_WITH = ("payload", "ctx")
_COROUTINE_FLAGS = 0x80 | 0x100 | 0x200  # CO_COROUTINE, CO_ITERABLE_COROUTINE, CO_ASYNC_GENERATOR


class Context(NamedTuple):
    """What a handler that takes `ctx` is told about its job.

    `attempt` counts from 1; `deadline_at` is the Unix second at which the attempt will be killed, None without a
    timeout and without a deadline of the run, `run_deadline_at` the run's alone; `is_probe` says that a breaker is open
    and lets this job find out whether what it calls is there again. `log` is a logger whose records carry the job's id.
    """

    id: str | int
    key: str
    attempt: int
    max_attempts: int
    deadline_at: float | None
    tenant: str | int | None
    meta: Any
    run_deadline_at: float | None = None
    is_probe: bool = False

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose records carry `job` and `attempt`."""
        import logging  # noqa: PLC0415 - most handlers never log, and it costs 8 ms

        return logging.LoggerAdapter(logging.getLogger("jqcli.handler"), {"job": self.id, "attempt": self.attempt})


class Handler(NamedTuple):
    """A loaded handler: what to call, how, and what its author asked for."""

    name: str
    call: Callable[..., Any]
    wants_ctx: bool
    policy: Policy
    exit: ExitStack


def load_handler(spec: str) -> Handler:
    """Load a handler; a class is instantiated, and entered where it is a context manager.

    Raises HandlerLoadError, which names what was tried and the last frame of the traceback.
    """
    module_name, _, name = spec.rpartition(":")
    if not module_name or not name:
        raise HandlerLoadError(f"handler {spec!r}: write pkg.module:function or path/file.py:function")
    module = _load_module(spec, module_name)
    target: Any = module
    for part in name.split("."):
        if not hasattr(target, part):
            near = suggest(part, [n for n in dir(target) if not n.startswith("_")])
            raise HandlerLoadError(f"handler {spec!r}: {module_name} has no {part!r}{near}")
        target = getattr(target, part)
    return _make_handler(spec, target)


def _load_module(spec: str, module_name: str) -> ModuleType:
    is_file = module_name.endswith(".py") or os.sep in module_name
    try:
        if is_file:
            return _load_file(spec, module_name)
        _put_on_path(os.getcwd())
        return importlib.import_module(module_name)
    except (HandlerLoadError, StopNow):
        raise
    except BaseException as error:
        raise HandlerLoadError(_describe(spec, f"importing {module_name}", error)) from error


def _load_file(spec: str, path: str) -> ModuleType:
    if not os.path.isfile(path):
        raise HandlerLoadError(f"handler {spec!r}: there is no file {path}")
    folder, base = os.path.split(os.path.abspath(path))
    _put_on_path(folder)
    name = base.removesuffix(".py")
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None:
        raise HandlerLoadError(f"handler {spec!r}: {path} is no Python file")
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    found.loader.exec_module(module)
    return module


def _put_on_path(folder: str) -> None:
    if folder not in sys.path:
        sys.path.insert(0, folder)


def _make_handler(spec: str, target: Any) -> Handler:
    policy = getattr(target, ATTRIBUTE, Policy())
    stack = ExitStack()
    if isinstance(target, type):
        try:
            target = target()
            if hasattr(target, "__enter__"):
                target = stack.enter_context(target)
        except BaseException as error:
            raise HandlerLoadError(_describe(spec, "making its one instance", error)) from error
    if not callable(target):
        raise HandlerLoadError(f"handler {spec!r}: {type(target).__name__} cannot be called")
    code = _code_of(target)
    if code is not None and code.co_flags & _COROUTINE_FLAGS:
        raise HandlerLoadError(f"handler {spec!r}: async functions are not supported")
    return Handler(spec, target, _wants_ctx(spec, target), policy, stack)


def _code_of(target: Any) -> Any:
    if hasattr(target, "__code__"):
        return target.__code__
    if hasattr(target, "__func__"):
        return getattr(target.__func__, "__code__", None)
    return getattr(vars(type(target)).get("__call__"), "__code__", None)


def _wants_ctx(spec: str, target: Any) -> bool:
    """Tell whether a second positional argument is asked for: one without a default, or one named ctx.

    Raises HandlerLoadError where the handler cannot be called in either way.
    """
    import inspect  # noqa: PLC0415 - costs 9 ms, which only a worker pays

    try:
        signature = inspect.signature(target)
    except (ValueError, TypeError):  # a builtin: only calling it tells
        return False
    positional = [p for p in signature.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    second = positional[1] if len(positional) > 1 else None
    wants_ctx = second is not None and (second.default is second.empty or second.name in _CTX_NAMES)
    try:
        signature.bind(*_CALLED_WITH[: 1 + wants_ctx])
    except TypeError as error:
        raise HandlerLoadError(
            f"handler {spec!r} takes {signature}, and is called with (payload) or (payload, ctx): {error}"
        ) from None
    return wants_ctx


def _describe(spec: str, doing: str, error: BaseException) -> str:
    import traceback  # noqa: PLC0415 - for failures only

    frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
    last = frames[-1] if frames else None
    where = f'\n  File "{last.filename}", line {last.lineno}, in {last.name}\n    {last.line}' if last else ""
    return f"handler {spec!r} failed in {doing}: {type(error).__name__}: {error}{where}"
