"""Documentation runs: every ``python`` block is executed, every ``console`` block's output is compared.

A block that starts with ``# NAME.py`` is a file for the blocks after it; one that starts with ``# test_NAME.py`` is run
by pytest. A DataFrame that is left unnamed, for the reader to see, must hold something to see.

Set ``STOREKIT_UPDATE_DOCS=1`` to write the outputs of ``console`` blocks anew, then read the difference.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from commands import storekit

import storekit as sk
from storekit.frames.contract import ASSETS, TASKS
from storekit.retention import load_policies

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
KNOWN_LANGUAGES = {"python", "console", "bash", "ini", "text", "toml"}


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_has_a_language_that_is_executed_or_inert(page: Path) -> None:
    kinds = {kind for kind, _ in BLOCK.findall(page.read_text(encoding="utf-8"))}
    assert kinds <= KNOWN_LANGUAGES


def file_of(text: str) -> str | None:
    """Return the name of the file that a block stands for."""
    found = re.match(r"# (\w+\.py)\n", text)
    return found[1] if found else None


def teaches(value: Any) -> bool:
    """Whether an answer that a page leaves for its reader to see has something in it: a table has rows that differ."""
    if not isinstance(value, pd.DataFrame):
        return True
    if value.empty:
        return False
    return "deleted" not in value or len(value) == 1 or value["deleted"].nunique() > 1


def execute(text: str, name: str, namespace: dict[str, Any]) -> None:
    """Run a block as a notebook's cell would be, and look at each answer that it leaves unnamed."""
    for statement in ast.parse(text, name).body:
        if isinstance(statement, ast.Expr):
            value = eval(compile(ast.Expression(statement.value), name, "eval"), namespace)  # noqa: S307
            assert teaches(value), f"{name}: nothing to see in {ast.unparse(statement)}:\n{value}"
        else:
            exec(compile(ast.Module([statement], []), name, "exec"), namespace)  # noqa: S102


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name_of)
def test_python_blocks_run(page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The blocks of one page share a namespace, as a reader's notebook would."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for number, text in enumerate(blocks(page, "python"), start=1):
        if file := file_of(text):
            (tmp_path / file).write_text(text, encoding="utf-8")
        if file and file.startswith("test_"):
            summary = run_by_pytest(tmp_path / file)
            assert re.fullmatch(r"\d+ passed(, \d+ skipped)? in .*", summary), summary
        else:
            execute(text, f"{name_of(page)}, python block {number}", namespace)


def run_by_pytest(file: Path) -> str:
    """Return the last line that pytest prints for a file, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--color=no", "-p", "no:cacheprovider", file.name],
        cwd=file.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "CI": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return (done.stdout.splitlines() or [done.stderr])[-1]


def test_a_table_with_nothing_to_see_is_noticed() -> None:
    namespace: dict[str, Any] = {"pd": pd}
    execute("pd.DataFrame({'deleted': [1, 2]})", "differs", namespace)
    for nothing in ("pd.DataFrame({'deleted': []})", "pd.DataFrame({'deleted': [7, 7]})"):
        with pytest.raises(AssertionError, match="nothing to see"):
            execute(nothing, "alike", namespace)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "toml")], ids=name_of)
def test_toml_blocks_are_policies(page: Path, tmp_path: Path) -> None:
    for text in blocks(page, "toml"):
        (tmp_path / "policy.toml").write_text(text, encoding="utf-8")
        assert load_policies(tmp_path / "policy.toml")


# What a preview of a live database prints that is another at every run: when it was read, and how --now lies to that. A
# page says so before its first such output.
LIVE = re.compile(r"^storekit preview \S+\.db\b")
READ_AT = re.compile(r"snapshot of [-0-9:. ]+ UTC\)")
BESIDE_NOW = re.compile(r"^  note: The instant lies (before|after) the snapshot.*\n", re.MULTILINE)
SAID = '"this moment"'


def run(command: str, folder: Path) -> str:
    words = shlex.split(command)
    assert words[0] == "storekit", f"only storekit's own commands are run, not {words[0]!r}"
    done = storekit(*words[1:], folder=folder)
    assert done.returncode == 0, done.stderr
    printed = "".join(f"{line.rstrip()}\n" for line in (done.stdout + done.stderr).splitlines())
    if LIVE.match(command):
        printed = BESIDE_NOW.sub("", READ_AT.sub("snapshot of this moment)", printed))
    return printed


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "console")], ids=name_of)
def test_console_blocks_print_what_they_show(page: Path, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(ROOT / "data")
    text = page.read_text(encoding="utf-8")
    for block in blocks(page, "console"):
        prompt, _, shown = block.partition("\n")
        assert prompt.startswith("$ "), f"a console block starts with its command: {prompt!r}"
        printed = run(prompt[2:], tmp_path)
        assert str(tmp_path) not in printed, "a page names no path of a machine"
        if os.environ.get("STOREKIT_UPDATE_DOCS"):
            text = text.replace(block, f"{prompt}\n{printed}")
        else:
            assert printed == shown
    page.write_text(text, encoding="utf-8") if os.environ.get("STOREKIT_UPDATE_DOCS") else None


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "console")], ids=name_of)
def test_what_an_output_does_not_show_is_said_before_it(page: Path) -> None:
    before, live, _ = page.read_text(encoding="utf-8").partition("$ storekit preview data/fixtures/airflow")
    assert not live or SAID in before


def test_readme_has_exactly_two_set_up_commands() -> None:
    commands = blocks(ROOT / "README.md", "bash")
    assert len(commands) == 2
    assert all(len(command.strip().splitlines()) == 1 for command in commands)
    assert "data/fixtures/" in commands[0]
    assert "pytest" in commands[1]


def test_the_columns_page_is_the_contract() -> None:
    text = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")
    for column in (*TASKS.columns, *ASSETS.columns):
        null = "yes" if column.nullable else "no"
        assert f"| `{column.name}` | {column.type} | {null} | {column.about} |" in text


def test_the_shipped_snapshot_is_what_its_script_makes(tmp_path: Path) -> None:
    """The pages' outputs rest on it: small, of no machine, and made again the same."""
    shipped = ROOT / "data" / "fixtures" / "snapshot"
    script = ROOT / "data" / "fixtures" / "make_snapshot.py"
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, script, tmp_path / "made"], env=environ, check=True, capture_output=True)
    kept, made = sk.open_snapshot(shipped), sk.open_snapshot(tmp_path / "made")
    assert kept.equals(made)
    assert kept.info.model_copy(update={"storekit_version": made.info.storekit_version}) == made.info
    assert kept.info.database == "sqlite:///airflow.db"
    assert kept.info.database_id is None
    assert sum(file.stat().st_size for file in shipped.iterdir()) < 250_000
