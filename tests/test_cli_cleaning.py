"""`storekit clean`, `plan` and `restore` as a stranger meets them."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from commands import storekit

import storekit as sk
from storekit.clock import ManualClock
from storekit.metastore import MetastoreStateBackend

PAST = "2020-06-01T00:00:00Z"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A store of 2020: five rows expired by `PAST`, one not."""
    path = tmp_path / "old.db"
    backend = MetastoreStateBackend(path, clock=ManualClock(datetime(2020, 1, 1, tzinfo=UTC)))
    backend.create_tables()
    backend.add_dag_run("etl", "r")
    for number, days in enumerate((1, 2, 3, 4, 5, 36_500)):
        expires_at = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=days)
        backend.set(sk.TaskScope("etl", "r", "t"), f"key{number}", "1", expires_at=expires_at)
    backend.close()
    return path


def keys(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT key FROM task_store ORDER BY key")]


def test_clean_is_dry_until_yes_is_said(old: Path, tmp_path: Path) -> None:
    before = old.read_bytes()
    dry = storekit("clean", old, "--now", PAST, "--archive", "gone", folder=tmp_path)
    assert (dry.returncode, dry.stderr) == (0, "")
    assert "would delete  5 rows" in dry.stdout
    assert "add --yes" in dry.stdout
    assert old.read_bytes() == before
    assert not (tmp_path / "gone").exists()
    deed = storekit("clean", old, "--now", PAST, "--archive", "gone", "--batch-size", "2", "--yes", folder=tmp_path)
    assert (deed.returncode, deed.stderr) == (0, "")
    assert "deleted       5 rows" in deed.stdout
    assert "batches       3 in" in deed.stdout
    assert "(storekit restore FOLDER URL puts it back)" in deed.stdout
    assert keys(old) == ["key5"]
    assert "nothing to delete" in storekit("clean", old, "--now", PAST, folder=tmp_path).stdout


def test_a_plan_is_made_shown_carried_out_and_undone(old: Path, tmp_path: Path) -> None:
    made = storekit("plan", "make", old, "tonight.parquet", "--now", PAST, folder=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "tonight.parquet" in made.stdout
    shown = storekit("plan", "show", "tonight.parquet", "--limit", "2", folder=tmp_path)
    assert "5 rows" in shown.stdout
    assert "key1" in shown.stdout
    assert "key2" not in shown.stdout
    listed = storekit("plan", "show", "tonight.parquet", "--format", "csv", folder=tmp_path)
    assert len(listed.stdout.splitlines()) == 6
    backend = MetastoreStateBackend(old)
    backend.set(sk.TaskScope("etl", "r", "t"), "key0", "2")
    backend.close()
    words = ("clean", old, "--plan", "tonight.parquet", "--archive", "gone.parquet", "--yes", "--format", "json")
    deed = json.loads(storekit(*words, folder=tmp_path).stdout)
    assert (deed["planned"], deed["deleted"], deed["drifted"]) == (5, 4, {"refreshed": 1})
    assert keys(old) == ["key0", "key5"]
    dry = storekit("restore", "gone.parquet", old, folder=tmp_path)
    assert "  would restore  4 rows\n" in dry.stdout
    assert "  archive        gone.parquet" in dry.stdout
    assert "add --yes" in dry.stdout
    assert keys(old) == ["key0", "key5"]
    undone = json.loads(storekit("restore", "gone.parquet", old, "--yes", "--format", "json", folder=tmp_path).stdout)
    assert (undone["restored"], undone["conflicts"]) == (4, 0)
    assert keys(old) == [f"key{number}" for number in range(6)]


def test_refusals_are_one_sentence_with_a_remedy(old: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    storekit("plan", "make", old, "plan.parquet", "--now", PAST, folder=tmp_path)
    for words, code, said in (
        (("clean", old, "--archive", "there", "--yes"), 1, "exists"),
        (("clean", old, "--now", "2999-01-01T00:00:00Z", "--yes"), 2, "storekit preview --now"),
        (("clean", old, "--plan", "no.parquet"), 1, "no.parquet"),
        (("clean", old, "--plan", old), 1, "plan"),
        (("clean", old, "--batch-size", "-1"), 2, "whole number"),
        (("clean", tmp_path / "there"), 1, "folder"),
        (("restore", "there", old), 1, "archive"),
        (("restore", "none", old), 1, "none"),
        (("plan", "make", old, "plan.parquet"), 1, "--overwrite"),
        (("plan", "show", "plan.parquet", "--format", "json"), 2, "invalid choice"),
    ):
        done = storekit(*words, folder=tmp_path)
        assert done.returncode == code, (words, done.stderr)
        assert said in done.stderr, (words, done.stderr)
        assert "Traceback" not in done.stderr
    assert len(keys(old)) == 6


def test_a_custom_backend_is_skipped_by_name(old: Path, tmp_path: Path) -> None:
    done = storekit("clean", old, "--yes", folder=tmp_path, AIRFLOW__STATE_STORE__BACKEND="my.own.Backend")
    assert done.returncode == 0
    assert "my.own.Backend" in done.stdout
    assert len(keys(old)) == 6


def test_the_file_that_names_the_options_names_the_database_too(old: Path, tmp_path: Path) -> None:
    for name in ("mine", "other"):
        (tmp_path / name).mkdir()
        copied = tmp_path / name / "airflow.db"
        copied.write_bytes(old.read_bytes())
        (tmp_path / name / "airflow.cfg").write_text(f"[database]\nsql_alchemy_conn = sqlite:///{copied}\n")
    words = ("clean", "--config", tmp_path / "other" / "airflow.cfg", "--now", PAST, "--yes")
    done = storekit(*words, folder=tmp_path, AIRFLOW_HOME=str(tmp_path / "mine"))
    assert done.returncode == 0, done.stderr
    assert len(keys(tmp_path / "mine" / "airflow.db")) == 6
    assert keys(tmp_path / "other" / "airflow.db") == ["key5"]


def test_what_was_left_alone_is_listed(old: Path, tmp_path: Path) -> None:
    storekit("plan", "make", old, "plan.parquet", "--now", PAST, folder=tmp_path)
    backend = MetastoreStateBackend(old)
    backend.set(sk.TaskScope("etl", "r", "t"), "key0", "22")
    backend.close()
    dry = storekit("clean", old, "--plan", "plan.parquet", folder=tmp_path)
    assert "refreshed" in dry.stdout
    assert "key0" in dry.stdout
    told = json.loads(storekit("clean", old, "--plan", "plan.parquet", "--format", "json", folder=tmp_path).stdout)
    assert [(row["key"], row["drift"], row["value_bytes"]) for row in told["drift"]] == [("key0", "refreshed", 2)]


def test_a_reader_that_goes_away_is_no_failure(old: Path, tmp_path: Path) -> None:
    import os
    import subprocess
    import sys

    storekit("plan", "make", old, "plan.parquet", "--now", PAST, folder=tmp_path)
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "storekit", "plan", "show", "plan.parquet"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)},
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")
