"""Documentation runs: every ``python`` block is executed, every ``console`` block's output is compared.

Set ``STOREKIT_UPDATE_DOCS=1`` to write the outputs of ``console`` blocks anew, then read the difference.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name_of)
def test_python_blocks_run(page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The blocks of one page share a namespace, as a reader's notebook would."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    namespace: dict[str, object] = {"__name__": "__main__"}
    for number, text in enumerate(blocks(page, "python"), start=1):
        exec(compile(text, f"{name_of(page)}, python block {number}", "exec"), namespace)  # noqa: S102


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "toml")], ids=name_of)
def test_toml_blocks_are_policies(page: Path, tmp_path: Path) -> None:
    for text in blocks(page, "toml"):
        (tmp_path / "policy.toml").write_text(text, encoding="utf-8")
        assert load_policies(tmp_path / "policy.toml")


# What in the outputs is another at every run: when the snapshot was taken, and so many days after it.
TAKEN = re.compile(r"snapshot of [^)]*\)")
AFTER_IT = re.compile(r"(?<=after the snapshot), on [-0-9: ]+ UTC")
# Notes of which the one is there until the clock passes the pages' --now, and the other from then on.
BY_THE_CLOCK = ("The instant lies after the snapshot", "The instant lies before the snapshot")


def run(command: str, folder: Path) -> str:
    words = shlex.split(command)
    assert words[0] == "storekit", f"only storekit's own commands are run, not {words[0]!r}"
    done = subprocess.run(
        [sys.executable, "-m", "storekit", *words[1:]],
        cwd=folder,
        env={**os.environ, "AIRFLOW_HOME": str(folder), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    printed = AFTER_IT.sub("", TAKEN.sub("snapshot of this moment)", done.stdout + done.stderr))
    lines = printed.splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines if not any(note in line for note in BY_THE_CLOCK))


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "console")], ids=name_of)
def test_console_blocks_print_what_they_show(page: Path, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(ROOT / "data")
    text = page.read_text(encoding="utf-8")
    for block in blocks(page, "console"):
        prompt, _, shown = block.partition("\n")
        assert prompt.startswith("$ "), f"a console block starts with its command: {prompt!r}"
        printed = run(prompt[2:], tmp_path)
        if os.environ.get("STOREKIT_UPDATE_DOCS"):
            text = text.replace(block, f"{prompt}\n{printed}")
        else:
            assert printed == shown
    page.write_text(text, encoding="utf-8") if os.environ.get("STOREKIT_UPDATE_DOCS") else None


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
