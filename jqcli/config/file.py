"""The configuration file: `--config FILE`, else ./jqcli.toml, else [tool.jqcli] of ./pyproject.toml."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jqcli.config.flow import TENANT_NAMES, read_tenant
from jqcli.config.given import Given, Layer
from jqcli.config.handler import HandlerSpec, check_name, check_spec, is_file_spec
from jqcli.config.option import OPTION_NAMES
from jqcli.config.path import BESIDE, check_folder
from jqcli.errors import UsageError, suggest
from jqcli.policy import POLICY_NAMES, POLICY_PARSERS, Policy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jqcli.core.limit import Rate

_TABLES = ("handlers", "profiles", "tenants")
_PATHS = ("output", "dlq", "store", *BESIDE)


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What the file says, the chosen profile laid over the top level; `path` is None where there is none.

    `asked` is the path that was asked for, None where the file was found, and `profile` the profile.
    Paths in it are relative to the current folder, not to the file's.
    """

    path: str | None = None
    values: Mapping[str, Given] = field(default_factory=dict)
    handlers: tuple[HandlerSpec, ...] = ()
    tenants: Mapping[str, Rate] = field(default_factory=dict)
    asked: str | None = None
    profile: str | None = None


def load_config(path: str | None = None, profile: str | None = None, folder: str = "") -> ConfigFile:
    """Return what the file at `path` says, or the one found in `folder` (by default the current one).

    Raises UsageError for a file that cannot be read, an unknown key, a bad type or an unknown profile, and FileError
    where there is no current folder.
    """
    check_folder()
    asked = path or None
    path = path or _find(folder)
    if path is None:
        if profile is not None:
            raise UsageError(f"--profile {profile}: no jqcli.toml here, and no [tool.jqcli] in pyproject.toml")
        return ConfigFile()
    top = _read_table(path)
    if top is None:
        raise UsageError(f"{path}: it has no [tool.jqcli]")
    _check_keys(path, "", top, (*OPTION_NAMES, *_TABLES))
    profiles = {name: _table(path, f"profiles.{name}", value) for name, value in _sub(path, top, "profiles")}
    for name, table in profiles.items():
        _check_keys(path, f"[profiles.{name}] ", table, OPTION_NAMES)
    handlers = tuple(_read_handler(path, name, value) for name, value in _sub(path, top, "handlers"))
    values = _place(path, "", {name: value for name, value in top.items() if name not in _TABLES})
    if profile is not None:
        if profile not in profiles:
            raise UsageError(f"{path}: there is no profile {profile!r}{_known(profile, profiles)}")
        values |= _place(path, f"[profiles.{profile}] ", profiles[profile])
    tenants = {name: _read_tenant(path, name, value) for name, value in _sub(path, top, "tenants")}
    return ConfigFile(path, values, handlers, tenants, asked, profile)


def _find(folder: str) -> str | None:
    own, shared = Path(folder, "jqcli.toml"), Path(folder, "pyproject.toml")
    if own.exists():
        return str(own)
    return str(shared) if shared.exists() and _read_table(str(shared)) is not None else None


def _read_table(path: str) -> dict[str, Any] | None:
    """Return the top level of the file, or [tool.jqcli] of a pyproject.toml (None where it has none)."""
    try:
        with Path(path).open("rb") as file:
            top: Any = tomllib.load(file)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # beside TOMLDecodeError: bytes, numbers and depth beyond Python
        raise UsageError(f"{path}: not TOML: {error}") from None
    if Path(path).name == "pyproject.toml":
        tool = top.get("tool")
        top = tool.get("jqcli") if isinstance(tool, dict) else None
        return None if top is None else _table(path, "tool.jqcli", top)
    return _table(path, "", top)


def _table(path: str, name: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{path}: {name}: {value!r} is not a table; write [{name}]")
    return value


def _sub(path: str, top: Mapping[str, Any], name: str) -> Iterable[tuple[str, Any]]:
    return _table(path, name, top.get(name, {})).items()


def _check_keys(path: str, section: str, table: Iterable[str], known: Iterable[str]) -> None:
    for key in table:
        if key not in known:
            raise UsageError(f"{path}: {section}{key}: there is no such key{suggest(key, known)}")


def _known(word: str, known: Iterable[str]) -> str:
    return suggest(word, known) or (f"; there are {', '.join(known)}" if any(known) else "; it has none")


def _place(path: str, section: str, table: Mapping[str, Any]) -> dict[str, Given]:
    return {
        name: Given(_from_folder(path, name, value), f"{path}: {section}{name}", Layer.FILE)
        for name, value in table.items()
    }


def _from_folder(path: str, name: str, value: object) -> object:
    """Return a relative path of the file as one relative to the current folder; other values as they are."""
    is_path = name in _PATHS and value != "-"
    if not isinstance(value, str) or not (is_path or (name in {"handler", "spec"} and is_file_spec(value))):
        return value
    return str(Path(path).parent / value) if value else value


def _read_tenant(path: str, name: str, value: object) -> Rate:
    said = {"rate": value} if not isinstance(value, dict) else value
    section = f"[tenants.{name}] "
    _check_keys(path, section, said, TENANT_NAMES)
    if "rate" not in said:
        raise UsageError(f'{path}: {section}has no rate; write rate = "50/s"')
    return read_tenant(_place(path, section, said))


def _read_handler(path: str, name: str, value: object) -> HandlerSpec:
    section = f"[handlers.{name}] "
    said = {"spec": value} if isinstance(value, str) else _table(path, f"handlers.{name}", value)
    _check_keys(path, section, said, ("spec", *POLICY_NAMES))
    if "spec" not in said:
        raise UsageError(f'{path}: {section}has no spec; write spec = "path/file.py:function"')
    given = _place(path, section, said)
    Given(name, f"{path}: [handlers]", Layer.FILE).read(lambda _: check_name(name))
    policy: dict[str, Any] = {key: given[key].read(POLICY_PARSERS[key]) for key in said if key != "spec"}
    return HandlerSpec(name, given["spec"].read(check_spec), Policy(**policy))
