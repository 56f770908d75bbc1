"""Every public name says what it takes and what it gives, in numpydoc's sections.

Whether what is said is true, other tests and readers see to; here only that nothing is left out. The methods are those
that storekit's own classes define; what overrides a method of pydantic's, traitlets' or Hypothesis' is told by theirs.
"""

from __future__ import annotations

import enum
import importlib
import inspect
import re
from collections.abc import Callable
from functools import cached_property
from types import FunctionType
from typing import Any

import pytest
from pydantic import BaseModel

for part in ("traitlets", "anywidget", "ipywidgets", "plotly"):
    pytest.importorskip(part, reason="the notebook's names: pip install -e '.[test]'")

PACKAGES = ("storekit", "storekit.testing", "storekit.notebook", "storekit.notebook.state")

TOLD_ELSEWHERE = {
    "CleanupReport": {"drift_table"},  # by the property drift, with its columns
    "RestoreReport": {"conflict_table", "orphan_table"},  # by conflict_rows and orphan_rows
}
"""Parameters that their class does not name; they are how a report is built, not how it is read."""

_FRAME = re.compile(r"\b(DataFrame|pa\.Table|RecordBatchReader)\b")
_MARKS = ("hypothesis_stateful_rule", "hypothesis_stateful_initialize_rule", "hypothesis_stateful_invariant")


# --- what a docstring says -----------------------------------------------------------------------------------------


def sections(doc: str) -> dict[str, str]:
    """Return the sections of a docstring by title; what stands before them is under ``""``."""
    before, *rest = re.split(r"^(\S[^\n]*)\n-{3,}\n", f"{doc}\n", flags=re.MULTILINE)
    return {"": before, **dict(zip(rest[::2], rest[1::2], strict=True))}


def named(doc: str) -> set[str]:
    """Return what has an entry, such as ``limit, offset`` or ``rows : int``, that says something."""
    told = sections(doc)
    text = told.get("Parameters", "") + told.get("Attributes", "")
    heads = re.findall(r"^(\S[^\n]*)\n +\S", text, flags=re.MULTILINE)
    return {name.strip().lstrip("*") for head in heads for name in head.partition(" : ")[0].split(",")}


def tells_result(doc: str, annotation: str) -> bool:
    """Tell whether a result is described; a summary line is enough for what has no columns."""
    if any(sections(doc).get(title, "").strip() for title in ("Returns", "Yields")):
        return True
    return doc.startswith("Return ") and not _FRAME.search(annotation)


# --- what there is to say ------------------------------------------------------------------------------------------


def taken(function: Callable[..., Any]) -> set[str]:
    return set(inspect.signature(function).parameters) - {"self"}


def made_of(cls: type) -> set[str]:
    """Return what users make an object of; what is handed on to a base as it is, the base tells."""
    doc = inspect.getdoc(cls) or ""
    if issubclass(cls, enum.Enum | Warning) or getattr(cls, "_is_protocol", False):
        return set()
    if re.search(r"\b[Mm]ade by `", doc) and "Parameters" not in sections(doc):
        return set()  # as docs/conf.py has it: nobody else makes one
    if issubclass(cls, BaseModel):
        return set(cls.model_fields)
    parameters = inspect.signature(cls.__init__).parameters.values() if "__init__" in vars(cls) else ()
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {each.name for each in parameters if each.kind not in variable} - {"self"}


def is_anothers(cls: type, name: str, member: Any) -> bool:
    """Tell whether another library tells it, or calls it and nobody else does: a test, a rule, an override."""
    if name.startswith(("_", "test_")) or any(hasattr(member, mark) for mark in _MARKS):
        return True
    return any(name in vars(base) for base in cls.__mro__ if base.__module__.partition(".")[0] != "storekit")


def members(cls: type) -> dict[str, Any]:
    """Return the public methods and properties of a class that storekit defines, for it or for a base of it."""
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        for name, member in vars(base).items():
            if base.__module__.partition(".")[0] == "storekit" and not is_anothers(cls, name, member):
                found.setdefault(name, member)
    return found


