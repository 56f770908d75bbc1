"""The command line as a stranger meets it: a process, its two streams, its exit code."""

from __future__ import annotations

import csv
import io
import json
import locale
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from commands import storekit, storekit_process

import storekit as sk
from storekit.cli import main
from storekit.clock import ManualClock
from storekit.metastore import MetastoreStateBackend
from storekit.testing import HOSTILE_KEYS

ROOT = Path(__file__).resolve().parent.parent
AIRFLOW_33 = ROOT / "data" / "fixtures" / "airflow-3.3.2.db"
NOW = "2026-11-28T00:00:00Z"
TAKEN = re.compile(r'snapshot of [^)]*|"taken_at": "[^"]*"')


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    path = tmp_path / "hostile.db"
    backend = MetastoreStateBackend(path)
    backend.create_tables()
    backend.add_dag_run("etl", "r")
    for key in HOSTILE_KEYS:
        backend.set(sk.TaskScope("etl", "r", "t"), key, "1")
    backend.close()
    return path


def test_preview_is_readable(tmp_path: Path) -> None:
    done = storekit_process("preview", AIRFLOW_33, "--now", NOW, folder=tmp_path)
    assert done.returncode == 0
    assert done.stderr == ""
    with sk.connect(AIRFLOW_33) as store:
        shown = store.snapshot().preview(NOW)
    assert f"{shown.deleted} rows" in done.stdout
    for dag_id in ("orders_etl", "churn_model"):
        assert dag_id in done.stdout


