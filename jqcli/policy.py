"""What may happen to a failing job, and the decorator with which a handler says it.

Precedence, highest first: job line, option, environment, file, `@handler`, default. Each of them is a
`Policy` in which None means "not said"; `over` lays one on another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

from jqcli import value as v
from jqcli.errors import suggest
from jqcli.quantity import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Types = type[BaseException] | str | tuple[type[BaseException] | str, ...]

BACKOFFS = ("full-jitter", "exponential", "fixed")
ATTRIBUTE = "__jqcli_policy__"

T = TypeVar("T", bound="Callable[..., object]")


class Policy(NamedTuple):
    """What a job, the options or a handler asks for; None is "not said". Durations in seconds, `rate` in starts/s.

    `rate` is a handler's own, and limits it alone; the option of that name limits all jobs and is no policy.

    `retry_on` and `reject_on` are bare or dotted names of types, matched against the whole MRO. `version` is the
    handler's own too: another one makes what the store remembers of it void.
    """

    max_attempts: int | None = None
    timeout: float | None = None
    retry_on: tuple[str, ...] | None = None
    reject_on: tuple[str, ...] | None = None
    backoff: str | None = None
    backoff_base: float | None = None
    backoff_max: float | None = None
    max_crashes: int | None = None
    rate: float | None = None
    version: str | None = None

    def over(self, lower: Policy) -> Policy:
        """Return this policy with what it does not say filled from `lower`.

        >>> Policy(timeout=3.0).over(Policy(timeout=9.0, max_attempts=2)).to_dict()
        {'max_attempts': 2, 'timeout': 3.0}
        """
        return Policy.from_dict(lower.to_dict() | self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return what is said as a plain JSON object."""
        said = {name: getattr(self, name) for name in POLICY_NAMES}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in said.items()
            if value is not None
        }

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> Policy:
        """Return the policy that `to_dict` wrote."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in said.items()
        }
        return cls(**values)


POLICY_NAMES = Policy._fields
_OWN_NAMES = ("rate", "version")
ASKED_NAMES = tuple(name for name in POLICY_NAMES if name not in _OWN_NAMES)  # what an option says of every handler

POLICY_PARSERS: Mapping[str, Callable[[object], object]] = {
    "max_attempts": v.whole(1),
    "timeout": v.some_seconds,
    "retry_on": v.type_names,
    "reject_on": v.type_names,
    "backoff": v.choice(*BACKOFFS),
    "backoff_base": v.seconds,
    "backoff_max": v.seconds,
    "max_crashes": v.whole(1),
    "rate": v.rate,
    "version": v.word,
}

# Not said even here: `timeout` (off), `retry_on` (any Exception), `reject_on` (none).
DEFAULTS = Policy(max_attempts=5, backoff="full-jitter", backoff_base=0.5, backoff_max=60.0, max_crashes=2)


def check_backoff(policy: Policy) -> None:
    """Raise ValueError where every backoff would be cut to a shorter `backoff_max`, unasked."""
    whole = policy.over(DEFAULTS)
    base, most = whole.backoff_base or 0.0, whole.backoff_max or 0.0
    if base > most:
        raise ValueError(
            f"backoff_base of {format_duration(base)} is more than backoff_max of {format_duration(most)}: "
            "raise backoff_max too"
        )


@overload
def handler(target: T, /) -> T: ...
@overload
def handler(
    *,
    max_attempts: int | None = None,
    timeout: float | str | None = None,
    retry_on: Types | None = None,
    reject_on: Types | None = None,
    backoff: str | None = None,
    backoff_base: float | str | None = None,
    backoff_max: float | str | None = None,
    max_crashes: int | None = None,
    rate: float | str | None = None,
    version: int | str | None = None,
) -> Callable[[T], T]: ...
def handler(target: Any = None, /, **said: object) -> Any:
    """Put a policy beside a handler: `@handler`, or `@handler(max_attempts=3, timeout="30s")`.

    Durations are seconds or text such as ``"500ms"``; `retry_on` and `reject_on` take exception classes or
    their names, one or a tuple. An option given on the command line wins over what is said here.
    Returns the same function or class. Raises TypeError or ValueError at import for a wrong keyword or value.

    >>> @handler(max_attempts=3, retry_on=ConnectionError)
    ... def charge(payload): ...
    >>> charge.__jqcli_policy__.to_dict()
    {'max_attempts': 3, 'retry_on': ['builtins.ConnectionError']}
    """
    policy = _read_policy(said)

    def attach(target: T) -> T:
        if not callable(target):
            raise TypeError(f"@handler: {target!r} is no function and no class; policies are keywords")
        setattr(target, ATTRIBUTE, policy)
        return target

    return attach if target is None else attach(target)


def _read_policy(said: Mapping[str, object]) -> Policy:
    for name in said:
        if name not in POLICY_PARSERS:
            raise TypeError(f"@handler: there is no {name!r}{suggest(name, POLICY_NAMES)}")
    values: dict[str, Any] = {name: _read(name, value) for name, value in said.items() if value is not None}
    policy = Policy(**values)
    try:
        check_backoff(policy)
    except ValueError as error:
        raise ValueError(f"@handler: {error}") from None
    return policy


def _read(name: str, value: object) -> object:
    plain = _name_types(value) if name in {"retry_on", "reject_on"} else value
    try:
        return POLICY_PARSERS[name](plain)
    except ValueError as error:
        raise ValueError(f"@handler: {name}: {error}") from None


def _name_types(value: object) -> list[object]:
    items = value if isinstance(value, (list, tuple)) else (value,)
    return [_name_type(item) for item in items]


def _name_type(item: object) -> object:
    if not isinstance(item, type):
        return item
    if not issubclass(item, BaseException):
        raise TypeError(f"@handler: {item.__qualname__} is not an exception class")
    return f"{item.__module__}.{item.__qualname__}"
