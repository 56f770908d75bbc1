"""The shelf of notebooks: each runs from top to bottom on shipped data, and the committed file is what a run writes.

`notebooks/execute.py` runs a notebook in a process of its own, in a copy of the folder, with this Python as kernel.
One test per notebook, so that they run side by side.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from parts import require

ROOT = Path(__file__).resolve().parents[2]
SHELF = ROOT / "notebooks"
NOTEBOOKS = sorted(SHELF.glob("*.ipynb"))
LONGEST_CELL = 40
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
# Homes, temporary folders, working copies, drive letters, and objects by their address.
OF_A_MACHINE = re.compile(
    r"/(tmp|home|root|Users|var|private|work|mnt|opt)/\w|\b[A-Z]:\\\\?\w|site-packages| at 0x[0-9a-f]{6,}"
)
WARNED = re.compile(r"\b\w*Warning\b")

Cell = dict[str, Any]
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> dict[str, Any]:
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return notebook


def source(cell: Cell) -> str:
    return "".join(cell["source"])


def code(notebook: dict[str, Any]) -> list[Cell]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def python(cell: Cell) -> ast.Module:
    """Parse a cell; one that is written to a file by a magic is the file's Python."""
    text = source(cell)
    text = text.partition("\n")[2] if text.startswith("%%writefile") else text
    return compile(text, cell["id"], "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def shows(cell: Cell) -> bool:
    """Whether running the cell must show something: it ends in a value, or it prints."""
    if source(cell).startswith("%%writefile"):
        return True
    body = python(cell).body
    if not body:
        return False
    last = body[-1]
    prints = any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
        for statement in body
        if not isinstance(statement, ast.FunctionDef)
        for node in ast.walk(statement)
    )
    # A last call that returns None would show nothing: a notebook of ours does not end a cell in one.
    return prints or (isinstance(last, ast.Expr) and not isinstance(last.value, ast.Constant))


def texts(value: Any) -> str:
    """Return all that stands in outputs, pictures left out: their base64 may spell anything."""
    if isinstance(value, dict):
        return "\n".join(texts(each) for kind, each in value.items() if not str(kind).startswith("image/"))
    if isinstance(value, list):
        joined = "" if all(isinstance(each, str) for each in value) else "\n"
        return joined.join(texts(each) for each in value)
    return re.sub(r"base64,[A-Za-z0-9+/=]+", "", value) if isinstance(value, str) else ""


def kinds(cell: Cell) -> list[tuple[str, list[str]]]:
    """Return what sort of outputs a cell has, without what is in them."""
    return [(output["output_type"], sorted(output.get("data", {}))) for output in cell["outputs"]]


def test_there_is_a_shelf() -> None:
    assert [path.name[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05"]


@each_notebook
def test_it_runs_from_top_to_bottom(path: Path, tmp_path: Path) -> None:
    shelf = tmp_path / "notebooks"
    shutil.copytree(SHELF, shelf, ignore=shutil.ignore_patterns(".ipynb_checkpoints", "__pycache__"))
    (tmp_path / "data").symlink_to(ROOT / "data")
    before = set(shelf.rglob("*"))
    done = subprocess.run(
        [sys.executable, shelf / "execute.py", path.name],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(shelf.rglob("*")) == before, "a notebook writes to temporary folders only"

    committed, ran = read(path), read(shelf / path.name)
    assert [(cell["id"], source(cell)) for cell in ran["cells"]] == [
        (cell["id"], source(cell)) for cell in committed["cells"]
    ]
    for cell in code(ran):
        for output in cell["outputs"]:
            assert output["output_type"] != "error"
            assert output.get("name") != "stderr", f"{cell['id']}: {texts(output)}"
        assert not WARNED.search(texts(cell["outputs"])), f"{cell['id']} shows a warning"
    # What is in the outputs may change with a library's release; that they are there may not.
    assert {cell["id"]: kinds(cell) for cell in code(ran)} == {cell["id"]: kinds(cell) for cell in code(committed)}


@each_notebook
def test_the_committed_file_is_whole(path: Path) -> None:
    notebook = read(path)
    cells = notebook["cells"]
    assert cells[0]["cell_type"] == "markdown"
    assert source(cells[0]).startswith("# ")
    assert sum(source(cell).startswith("# ") for cell in cells if cell["cell_type"] == "markdown") == 1
    assert len({cell["id"] for cell in cells}) == len(cells)
    assert [cell["execution_count"] for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))
    for cell in code(notebook):
        assert len(source(cell).splitlines()) <= LONGEST_CELL, f"{cell['id']} is too long to take in"
        assert not any(output["output_type"] == "error" for output in cell["outputs"]), cell["id"]
        if shows(cell):
            assert cell["outputs"], f"{cell['id']} has no output: python notebooks/execute.py {path.name}"


@each_notebook
def test_the_committed_file_holds_nothing_of_a_machine_or_a_run(path: Path) -> None:
    notebook = read(path)
    assert notebook["metadata"] == {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook["cells"]:
        assert set(cell["metadata"]) <= {"tags"}, f"{cell['id']} has metadata of a run"
        assert not OF_A_MACHINE.search(source(cell)), f"{cell['id']} names a machine's path"
    for cell in code(notebook):
        shown = texts(cell["outputs"])
        assert not (found := OF_A_MACHINE.search(shown)), f"{cell['id']} shows {found and found[0]}"
        assert "\x1b[" not in shown, f"{cell['id']} shows a terminal's colours"
        for output in cell["outputs"]:
            data = output.get("data", {})
            assert WIDGET_VIEW not in data or len(data) == 1, f"{cell['id']} has a view of a widget that is gone"


@each_notebook
def test_it_asserts_what_it_claims(path: Path) -> None:
    statements = [node for cell in code(read(path)) for node in ast.walk(python(cell))]
    assert sum(isinstance(node, ast.Assert) for node in statements) >= 5


def test_airflow_still_prints_what_was_kept_of_it(tmp_path: Path) -> None:
    """The fifth notebook shows it as text. Time only adds lines: what has expired stays so."""
    require("airflow")
    sys.path.insert(0, str(ROOT / "tests" / "real_airflow"))
    from client import airflow_cli

    database = shutil.copy(ROOT / "data" / "fixtures" / "airflow-3.3.2.db", tmp_path / "airflow.db")
    done = airflow_cli(f"sqlite:///{database}", "state-store", "clean", "--dry-run")
    assert done.returncode == 0, done.stderr
    kept = (SHELF / "airflow-3.3.2-dry-run.txt").read_text(encoding="utf-8")
    rows = [line for line in kept.splitlines() if line.startswith("  Dag")]
    assert len(rows) == 13
    assert set(rows) <= set(done.stdout.splitlines())


@each_notebook
def test_its_links_lead_somewhere(path: Path) -> None:
    told = "\n".join(source(cell) for cell in read(path)["cells"] if cell["cell_type"] == "markdown")
    for target in re.findall(r"\]\(([^)]+)\)", told):
        assert (SHELF / target).exists(), target