PAST = "2020-06-01T00:00:00Z"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A store of 2020: three rows expired by `PAST`, one not; all behind every clock that runs this."""
    path = tmp_path / "old.db"
    backend = MetastoreStateBackend(path, clock=ManualClock(datetime(2020, 1, 1, tzinfo=UTC)))
    backend.create_tables()
    backend.add_dag_run("etl", "r")
    for number, days in enumerate((1, 2, 3, 36_500)):
        expires_at = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=days)
        backend.set(sk.TaskScope("etl", "r", "t"), f"key{number}", "1", expires_at=expires_at)
    backend.close()
    return path


def rows_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        count: int = connection.execute("SELECT count(*) FROM task_store").fetchone()[0]
    return count


@pytest.mark.parametrize("action", ["cleanup-task-store", "clean"])
def test_the_dry_run_deletes_nothing_and_the_deed_does_what_it_said(action: str, old: Path, tmp_path: Path) -> None:
    before = old.read_bytes()
    dry = storekit("state-store", action, old, "--dry-run", "--now", PAST, "--format", "csv", folder=tmp_path)
    assert dry.returncode == 0
    assert old.read_bytes() == before
    assert len(list(csv.DictReader(io.StringIO(dry.stdout)))) == 3
    deed = storekit("state-store", action, old, "--now", PAST, folder=tmp_path)
    assert "Deleted 3 " in deed.stdout
    again = storekit("state-store", action, old, "--dry-run", "--now", PAST, folder=tmp_path)
    assert "Nothing to delete." in again.stdout
    assert rows_of(old) == 1


def test_a_deletion_ahead_of_the_clock_is_refused(old: Path, tmp_path: Path) -> None:
    done = storekit("state-store", "clean", old, "--now", "2999-01-01T00:00:00Z", folder=tmp_path)
    assert done.returncode == 2
    assert "2999" in done.stderr
    assert "storekit preview --now" in done.stderr
    assert "Traceback" not in done.stderr
    assert rows_of(old) == 4
    helped = storekit_process("state-store", "clean", "--help", folder=tmp_path)
    assert helped.returncode == 0
    assert "ahead of the clock" in " ".join(helped.stdout.split())


def test_json_of_a_deletion_and_of_a_skipped_one(old: Path, tmp_path: Path) -> None:
    clean = ("state-store", "clean", old, "--now", PAST, "--format")
    skipped = storekit(*clean, "json", folder=tmp_path, AIRFLOW__STATE_STORE__BACKEND="my.own.Backend")
    assert json.loads(skipped.stdout) == {"dry_run": False, "skipped": "my.own.Backend", "deleted": 0}
    unsaid = storekit(*clean, "json", "--dry-run", folder=tmp_path, AIRFLOW__STATE_STORE__BACKEND="my.own.Backend")
    assert json.loads(unsaid.stdout) == {"dry_run": True, "skipped": "my.own.Backend", "to_delete": 0}
    refused = storekit(*clean, "csv", folder=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--dry-run" in refused.stderr
    dry = json.loads(storekit(*clean, "json", "--dry-run", folder=tmp_path).stdout)
    assert (dry["dry_run"], dry["to_delete"], len(dry["rows"])) == (True, 3, 3)
    assert "deleted" not in dry
    assert [group["to_delete"] for group in dry["by"]] == [3]
    assert json.loads(storekit(*clean, "json", folder=tmp_path).stdout) == {"dry_run": False, "deleted": 3}


def test_this_machines_file_says_nothing_of_another_database(old: Path, tmp_path: Path) -> None:
    config = tmp_path / "airflow.cfg"
    config.write_text("[state_store]\nbackend = my.own.Backend\n", encoding="utf-8")
    clean = ("state-store", "clean", old, "--now", PAST, "--dry-run")
    assert "Would delete 3" in storekit(*clean, folder=tmp_path).stdout
    assert "my.own.Backend" in storekit(*clean, "--config", config, folder=tmp_path).stdout
    exported = storekit(*clean, folder=tmp_path, AIRFLOW__STATE_STORE__BACKEND="exported.Backend")
    assert "exported.Backend" in exported.stdout
    own = storekit("state-store", "clean", "--dry-run", folder=tmp_path)
    assert "my.own.Backend" in own.stdout
    config.write_text(f"[database]\nsql_alchemy_conn = sqlite:///{old}\n", encoding="utf-8")
    named = storekit(*clean[:2], "--config", config, "--dry-run", "--now", PAST, folder=tmp_path.parent)
    assert "Would delete 3" in named.stdout


def test_a_later_airflows_option_is_warned_of_once(old: Path, tmp_path: Path) -> None:
    later = {"AIRFLOW__STATE_STORE__COMPRESSION": "zstd", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{old}"}
    for call, command in (
        (storekit_process, ["tables"]),
        (storekit, ["tables"]),
        (storekit, ["preview"]),
        (storekit, ["state-store", "clean", "--dry-run"]),
    ):
        done = call(*command, folder=tmp_path, **later)
        assert done.returncode == 0
        assert done.stderr.count("AIRFLOW__STATE_STORE__COMPRESSION") == 1
        assert done.stderr.startswith("storekit: warning: ")


@pytest.mark.parametrize(
    ("where", "stores"),
    [
        (["dag_id=supplier_feed"], {"tasks": 4}),
        (["dag_id=supplier_feed", "key=etag"], {"tasks": 2}),
        (["dag_id=supplier_feed", "dag_id=orders_etl"], {"tasks": 70}),
        (["asset_name=no such"], {"assets": 0}),
        (["key=etag"], {"tasks": 2, "assets": 1}),
        ([], {"tasks": 104, "assets": 10}),
    ],
)
def test_a_filter_lists_and_counts_the_tables_that_have_its_columns(
    where: list[str], stores: dict[str, int], tmp_path: Path
) -> None:
    arguments = [word for condition in where for word in ("--where", condition)]
    as_json = json.loads(storekit("tables", AIRFLOW_33, *arguments, "--format", "json", folder=tmp_path).stdout)
    assert {name: len(rows) for name, rows in as_json.items()} == stores
    for limit in ("1", "0"):
        shown = storekit("tables", AIRFLOW_33, *arguments, "--limit", limit, folder=tmp_path).stdout
        for name, count in stores.items():
            assert f"\n{name}: {count} row(s)" in shown
        assert ("assets: " in shown) == ("assets" in stores)


def test_a_filter_that_fits_no_table_prints_nothing(tmp_path: Path) -> None:
    both = ("--where", "dag_id=a", "--where", "asset_name=b")
    for arguments in (both, ("--where", "nope=1"), ("--store", "assets", "--where", "dag_id=a")):
        for form in ("table", "json"):
            done = storekit("tables", AIRFLOW_33, *arguments, "--format", form, folder=tmp_path)
            assert (done.returncode, done.stdout) == (2, "")
            assert "asset_name" in done.stderr


def test_csv_of_tables_is_written_as_previews_is(tmp_path: Path) -> None:
    tables = storekit("tables", AIRFLOW_33, "--store", "tasks", "--format", "csv", folder=tmp_path).stdout
    preview = storekit("preview", AIRFLOW_33, "--rows", "all", "--format", "csv", folder=tmp_path).stdout

    def cells(text: str) -> set[tuple[str, ...]]:
        rows = csv.DictReader(io.StringIO(text))
        names = ("dag_id", "run_id", "task_id", "map_index", "key", "updated_at", "expires_at")
        return {tuple(row[name] for name in names) for row in rows if row["dag_id"]}

    assert cells(tables) == cells(preview)
    assert tables.startswith('"dag_id",')
    limited = storekit("tables", AIRFLOW_33, "--store", "tasks", "--format", "csv", "--limit", "3", folder=tmp_path)
    assert limited.stdout == "".join(tables.splitlines(keepends=True)[:4])
    empty = storekit("tables", AIRFLOW_33, "--where", "dag_id=no", "--format", "csv", folder=tmp_path)
    assert empty.stdout == tables.splitlines(keepends=True)[0]


def test_a_saved_snapshot_is_listed_like_its_database(tmp_path: Path) -> None:
    assert storekit("snapshot", AIRFLOW_33, "saved", folder=tmp_path).returncode == 0
    for arguments in ([], ["--where", "dag_id=orders_etl"], ["--where", "map_index=1"], ["--store", "assets"]):
        saved, live = (
            json.loads(storekit("tables", url, *arguments, "--format", "json", folder=tmp_path).stdout)
            for url in ("saved", AIRFLOW_33)
        )
        assert saved.keys() == live.keys()
        for name in live:
            assert sorted(saved[name], key=str) == sorted(live[name], key=str)
    for form in ("table", "csv"):
        done = storekit("tables", "saved", "--store", "assets", "--format", form, folder=tmp_path)
        assert done.returncode == 0, done.stderr
    refused = storekit("tables", "saved", "--values", folder=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "holds no values" in refused.stderr
    again = storekit("snapshot", AIRFLOW_33, "saved", folder=tmp_path)
    assert "--overwrite" in again.stderr
    assert "overwrite=True" not in again.stderr


def test_an_output_that_is_there_is_one_kind_of_failure(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_text("")
    calls: list[list[str | Path]] = [
        ["snapshot", AIRFLOW_33, "there"],
        ["plan", "make", AIRFLOW_33, "there/file"],
        ["plan", "make", AIRFLOW_33, "there"],
        ["report", AIRFLOW_33, "there/file"],
        ["report", AIRFLOW_33, "there"],
        ["report", AIRFLOW_33, "nowhere/store.html"],
        ["clean", AIRFLOW_33, "--archive", "there", "--yes", "--now", "2020-01-01T00:00:00Z"],
    ]
    for each in calls:
        done = storekit(*each, folder=tmp_path)
        assert (done.returncode, done.stdout) == (1, ""), each
        assert "hint: " in done.stderr
        assert "overwrite=True" not in done.stderr
    assert (tmp_path / "there" / "file").read_text() == ""
    assert storekit("report", AIRFLOW_33, "there/file", "--overwrite", folder=tmp_path).returncode == 0
    for each in (["snapshot", AIRFLOW_33, "-"], ["plan", "make", AIRFLOW_33, "-"], ["report", AIRFLOW_33, "-"]):
        done = storekit(*each, folder=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert "'-' is no file's name" in done.stderr
        assert not (tmp_path / "-").exists()


def test_hints_are_of_what_was_typed(tmp_path: Path) -> None:
    shutil.copy(AIRFLOW_33, tmp_path / "airflow.db.copy")
    database = tmp_path / "airflow.db.copy"
    for each in (
        ["snapshot", database, "snap"],
        ["clean", database, "--archive", "gone.parquet", "--yes", "--now", "2026-11-28T00:00:00Z"],
    ):
        assert storekit(*each, folder=tmp_path).returncode == 0, each
    cases: list[tuple[list[str | Path], int, list[str]]] = [
        (["tables"], 1, ["no URL was given, so Airflow's configuration was asked", "name a URL, or set AIRFLOW_HOME"]),
        (["clean"], 1, ["no URL was given", "no such file", "AIRFLOW_HOME"]),
        (["preview", database, "--layout", "storekit"], 1, ["holds the layout airflow-3.3, not storekit", "--layout"]),
        (["preview", database, "--layout", "bogus"], 2, ["--layout", "'bogus'", "airflow-3.4"]),
        (
            ["restore", database, "gone.parquet"],
            2,
            ["ARCHIVE comes first", f"storekit restore gone.parquet {database}"],
        ),
        (["restore", database], 2, ["ARCHIVE comes first"]),
        (["restore", "gone.parquet", "gone.parquet"], 1, ["is an archive", "storekit restore ARCHIVE URL"]),
        (["clean", "snap"], 1, ["snap is a saved snapshot", "name the database"]),
        (["state-store", "clean", "snap"], 1, ["snap is a saved snapshot", "name the database"]),
        (["plan", "show", "nosuch"], 1, ["storekit plan make URL FILE"]),
        (["plan", "show", database], 1, ["storekit plan make URL FILE"]),
        (["preview", database, "--now", "2026-11-28"], 2, ["'2026-11-28' has no zone: write 2026-11-28T00:00:00Z"]),
        (["preview", database, "--now", "2026-11-28 01:02"], 2, ["write 2026-11-28T01:02:00Z"]),
        (["preview", database, "--now", "0001-01-01T00:00:00+05:00"], 2, ["outside the years 1 to 9999"]),
    ]
    for words, code, said in cases:
        done = storekit(*words, folder=tmp_path)
        assert done.returncode == code, (words, done.stderr)
        for each in said:
            assert each in done.stderr, (words, done.stderr)
        for of_python in ("plan.save(", "layout=", "datetime", "Traceback", "open_snapshot(", "restore("):
            assert of_python not in done.stderr, words


def test_what_is_helped_with_is_so(tmp_path: Path) -> None:
    def helped(*words: str) -> str:
        done = storekit(*words, "--help", folder=tmp_path, COLUMNS="80")
        assert done.returncode == 0
        assert max(map(len, done.stdout.splitlines())) <= 80
        return " ".join(done.stdout.split())

    top = helped()
    for code in ("130 interrupted", "141 what read the pipe went away", "storekit report", "storekit snapshot"):
        assert code in top
    for words in (("snapshot",), ("plan", "make"), ("report",)):
        assert "left out: the database" not in helped(*words)
        assert storekit(*words, folder=tmp_path).returncode == 2
    for words in (("tables",), ("preview",), ("simulate",), ("curve",), ("recommend",), ("clean",), ("restore",)):
        assert "left out: the database" in helped(*words)
    assert "with --dry-run also a saved snapshot's folder" in helped("state-store", "clean")
    assert "all in csv)" in helped("plan", "show")
    assert "all in json and csv)" in helped("tables")


def test_layouts_are_named_as_they_are() -> None:
    from storekit.cli.options import LAYOUTS
    from storekit.metastore.layouts import LAYOUT_NAMES

    assert tuple(LAYOUT_NAMES) == LAYOUTS


def test_groups_are_named_in_one_word_or_several(tmp_path: Path) -> None:
    for by in (["--by", "dag_id,key"], ["--by", "dag_id", "--by", "key"]):
        done = storekit("preview", *by, AIRFLOW_33, "--now", NOW, folder=tmp_path)
        assert "\nby dag_id, key:\n" in done.stdout
    for by in ("nope", "dag_id,", "dag_id,dag_id"):
        for form in ("table", "json", "csv"):
            done = storekit("preview", AIRFLOW_33, "--by", by, "--format", form, folder=tmp_path)
            assert (done.returncode, done.stdout) == (2, "")


def test_listed_asset_rows_name_their_asset(tmp_path: Path) -> None:
    done = storekit("preview", AIRFLOW_33, "--rows", "keep", "--limit", "0", "--now", NOW, folder=tmp_path)
    listed = done.stdout.partition("would be kept:")[2]
    with sk.connect(AIRFLOW_33) as store:
        names = set(store.assets(values=False)["asset_name"])
    assert names
    assert all(name in listed for name in names)
    tasks_only = storekit("preview", AIRFLOW_33, "--rows", "keep", "--limit", "2", "--now", NOW, folder=tmp_path)
    assert "asset " not in tasks_only.stdout.partition("would be kept:")[2].splitlines()[1]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize(
    "arguments",
    [
        "preview {db}",
        "preview {db} --rows all --format csv",
        "tables {db} --format json",
        "tables {db} --store tasks --format csv",
    ],
)
def test_a_full_disk_is_said_in_one_line(arguments: str, tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "storekit", *arguments.format(db=AIRFLOW_33).split()],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "storekit: cannot write: No space left on device\n"


def test_progress_is_shown_to_a_terminal_only(hostile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from storekit.cli import reading

    seen: list[int] = []

    @contextmanager
    def watched() -> Iterator[Any]:
        yield lambda done, total: seen.append(done)

    monkeypatch.setattr("storekit.cli.tables.progress_bar", watched)
    for form in ("json", "csv"):
        assert main(["tables", str(hostile), "--store", "tasks", "--format", form]) == 0
    assert seen == [len(HOSTILE_KEYS)] * 2
    with reading.progress_bar() as bar:
        assert bar is None


def test_a_custom_backend_is_skipped_by_name(tmp_path: Path) -> None:
    path = tmp_path / "airflow.db"
    shutil.copy(AIRFLOW_33, path)
    before = path.read_bytes()
    done = storekit(
        "state-store", "clean", path, "--now", NOW, folder=tmp_path, AIRFLOW__STATE_STORE__BACKEND="my.own.Backend"
    )
    assert done.returncode == 0
    assert "my.own.Backend" in done.stdout
    assert "skipped" in done.stdout
    assert path.read_bytes() == before


def test_json_and_csv_hold_every_key(hostile: Path, tmp_path: Path) -> None:
    wanted = sorted(HOSTILE_KEYS)
    for arguments in (["tables", hostile], ["preview", hostile, "--rows", "all"]):
        as_json = json.loads(storekit(*arguments, "--format", "json", folder=tmp_path).stdout)
        rows = as_json["tasks"] if arguments[0] == "tables" else as_json["rows"]
        assert sorted(row["key"] for row in rows) == wanted
        only = ["--store", "tasks"] if arguments[0] == "tables" else []
        done = storekit(*arguments, *only, "--format", "csv", folder=tmp_path)
        assert done.returncode == 0
        table = csv.DictReader(io.StringIO(done.stdout, newline=""))
        assert sorted(row["key"] for row in table) == wanted


def test_a_terminal_is_sent_no_control_characters(hostile: Path, tmp_path: Path) -> None:
    for command in (["tables", hostile, "--values"], ["preview", hostile, "--rows", "all", "--by", "key"]):
        done = storekit(*command, "--limit", "0", folder=tmp_path)
        assert done.returncode == 0
        assert not {c for c in done.stdout if c < " " and c != "\n"}
        assert "\u202e" not in done.stdout


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"'{sys.executable}' -m storekit preview '{AIRFLOW_33}' --format json --rows all | head -n 1"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "{\n"
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["tables", "nope.db"], 1, "no such file"),
        (["preview", "oracle://x/y"], 1, "unknown database scheme 'oracle'"),
        (["preview", str(ROOT / "README.md")], 1, "not a SQLite database"),
        (["preview", str(AIRFLOW_33), "--by", "nope"], 2, "nope"),
        (["preview", str(AIRFLOW_33), "--now", "2026-11-22"], 2, "zone"),
        (["tables", "no-such.db", "--format", "csv"], 2, "--store"),
        (["tables", "no-such.db", "--where", "map_index=99999999999999999999"], 2, "whole number"),
        (["tables", str(AIRFLOW_33), "--where", "nope=1"], 2, "nope"),
        (["tables", str(AIRFLOW_33), "--format", "csv"], 2, "--store"),
        (["tables", str(AIRFLOW_33), "--limit", "-1"], 2, "-1"),
        (["snapshot", str(AIRFLOW_33), str(ROOT / "docs")], 1, "docs"),
    ],
)
def test_one_clear_error(arguments: list[str], code: int, said: str, tmp_path: Path) -> None:
    done = storekit(*arguments, folder=tmp_path)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_option_of_airflows_is_said_once(tmp_path: Path) -> None:
    done = storekit("preview", folder=tmp_path, AIRFLOW__STATE_STORE__DEFAULT_RETENTION_DAYS="-3")
    assert done.returncode == 2
    assert done.stderr.count("default_retention_days") >= 1
    assert "'-3'" in done.stderr


def test_a_saved_snapshot_is_previewed_like_its_database(tmp_path: Path) -> None:
    saved = storekit("snapshot", AIRFLOW_33, "saved", folder=tmp_path)
    assert saved.returncode == 0, saved.stderr
    from_snapshot = storekit("preview", "saved", "--now", NOW, "--format", "csv", folder=tmp_path)
    from_database = storekit("preview", AIRFLOW_33, "--now", NOW, "--format", "csv", folder=tmp_path)
    assert from_snapshot.stdout == from_database.stdout


def test_without_a_url_it_is_what_airflow_configures(tmp_path: Path) -> None:
    done = storekit(
        "tables",
        "--format",
        "json",
        folder=tmp_path,
        AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{AIRFLOW_33}",
    )
    assert len(json.loads(done.stdout)["tasks"]) == 104


# --- called in this process as in one of its own ---------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["tables", AIRFLOW_33, "--values", "--limit", "3"],
        ["tables", "nope.db"],
        ["preview", AIRFLOW_33, "--now", NOW, "--format", "csv"],
        ["preview", AIRFLOW_33, "--now", "soon"],
        ["--version"],
    ],
)
def test_a_call_and_a_process_are_alike(arguments: list[str | Path], tmp_path: Path) -> None:
    called = storekit(*arguments, folder=tmp_path, COLUMNS="100")
    started = storekit_process(*arguments, folder=tmp_path, COLUMNS="100")
    assert called.returncode == started.returncode
    assert called.stdout.replace("\r\n", "\n") == started.stdout
    assert called.stderr == started.stderr


def test_a_command_leaves_the_process_as_it_was(
    hostile: Path, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def state() -> tuple[object, ...]:
        return (
            {name: text for name, text in os.environ.items() if name != "_RJEM_MALLOC_CONF"},  # of a library's import
            Path.cwd(),
            sys.stdout,
            sys.stderr,
            list(sys.path),
            list(warnings.filters),
            warnings.showwarning,
            sys.excepthook,
            {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)},
            locale.setlocale(locale.LC_ALL),
            time.tzname,
            threading.active_count(),
        )

    def called(arguments: list[str | Path]) -> tuple[object, str, str]:
        try:
            code: object = main([str(each) for each in arguments])
        except SystemExit as stopped:
            code = stopped.code
        out, err = capsys.readouterr()
        return code, TAKEN.sub("", out), err

    # Not by storekit(), which puts things back itself.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AIRFLOW__STATE_STORE__COMPRESSION", "zstd")
    commands: list[list[str | Path]] = [
        ["tables", hostile, "--limit", "1"],
        ["preview", AIRFLOW_33, "--now", NOW, "--by", "dag_id,key"],
        ["preview", "nope.db"],
        ["clean", old, "--now", PAST],
        ["simulate", AIRFLOW_33, "--days", "soon"],
        ["state-store", "clean", old, "--dry-run", "--now", PAST, "--format", "json"],
        ["--help"],
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        before = state()
        first = [called(each) for each in commands]
        assert state() == before
        again = [called(each) for each in commands]
        assert state() == before
    assert [code for code, _, _ in first] == [0, 0, 1, 0, 2, 0, 0]
    assert "COMPRESSION" in first[1][2]
    assert again == first
