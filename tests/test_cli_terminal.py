"""What is printed in a terminal of some width: nothing is broken in the midst, and what is left out is said."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from test_cli import AIRFLOW_33, NOW, ROOT

import storekit as sk
from storekit.cli.layout import hung, laid_out

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
INSTANT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?(?:Z| UTC)")
RUN = "manual__2026-11-22T13:24:20.024960+00:00"


def in_a_terminal(*arguments: str | Path, width: int, folder: Path) -> str:
    """Run a command in a terminal so wide, and return what it shows."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    with subprocess.Popen(
        [sys.executable, "-m", "storekit", *map(str, arguments)],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "TERM": "xterm"},
        stdin=its,
        stdout=its,
        stderr=subprocess.PIPE,
    ) as started:
        os.close(its)
        shown = b""
        while True:
            try:
                read = os.read(ours, 65_536)
            except OSError:  # Linux says so when the other side has gone
                break
            if not read:
                break
            shown += read
        assert started.stderr is not None
        assert started.stderr.read() == b""
        assert started.wait(60) == 0
    os.close(ours)
    return COLOURS.sub("", shown.decode()).replace("\r\n", "\n")


def table(shown: str, after: str) -> tuple[list[str], list[str]]:
    """Return the headings and the lines of the table that follows a text."""
    lines = shown.partition(after)[2].lstrip("\n").splitlines()
    body = lines[2:]
    end = next((number for number, line in enumerate(body) if not line.strip() or line.startswith("left out")), None)
    return re.split(r" {2,}", lines[0].strip()), body[:end]


@pytest.mark.parametrize("width", [80, 110, 160, 200])
def test_a_preview_fits_and_breaks_nothing(width: int, tmp_path: Path) -> None:
    shown = in_a_terminal("preview", AIRFLOW_33, "--now", NOW, "--limit", "0", width=width, folder=tmp_path)
    lines = shown.splitlines()
    assert max(map(cell_len, lines)) <= max(width, cell_len(f"  sqlite:///{AIRFLOW_33}") + 2)
    heads, rows = table(shown, "would be deleted:\n")
    with sk.connect(AIRFLOW_33) as store:
        wanted = store.snapshot().preview(NOW).rows()
    assert len(rows) == len(wanted) == 32  # a line each
    assert [head for head in ("dag id", "run id", "task id", "map", "key") if head in heads] == heads[:5]
    for row, line in zip(wanted.to_dict("records"), rows, strict=True):
        assert f"  {row['map_index']}  " in line or f" {row['map_index']} " in line
        for name, head in (("updated_at", "updated at"), ("expires_at", "expires at")):
            assert (f"{row[name]:%Y-%m-%d %H:%M:%S}Z" in line) == (head in heads)
        assert row["run_id"][14:27] in line or row["run_id"][16:27] in line  # to the second
    missing = {"updated at", "expires at", "bytes"} - set(heads)
    said = re.search(r"left out for want of room: (.*)", shown)
    assert (set() if said is None else set(said[1].split(", "))) == missing
    assert len(missing) == {80: 3, 110: 1, 160: 0, 200: 0}[width]
    assert (RUN in shown) == (width == 200)


@pytest.mark.parametrize("width", [60, 80, 110])
@pytest.mark.parametrize(
    "arguments",
    [
        ("preview", AIRFLOW_33, "--now", NOW, "--limit", "5"),
        ("tables", AIRFLOW_33, "--limit", "5", "--values"),
        ("simulate", AIRFLOW_33, "--days", "14,30", "--mode", "as-if", "--by", "dag_id"),
        ("recommend", AIRFLOW_33, "--days", "7,14", "--risks", "7 days"),
    ],
    ids=lambda words: words[0],
)
def test_no_instant_and_no_heading_is_broken(arguments: tuple[str | Path, ...], width: int, tmp_path: Path) -> None:
    shown = in_a_terminal(*arguments, width=width, folder=tmp_path)
    # Where a day ends a line, its time does not begin the next.
    assert not re.search(r"\d{4}-\d\d-\d\d\s*\n\s*\d\d:\d\d:\d\d", shown)
    assert not re.search(r"\d\d:\d\d:\d\d(?:\.\d+)?\s*\n\s*UTC", shown)
    for line in shown.splitlines():
        for cut in re.findall(r"\d{4}-\d\d-\d\d \d\d:\S*", line):
            assert INSTANT.match(line[line.index(cut) :])
    if arguments[0] == "preview":
        assert re.search(r"^dag id +deleted +bytes deleted +kept +bytes kept\b", shown, re.MULTILINE)


