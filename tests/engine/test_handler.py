"""Laws of loading: every form of a spec, and an error that names what was tried and where it failed."""

from __future__ import annotations

import sys

import pytest

from jqcli.engine.handler import load_handler
from jqcli.engine.worker import load_handlers
from jqcli.errors import HandlerLoadError
from jqcli.policy import Policy

MODULE = """
import functools
from jqcli import handler

LOG = []

def plain(payload): return ("plain", payload)
def with_ctx(payload, ctx): return ctx
def named_ctx(payload, ctx=None): return ctx
def named_context(payload, context=None): return context
def other_default(payload, size=3): return size
def second(payload, anything): return anything
def rest(*payloads): return payloads
def keywords(payload, **more): return more
@handler(max_attempts=3)
def said(payload): ...
def none(): ...
def three(payload, ctx, more): ...
def keyword_only(*, payload): ...
def more_keywords(payload, *, ctx): ...
async def asynchronous(payload): ...
async def generating(payload): yield 1
partial = functools.partial(second, anything=1)
number = 7

class Model:
    def __init__(self): LOG.append("made")
    def __call__(self, payload): return self
    def method(self, payload, ctx): return ctx

class Managed(Model):
    def __enter__(self): LOG.append("entered"); return self
    def __exit__(self, *exc): LOG.append("left")

class Handing:
    def __enter__(self): return plain
    def __exit__(self, *exc): ...

class Failing:
    def __init__(self): raise ValueError("no model file")

class Exiting:
    def __enter__(self): raise SystemExit(2)
    def __exit__(self, *exc): ...

class Closed:
    def __call__(self): ...

class Async:
    async def __call__(self, payload): ...

class NotCallable: ...
model = Model()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "loadable.py").write_text(MODULE)
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").write_text("")
    (tmp_path / "pkg" / "inner.py").write_text("from pkg import __name__ as up\ndef work(payload): return up\n")
    (tmp_path / "beside.py").write_text("import loadable\ndef work(payload): return loadable.plain(payload)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in ("loadable", "pkg", "pkg.inner", "beside", "broken", "deep"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    "spec", ["loadable:plain", "loadable.py:plain", "./loadable.py:plain", "{folder}/loadable.py:plain"]
)
def test_a_function_is_loaded_from_a_module_or_a_file(folder, spec):
    found = load_handler(spec.format(folder=folder))
    assert found.call(1) == ("plain", 1)
    assert found.policy == Policy()
    assert not found.wants_ctx


def test_a_module_of_a_package_in_the_current_folder_is_found(folder):
    assert load_handler("pkg.inner:work").call(1) == "pkg"


def test_a_file_may_import_what_stands_beside_it(folder, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert load_handler(f"{folder}/beside.py:work").call(2) == ("plain", 2)


def test_an_attribute_of_an_object_is_reached_by_dots(folder):
    assert load_handler("loadable:model.method").wants_ctx


@pytest.mark.parametrize(
    "name, expected",
    [
        ("plain", False), ("with_ctx", True), ("named_ctx", True), ("named_context", True),
        ("other_default", False), ("second", True),
        ("rest", False), ("keywords", False), ("partial", False), ("Model", False), ("model.method", True),
        ("model", False),
    ],
)  # fmt: skip
def test_a_second_argument_is_ctx_where_it_has_no_default_or_the_name(folder, name, expected):
    assert load_handler(f"loadable:{name}").wants_ctx == expected


def test_a_builtin_that_does_not_tell_its_signature_is_let_through(folder):
    assert load_handler("builtins:max").call is max


def test_the_policy_beside_a_handler_is_read(folder):
    assert load_handler("loadable:said").policy == Policy(max_attempts=3)


def test_a_class_is_made_once_and_entered_and_left_where_it_is_a_context_manager(folder):
    load_handler("loadable:plain")
    log = sys.modules["loadable"].LOG
    log.clear()
    found = load_handlers({None: ("loadable:Managed", Policy()), "again": ("loadable:Managed", Policy(max_attempts=2))})
    assert log == ["made", "entered"]
    assert found[None].call(1) is found["again"].call(1)
    assert (found[None].policy, found["again"].policy) == (Policy(), Policy(max_attempts=2))
    for each in found.values():
        each.exit.close()
    assert log == ["made", "entered", "left"]


def test_what_a_context_manager_hands_out_is_what_is_called(folder):
    assert load_handler("loadable:Handing").call(5) == ("plain", 5)


def test_a_policy_laid_over_a_handler_wins_and_its_own_fills_the_rest(folder):
    found = load_handlers({None: ("loadable:said", Policy(timeout=2.0))})[None]
    assert found.policy == Policy(max_attempts=3, timeout=2.0)


@pytest.mark.parametrize(
    "spec, words",
    [
        ("loadable", ["write pkg.module:function"]),
        (":plain", ["write"]),
        ("loadable:", ["write"]),
        ("loadable:plian", ["has no 'plian'", "'plain'"]),
        ("loadable.py:model.metod", ["has no 'metod'", "'method'"]),
        ("missing.py:plain", ["there is no file missing.py"]),
        ("./:plain", ["there is no file"]),
        ("no_such_module:plain", ["no_such_module", "ModuleNotFoundError"]),
        ("loadable:number", ["int cannot be called"]),
        ("loadable:NotCallable", ["NotCallable cannot be called"]),
        ("loadable:asynchronous", ["async"]),
        ("loadable:generating", ["async"]),
        ("loadable:Async", ["async"]),
        ("loadable:none", ["takes (),", "(payload)", "too many positional arguments"]),
        ("loadable:three", ["takes (payload, ctx, more)", "(payload, ctx)", "'more'"]),
        ("loadable:keyword_only", ["takes (*, payload)", "too many positional arguments"]),
        ("loadable:more_keywords", ["'ctx'"]),
        ("loadable:Closed", ["takes (),"]),
        ("loadable:Failing", ["ValueError: no model file", "loadable.py", "__init__"]),
        ("loadable:Exiting", ["SystemExit: 2", "loadable.py", "__enter__"]),
    ],
)
def test_what_cannot_be_loaded_says_why(folder, spec, words):
    with pytest.raises(HandlerLoadError) as caught:
        load_handler(spec)
    for word in [repr(spec), *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "text, words",
    [
        ("def f(:\n", ["SyntaxError", "broken.py", "line 1"]),
        ("x = 1\nimport not_there_at_all\n", ["ModuleNotFoundError", 'broken.py", line 2']),
        ("raise SystemExit(3)\n", ["SystemExit: 3", 'broken.py", line 1']),
        ("raise KeyboardInterrupt\n", ["KeyboardInterrupt", 'broken.py", line 1']),
        ("def g():\n    return {}['k']\ng()\n", ["KeyError: 'k'", 'broken.py", line 2, in g', "return {}['k']"]),
        ("import deep\n", ["ZeroDivisionError", 'deep.py", line 1']),
    ],
)
@pytest.mark.parametrize("spec", ["broken.py:f", "broken:f"])
def test_a_module_that_fails_is_named_with_the_last_frame(folder, text, words, spec):
    (folder / "broken.py").write_text(text)
    (folder / "deep.py").write_text("1 / 0\n")
    with pytest.raises(HandlerLoadError) as caught:
        load_handler(spec)
    for word in [repr(spec), *words]:
        assert word in str(caught.value)
    assert caught.value.exit_code == 2