def gather() -> tuple[dict[str, type], dict[str, Any], dict[str, str], dict[str, str]]:
    """Return the public classes, the functions and methods, what the latter return, and the docstrings of all."""
    classes: dict[str, type] = {}
    functions: dict[str, Any] = {}
    results: dict[str, str] = {}
    docs: dict[str, str] = {}

    def add(name: str, told: Any, function: Any) -> None:
        functions[name], docs[name] = function, inspect.getdoc(told) or ""
        results[name] = str(inspect.signature(function).return_annotation)

    for package in PACKAGES:
        module = importlib.import_module(package)
        for each in module.__all__:
            thing = getattr(module, each)
            if isinstance(thing, FunctionType):
                add(each, thing, thing)
            if not isinstance(thing, type):
                continue
            classes[each], docs[each] = thing, inspect.getdoc(thing) or ""
            for name, member in members(thing).items():
                if isinstance(member, property):
                    docs[f"{each}.{name}"] = inspect.getdoc(member) or ""
                    results[f"{each}.{name}"] = str(inspect.signature(member.fget).return_annotation)
                elif isinstance(member, cached_property):
                    docs[f"{each}.{name}"] = inspect.getdoc(member) or ""
                    results[f"{each}.{name}"] = str(inspect.signature(member.func).return_annotation)
                elif isinstance(member, FunctionType | classmethod | staticmethod):
                    add(f"{each}.{name}", getattr(thing, name), getattr(thing, name))
    return classes, functions, results, docs


CLASSES, FUNCTIONS, RESULTS, DOCS = gather()


def twin(name: str) -> str | None:
    """Return the blocking method that an awaited one, by its docstring ``As `get`, awaited.``, refers to."""
    found = re.match(r"As `(\w+)`, awaited\.", DOCS[name])
    return f"{name.rpartition('.')[0]}.{found[1]}" if found else None


def untold(name: str) -> set[str]:
    """Return the parameters of a function or a class that its docstring leaves out."""
    if name in CLASSES:
        return made_of(CLASSES[name]) - named(DOCS[name]) - TOLD_ELSEWHERE.get(name, set())
    of = twin(name)
    return taken(FUNCTIONS[name]) - (taken(FUNCTIONS[of]) if of else named(DOCS[name]))


def gives_untold(name: str) -> bool:
    """Tell whether a result is left out. A property is a noun; one that is a table tells its columns all the same."""
    annotation = RESULTS[name]
    if annotation == "None" or (name not in FUNCTIONS and not _FRAME.search(annotation)):
        return False
    return not tells_result(DOCS[twin(name) or name], annotation)


def test_every_public_name_has_a_docstring() -> None:
    assert len(DOCS) > 300, "they are not found any more"
    assert [name for name, doc in DOCS.items() if not doc] == []


def test_every_parameter_is_described() -> None:
    assert {name: sorted(left) for name in (*FUNCTIONS, *CLASSES) if (left := untold(name))} == {}


def test_every_result_is_described() -> None:
    assert [name for name in RESULTS if gives_untold(name)] == []


def test_what_is_told_elsewhere_is_there() -> None:
    for name, left in TOLD_ELSEWHERE.items():
        assert left <= made_of(CLASSES[name]) - named(DOCS[name])


# --- what is left out is seen --------------------------------------------------------------------------------------

WHOLE = """Write or overwrite a key.

Parameters
----------
key, value
    What is kept,
    and under which name.
*more : str
    Whatever else.

Returns
-------
DataFrame
    key (str).
"""


def test_a_docstring_is_read_as_numpydoc_has_it() -> None:
    assert list(sections(WHOLE)) == ["", "Parameters", "Returns"]
    assert named(WHOLE) == {"key", "value", "more"}
    assert tells_result(WHOLE, "pd.DataFrame")


@pytest.mark.parametrize(
    ("before", "after", "missing"),
    [
        ("key, value", "key", {"value"}),
        ("*more : str\n    Whatever else.\n", "", {"more"}),
        ("*more : str\n    Whatever else.\n", "*more : str\n", {"more"}),  # it is named, and nothing is said
        ("Parameters\n----------\n", "", {"key", "value", "more"}),
        ("Parameters\n", "Notes\n", {"key", "value", "more"}),
    ],
)
def test_a_parameter_that_is_left_out_is_seen(before: str, after: str, missing: set[str]) -> None:
    assert before in WHOLE
    assert {"key", "value", "more"} - named(WHOLE.replace(before, after)) == missing


@pytest.mark.parametrize(
    ("doc", "annotation", "told"),
    [
        ("Return the key.", "str", True),
        ("Return the rows.", "pd.DataFrame", False),
        ("Return the rows.", "Iterator[pa.RecordBatchReader]", False),
        ("Returns nothing that was asked for.", "str", False),
        ("Tell whether it is there.", "bool", False),
        ("Tell whether it is there.\n\nReturns\n-------\nbool\n    True: it is.", "bool", True),
        ("Tell whether it is there.\n\nReturns\n-------\n\nRaises\n------\nKeyError\n    Never.", "bool", False),
        ("Open it.\n\nYields\n------\nDataFrame\n    key (str).", "Iterator[pd.DataFrame]", True),
    ],
)
def test_a_result_that_is_left_out_is_seen(doc: str, annotation: str, told: bool) -> None:
    assert tells_result(doc, annotation) is told
