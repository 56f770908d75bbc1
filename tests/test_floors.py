"""The floors of DESIGN: a module imports from lower floors only. Imports inside functions count as well."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "storekit"

FLOORS = {
    "errors": 0,
    "clock": 0,
    "interrupts": 0,
    "state": 1,
    "config": 1,
    "retention": 1,
    "metastore": 2,
    "objects": 2,
    "frames": 2,
    "engines": 2,
    "accessors": 3,
    "audit": 3,
    "cleaning": 3,
    "reading": 3,
    "restoring": 3,
    "store": 4,
    "notebook": 5,
    "cli": 5,
    "airflow": 5,
    "__main__": 6,  # `python -m storekit`, which calls the CLI
}
"""Package or module -> floor. `storekit/__init__.py` stands on none: it loads everything, lazily."""

# Nobody stands on the kit, and the kit may stand on anything: it is no floor.
OUTSIDE = {"testing"}

ALLOWED_ON_ONE_FLOOR = {
    # The options name backends, so they resolve to the contract's classes.
    ("config", "state"),
    # A policy speaks of NEVER_EXPIRE, and of the options in force.
    ("retention", "state"),
    ("retention", "config"),
    # A frame runs the named SQL texts, and an engine knows nothing of frames.
    ("frames", "engines"),
}

ALLOWED_UP: dict[tuple[str, str], str] = {}
"""(module, imported module) -> why it may. Empty, and meant to stay so."""

THIRD_PARTY_HOMES = {
    "ipywidgets": {"notebook"},
    "traitlets": {"notebook"},
    "anywidget": {"notebook"},
    "plotly": {"notebook"},
    "airflow": {"airflow"},
    "sqlalchemy": {"metastore"},
    "hypothesis": {"testing"},
    "pytest": {"testing"},
    "duckdb": {"frames", "engines"},
}

ALLOWED_THIRD_PARTY = {
    # The contract's `session` is typed by what callers hold; nothing is imported when it runs.
    ("storekit.state.contract", "sqlalchemy"): "type checking only",
    # `connect` takes a SQLAlchemy URL; again nothing is imported when it runs.
    ("storekit.store", "sqlalchemy"): "type checking only",
    ("storekit.reading", "sqlalchemy"): "type checking only",
}

ALLOWED_OF_THE_ROOT = {"storekit.__version__"}
"""What may be imported from `storekit` itself: it is there before anything lazy is."""


class Import:
    """One import: of what, where, and whether only the type checker sees it."""

    def __init__(self, module: str, target: str, line: int, *, type_checking: bool) -> None:
        self.module, self.target, self.line, self.type_checking = module, target, line, type_checking

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.target}"


def module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(source: str, module: str, *, is_package: bool) -> Iterator[Import]:
    """Every import statement, wherever it stands, and `importlib.import_module` of a literal."""

    def visit(node: ast.AST, type_checking: bool) -> Iterator[Import]:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.body:
                yield from visit(child, True)
            for child in node.orelse:
                yield from visit(child, type_checking)
            return
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, alias.name, node.lineno, type_checking=type_checking)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".") if is_package else module.split(".")[:-1]
                package = package[: len(package) - node.level + 1]
                base = ".".join([*package, *([base] if base else [])])
            if base == "storekit":
                for alias in node.names:
                    yield Import(module, f"storekit.{alias.name}", node.lineno, type_checking=type_checking)
            else:
                yield Import(module, base, node.lineno, type_checking=type_checking)
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) in {"importlib.import_module", "import_module", "__import__"}
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            yield Import(module, str(node.args[0].value), node.lineno, type_checking=type_checking)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, type_checking)

    yield from visit(ast.parse(source), False)


def all_imports(root: Path = ROOT) -> list[Import]:
    return [
        each
        for path in sorted(root.rglob("*.py"))
        if path != root / "__init__.py"
        for each in imports_of(
            path.read_text(encoding="utf-8"), module_name(path, root), is_package=path.name == "__init__.py"
        )
    ]


def part_of(module: str) -> str:
    """`storekit.metastore.urls` -> `metastore`."""
    return module.split(".")[1]


def violations(imports: list[Import]) -> list[str]:
    found = []
    for each in imports:
        home = part_of(each.module)
        if each.target == "storekit":
            found.append(f"{each}: the package itself is the top; import the module that has the name")
        elif each.target.startswith("storekit."):
            target = part_of(each.target)
            if target == home or home in OUTSIDE or each.target in ALLOWED_OF_THE_ROOT:
                continue
            if (each.module, each.target) in ALLOWED_UP:
                continue
            if target in OUTSIDE:
                found.append(f"{each}: nothing imports storekit.{target}")
            elif target not in FLOORS:
                found.append(f"{each}: storekit.{target} is on no floor; if it is a name, import its module")
            elif FLOORS[target] > FLOORS[home]:
                found.append(f"{each}: floor {FLOORS[home]} imports floor {FLOORS[target]}")
            elif FLOORS[target] == FLOORS[home] and (home, target) not in ALLOWED_ON_ONE_FLOOR:
                found.append(f"{each}: both are on floor {FLOORS[home]}")
        else:
            package = each.target.split(".")[0]
            if home not in THIRD_PARTY_HOMES.get(package, {home}) and not (
                each.type_checking and (each.module, package) in ALLOWED_THIRD_PARTY
            ):
                found.append(f"{each}: only {', '.join(sorted(THIRD_PARTY_HOMES[package]))} may")
    return found


def test_every_module_has_a_floor() -> None:
    parts = {part_of(module_name(path, ROOT)) for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py"}
    assert parts <= set(FLOORS) | OUTSIDE


def test_no_import_climbs() -> None:
    imports = all_imports()
    assert len(imports) > 100
    assert violations(imports) == []


def test_every_exception_is_used() -> None:
    imports = all_imports()
    pairs = {(part_of(each.module), part_of(each.target)) for each in imports if each.target.startswith("storekit.")}
    assert pairs >= {pair for pair in ALLOWED_ON_ONE_FLOOR if (ROOT / pair[0]).exists() and (ROOT / pair[1]).exists()}
    used = {(each.module, each.target.split(".")[0]) for each in imports}
    assert used >= set(ALLOWED_THIRD_PARTY)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("storekit.clock", "from storekit.state import TaskScope"),
        ("storekit.state.keys", "def f():\n    from storekit.accessors import TaskStoreAccessor"),
        ("storekit.state.keys", "from ..config import StateStoreConfig"),
        (
            "storekit.retention.verdicts",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import storekit.store",
        ),
        ("storekit.metastore.urls", "from storekit.frames import wire"),
        ("storekit.store", "import storekit.testing"),
        ("storekit.store", "import storekit"),
        ("storekit.store", "from storekit import Store"),
        ("storekit.store", "import importlib\nimportlib.import_module('storekit.cli')"),
        ("storekit.frames.scan", "import ipywidgets"),
        ("storekit.accessors", "import sqlalchemy.orm"),
        ("storekit.accessors", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import sqlalchemy"),
        ("storekit.state.contract", "import sqlalchemy"),
        ("storekit.cli", "from airflow.sdk import DAG"),
    ],
)
def test_a_climbing_import_is_found(module: str, source: str) -> None:
    assert len(violations(list(imports_of(source, module, is_package=False)))) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("storekit.store", "from storekit.metastore import urls"),
        ("storekit.store", "from storekit import errors"),
        ("storekit.metastore.backend", "from . import urls\nfrom .urls import parse_url"),
        ("storekit.airflow.backend", "import airflow"),
        ("storekit.testing.machine", "from storekit.store import Store"),
    ],
)
def test_an_import_downward_is_not(module: str, source: str) -> None:
    assert violations(list(imports_of(source, module, is_package=False))) == []