def test_a_plan_is_shown_to_the_width(tmp_path: Path) -> None:
    with sk.connect(AIRFLOW_33) as store:
        store.snapshot().plan(NOW).save(tmp_path / "p.parquet")
    shown = in_a_terminal("plan", "show", "p.parquet", "--limit", "3", width=110, folder=tmp_path)
    heads, rows = table(shown, "rows:\n")
    assert heads == ["dag id", "run id", "task id", "map", "key", "bytes", "expires at"]
    assert len(rows) == 3
    assert "… and 29 more" in shown


def test_csv_and_json_are_whole_in_a_terminal_too(tmp_path: Path) -> None:
    for form in ("csv", "json"):
        shown = in_a_terminal("preview", AIRFLOW_33, "--now", NOW, "--format", form, width=80, folder=tmp_path)
        assert shown.count(RUN) == 4


# --- the layout alone ------------------------------------------------------------------------------------------

HEADS = ["dag id", "run id", "rows", "updated at", "reason"]
DAY = "2026-11-22 13:25:26Z"
cells = st.tuples(
    st.text(st.characters(categories=["L", "M", "N", "P"]), max_size=50),
    st.sampled_from([RUN, "scheduled__2026-11-22T00:00:00+00:00", "by hand", "r" * 60, "運" * 30]),
    st.integers(0, 10**9).map(lambda number: f"{number:,}"),
    st.just(DAY),
    st.sampled_from(["expired", "12.4 kB … 12.5 kB, 3 rows: at 2026-11-22 13:25:26.000001 UTC, for in 23 d 1 h", ""]),
)


@given(rows=st.lists(cells, min_size=1, max_size=4), width=st.integers(20, 200))
def test_what_is_laid_out(rows: list[tuple[str, ...]], width: int) -> None:
    made = laid_out(HEADS, rows, width)
    assert made.width <= max(width, 100)
    left = [HEADS[place] for place in made.places]
    assert sorted([*left, *made.left_out]) == sorted(HEADS)
    assert {"dag id", "run id", "rows", "reason"} <= set(left)
    natural = [max(cell_len(text) for text in (head, *(row[at] for row in rows))) for at, head in enumerate(HEADS)]
    fits = sum(natural) + 3 * (len(HEADS) - 1) <= width
    for row, shown in zip(rows, made.rows, strict=True):
        for place, text in zip(made.places, shown, strict=True):
            whole = row[place]
            if fits or HEADS[place] in ("rows", "updated at"):
                assert text == whole
            elif HEADS[place] == "reason":
                assert text.split() == whole.split()
                for part in ("12.4 kB", "12.5 kB,", "3 rows:", "2026-11-22 13:25:26.000001 UTC,", "in 23 d 1 h"):
                    assert (part in text) == (part in whole)
            else:
                assert text == whole or "…" in text
                assert "\n" not in text


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (40, RUN),
        (39, "manual__2026-11-22T13:24:20…"),
        (28, "manual__2026-11-22T13:24:20…"),
        (27, "manu…__2026-11-22T13:24:20…"),
        (21, "…2026-11-22T13:24:20…"),
        (20, "…026-11-22T13:24:20…"),
        (16, "…11-22T13:24:20…"),
    ],
)
def test_a_run_is_shortened_where_it_says_the_least(width: int, shown: str) -> None:
    from storekit.cli.layout import _Column, _fitted

    assert _fitted(RUN, _Column(0, "run id", 40, 16, 6), width) == shown


def test_a_line_with_a_command_is_left_to_be_copied() -> None:
    command = "carry it out: storekit clean URL --plan a-name-that-is-very-long-indeed.parquet"
    assert hung(command, 40) == [command]
    assert hung("  note: one two three four five six", 30) == ["  note: one two three four", "        five six"]
    assert hung("  database      somewhere else than here", 36) == [
        "  database      somewhere else than",
        " " * 16 + "here",
    ]
