"""`storekit simulate`, `curve` and `recommend` as a stranger meets them."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from commands import storekit_process
from test_cli import AIRFLOW_33, ROOT

import storekit as sk
from storekit.cli import main
from storekit.clock import ManualClock
from storekit.frames.snapshot import open_snapshot
from storekit.metastore import MetastoreStateBackend
from storekit.retention.policy import Policy
from storekit.retention.policyfile import load_policies
from storekit.testing import HOSTILE_KEYS

TAKEN = datetime(2026, 11, 24, tzinfo=UTC)

ROWS = (
    # Dag, key, bytes, written so long before TAKEN, retention
    ("etl", "old", 1, timedelta(days=20), timedelta(days=30)),
    ("etl", "mid", 10, timedelta(days=10), timedelta(days=30)),
    ("etl", "new", 100, timedelta(days=1), timedelta(days=30)),
    ("report", "old", 1000, timedelta(days=20), timedelta(days=30)),
    ("report", "token", 2000, timedelta(days=1), timedelta(hours=1)),
)
"""etl's task is running, report's has succeeded. Within 5 days after TAKEN, 14 days end old, mid and old; 30 none."""

IN_FIVE_DAYS = ("--mode", "as-if", "--horizon", "5d", "--no-forecast", "--default", "30")


def save(path: Path, folder: Path, taken_at: datetime = TAKEN) -> Path:
    with sk.connect(path, clock=ManualClock(taken_at)) as store:
        return store.snapshot().save(folder)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved snapshot of `ROWS`: nothing in it depends on the clock that runs this."""
    folder = tmp_path_factory.mktemp("simulating")
    clock = ManualClock(TAKEN)
    backend = MetastoreStateBackend(folder / "store.db", clock=clock)
    backend.create_tables()
    for dag_id, state in (("etl", "running"), ("report", "success")):
        backend.add_dag_run(dag_id, "r")
        backend.add_task_instance(sk.TaskScope(dag_id, "r", "t"), state=state)
    for dag_id, key, size, before, retention in ROWS:
        clock.set(TAKEN - before)
        backend.set(sk.TaskScope(dag_id, "r", "t"), key, "1" * size, expires_at=clock.now() + retention)
    backend.close()
    save(folder / "store.db", folder / "older", TAKEN - timedelta(hours=1))
    return save(folder / "store.db", folder / "saved")


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(AIRFLOW_33, tmp_path_factory.mktemp("airflow") / "saved")


def said(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    """Run a command that has to succeed, and return what it prints."""
    code = main([str(word) for word in words])
    printed, complaints = capsys.readouterr()
    assert (code, complaints) == (0, "")
    return printed


def cells(printed: str, first: str) -> list[str]:
    """Return the cells of the first table line that begins with a text."""
    line = next(line for line in printed.splitlines() if line.startswith(first))
    return [cell.strip() for cell in line.split("   ") if cell.strip()]


# --- simulate --------------------------------------------------------------------------------------------------


def test_forward_says_that_a_shorter_retention_deletes_nothing_more_today(
    saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = said(capsys, "simulate", saved, "--days", "14", "--days", "30,7")
    assert "A shorter retention deletes nothing more today" in printed
    assert "--mode as-if asks" in printed
    lines = [cells(printed, name) for name in ("as written", "14 days", "30 days", "7 days")]
    assert {line[1] for line in lines} == {"1 row, 2.0 kB"}
    assert {line[2] for line in lines} == {"4 rows, 1.1 kB"}
    order = [printed.index(f"\n{name}  ") for name in ("as written", "14 days", "30 days", "7 days")]
    assert order == sorted(order)
    assert "none: in forward mode a policy does not touch rows that exist" in printed
    assert "deletes nothing more today" not in said(capsys, "simulate", saved, "--days", "14", *IN_FIVE_DAYS)


def test_the_difference_says_who_lives_under_the_first_and_dies_under_another(
    saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Five days later, all of them as-if: mid is gone too, as long as 30 days have not passed.
    words = ("simulate", saved, "--days", "14,30", *IN_FIVE_DAYS, "--now", "2026-11-29T00:00:00Z")
    printed = said(capsys, *words)
    after = "after the cleanup at 2026-11-29 00:00:00 UTC"
    assert f"live under 'as written' {after}, and are gone under another policy" in printed
    _, table = printed.split("gone under another policy:\n")
    assert cells(table, "14 days   report") == ["14 days", "report", "1", "1.0 kB"]
    assert cells(table, "14 days   etl") == ["14 days", "etl", "2", "11 B"]
    assert "30 days   " not in table
    _, table = said(capsys, *words, "--top", "1").split("gone under another policy:\n")
    assert cells(table, "14 days   (others") == ["14 days", "(others: 1)", "2", "11 B"]
    assert cells(printed, "14 days")[1:4] == ["4 rows, 3.0 kB", "1 row, 100 B", "1 row, 100 B"]
    later = said(capsys, "simulate", saved, "--days", "14", "--mode", "as-if", "--no-forecast")
    assert "live under 'as written' after the cleanup at 2026-11-24" in later  # when 90 days on, none of them would be
    assert cells(later.split("gone under another policy:\n")[1], "14 days   report") == [
        "14 days",
        "report",
        "1",
        "1.0 kB",
    ]
    assert "live under 'as written' at 2026-11-29 00:00:00 UTC" in said(
        capsys, "simulate", saved, "--days", "14", "--horizon", "5d"
    )


def test_unsafe_rows_are_counted_and_listed_when_asked(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("simulate", saved, "--days", "14", *IN_FIVE_DAYS)
    assert "unsafe under '14 days': 1 row of unfinished tasks (--unsafe lists them)" in said(capsys, *words)
    listed = said(capsys, *words, "--unsafe")
    line = cells(listed, "etl")
    assert line[:3] == ["etl", "r", "t"]
    took = "expired 2026-11-18 00:00:00 UTC; the cleanup of 2026-11-24 00:00:00 UTC deletes it"
    assert line[-1] == f"{took}, and the task is not finished"
    assert "unsafe under '30 days'" not in listed
    assert "unsafe: no row under any policy" in said(capsys, "simulate", saved, "--days", "30", "--unsafe")
    waits = said(capsys, *words, "--retry-wait", "5d")
    assert "unsafe under '14 days': 2 rows" in waits
    found = json.loads(said(capsys, *words, "--unsafe", "--format", "json"))["unsafe"]
    assert [(name, [row["key"] for row in rows]) for name, rows in found.items()] == [
        ("as written", []),
        ("14 days", ["old"]),
    ]


def test_by_shows_each_group_at_the_end(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("simulate", saved, "--days", "14", *IN_FIVE_DAYS)
    now, end = "after the cleanup at 2026-11-24 00:00:00 UTC (now)", "at 2026-11-29 00:00:00 UTC"
    _, table = said(capsys, *words, "--by", "dag_id").split(f"by dag_id, {now} and {end} (end):\n")
    assert cells(table, "etl      as written") == ["etl", "as written", "3", "111 B", "3", "111 B"]
    assert cells(table, "etl      14 days") == ["etl", "14 days", "2", "110 B", "1", "100 B"]
    assert cells(table, "report   14 days") == ["report", "14 days", "0", "0 B", "0", "0 B"]
    forward = ("simulate", saved, "--days", "14", "--horizon", "5d", "--no-forecast")
    _, table = said(capsys, *forward, "--by", "key", "--top", "1").split(f"by key, {end}:\n")
    assert cells(table, "(others)   as written")[2:] == ["4", "1.1 kB"]


def test_days_are_ranges_everywhere(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ranged = said(capsys, "simulate", saved, "--days", "7-9,14", "--no-forecast", "--format", "json")
    names = ["as written", "7 days", "8 days", "9 days", "14 days"]
    assert [each["name"] for each in json.loads(ranged)["policies"]] == names
    advised = said(capsys, "recommend", saved, "--days", "7-9", "--format", "csv")
    assert {row["policy"] for row in csv.DictReader(io.StringIO(advised))} == {*names[:4]}
    said(capsys, "report", saved, tmp_path / "store.html", "--days", "7-9")
    assert all(name in (tmp_path / "store.html").read_text() for name in names[:4])


def test_csv_is_over_time(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("simulate", saved, "--days", "14", *IN_FIVE_DAYS, "--format", "csv")
    played = open_snapshot(saved).simulate(
        [Policy(), Policy(default_retention_days=14)], "5d", "as-if", future=False, defaults=[30]
    )
    for more, wanted in (((), played.over_time()), (("--by", "dag_id"), played.over_time("dag_id"))):
        table = list(csv.DictReader(io.StringIO(said(capsys, *words, *more))))
        assert list(table[0]) == list(wanted.columns)
        assert [row["policy"] for row in table] == wanted["policy"].tolist()
        assert [float(row["bytes"]) for row in table] == wanted["bytes"].tolist()
        assert [datetime.fromisoformat(row["at"]) for row in table] == wanted["at"].tolist()
    assert table[0]["at"].endswith("Z")


def test_json_is_the_whole(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("simulate", saved, "--days", "14", "--seed", "3", "--format", "json")
    played = open_snapshot(saved).simulate([Policy(), Policy(default_retention_days=14)], seed=3)
    whole = json.loads(said(capsys, *words))
    assert whole == json.loads(json.dumps(played.to_dict()))
    grouped = json.loads(said(capsys, *words, "--by", "key", "--top", "2"))["by"]
    assert {(row["key"], row["group"]) for row in grouped} == {("token", "key"), ("old", "key"), (None, "others")}
    other = json.loads(said(capsys, *words[:4], "--seed", "4", "--format", "json"))
    assert other["over_time"] != whole["over_time"]
    # A duration that is missing goes by the same name as one that is there.
    assert {"retention_us" in row for row in whole["written"]} == {True}


def test_policies_come_from_files_numbers_and_the_configuration(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.toml").write_text('name = "mine"\ndefault_retention_days = 3\n')
    (tmp_path / "two.yaml").write_text("policies: [{name: a}, {name: b, cleanup_every: never}]")
    (tmp_path / "airflow.cfg").write_text("[state_store]\ndefault_retention_days = 11\n")
    files = ("--policy", tmp_path / "mine.toml", "--policy", tmp_path / "two.yaml")
    words = ("simulate", saved, *files, "--days", "0", "--current", "--config", tmp_path / "airflow.cfg")
    played = json.loads(said(capsys, *words, "--format", "json"))
    assert [each["name"] for each in played["policies"]] == ["as written", "mine", "a", "b", "no expiry", "current"]
    assert played["policies"][-1]["default_retention_days"] == 11
    printed = said(capsys, *words)
    assert (
        f"current: default_retention_days = 11, clear_on_success = False, state_cleanup_batch_size = 0 (of {tmp_path}"
        in printed
    )
    assert "--config names one" in said(capsys, "simulate", saved, "--current")
    (tmp_path / "as written.toml").write_text("batch_size = 0\n")  # that it may be, since it changes nothing
    given = said(capsys, "simulate", saved, "--policy", tmp_path / "as written.toml", "--days", "5", "--format", "json")
    names = [(each["name"], each["default_retention_days"]) for each in json.loads(given)["policies"]]
    assert names == [("as written", None), ("5 days", 5)]


def test_older_snapshots_are_history(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("simulate", saved, "--days", "14", "--format", "json")
    alone, together = (json.loads(said(capsys, *words, *more)) for more in ((), ("--history", saved.parent / "older")))
    older = open_snapshot(saved.parent / "older")
    wanted = open_snapshot(saved).simulate([Policy(), Policy(default_retention_days=14)], history=[older])
    assert together["summary"] == wanted.to_dict()["summary"]
    assert alone["policies"] == together["policies"]
    assert main(["simulate", str(saved), "--days", "14", "--history", str(saved)]) == 2
    assert "is not older than this one" in capsys.readouterr().err


def test_in_a_terminal_what_it_rests_on_is_wrapped_between_words(
    saved: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = said(capsys, "simulate", saved, "--days", "14", "--mode", "as-if")
    monkeypatch.setattr("storekit.cli.render._PIPE_WIDTH", 72)
    narrow = said(capsys, "simulate", saved, "--days", "14", "--mode", "as-if")
    parts = [text.split("what this rests on:\n")[1] for text in (wide, narrow)]
    assert max(map(len, parts[1].splitlines())) <= 72 < max(map(len, parts[0].splitlines()))
    assert parts[0].split() == parts[1].split()
    assert all(line.startswith(("  - ", "    ")) for line in parts[1].splitlines())
    assert "defaults=" not in wide


# --- curve -----------------------------------------------------------------------------------------------------


def brute_force(airflow: Path, days: int, now: datetime, **only: str) -> tuple[int, int]:
    """Return the rows and bytes that a default would delete, by a filter over all rows."""
    tasks = open_snapshot(airflow).tasks()
    for name, text in only.items():
        tasks = tasks[tasks[name] == text]
    lived = tasks["expires_at"] - tasks["updated_at"]
    by_default = (lived - timedelta(days=30)).abs() < timedelta(minutes=1)
    expires = tasks["expires_at"].where(~by_default, tasks["updated_at"] + timedelta(days=days))
    gone = (expires < now) & ~(by_default & (days == 0))
    return int(gone.sum()), int(tasks.loc[gone, "value_bytes"].sum())


def test_the_curve_answers_every_default(airflow: Path, capsys: pytest.CaptureFixture[str]) -> None:
    now = datetime(2026, 12, 9, 13, 25, tzinfo=UTC)  # in the midst of what 17 days delete
    words = ("curve", airflow, "--now", now.isoformat(), "--default", "30")
    table = list(csv.DictReader(io.StringIO(said(capsys, *words, "--format", "csv"))))
    assert [int(row["days"]) for row in table] == list(range(366))
    assert len({row["deleted"] for row in table}) > 2
    for row in table[::7] + table[15:19]:
        wanted = brute_force(airflow, int(row["days"]), now)
        assert (int(row["deleted"]), int(row["deleted_bytes"])) == wanted
    document = json.loads(said(capsys, *words, "--format", "json", "--dag-id", "orders_etl", "--days", "1-3,17"))
    assert [row["days"] for row in document["curve"]] == [1, 2, 3, 17]
    assert (document["dag_id"], document["now"]) == ("orders_etl", "2026-12-09T13:25:00.000000Z")
    for row in document["curve"]:
        wanted = brute_force(airflow, row["days"], now, dag_id="orders_etl")
        assert (row["deleted"], row["deleted_bytes"]) == wanted
    assert document["written"]
    assert document["assumptions"]


def test_the_curve_as_a_table(airflow: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("curve", airflow, "--now", "2026-12-28T00:00:00Z")
    printed = said(capsys, *words)
    assert "95 … 101" in printed  # six rows are ambiguous: a range, and never one of its ends alone
    assert "0 (no expiry)" in printed
    assert "what this rests on:" in printed
    assert "95 … 101" not in said(capsys, *words, "--default", "30")
    as_if = said(capsys, "simulate", airflow, "--days", "30", "--mode", "as-if", *words[2:])
    assert cells(as_if, "30 days")[1:3] == ["95 … 101 rows, 12.4 kB … 12.5 kB", "13 … 19 rows, 541 B … 638 B"]
    one = said(capsys, *words, "--days", "40", "--key", "etag")
    assert "only rows of key 'etag'" in one
    assert cells(one, "  40")[:2] == ["40", "0"]
    assert "There is no such row" in said(capsys, *words, "--dag-id", "nobody's")


# --- recommend -------------------------------------------------------------------------------------------------


def test_advice_in_every_form(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("recommend", saved, "--default", "30")
    advice = open_snapshot(saved).recommend(defaults=[30])
    printed = said(capsys, *words)
    for row in advice.candidates.to_dict("records"):
        assert cells(printed, f"{row['policy']}  ")[4] == str(row["risk_rows"])
    table = list(csv.DictReader(io.StringIO(said(capsys, *words, "--format", "csv"))))
    assert [row["policy"] for row in table] == advice.candidates["policy"].tolist()
    youngest = (advice.candidates["newest_lost"] / timedelta(microseconds=1)).tolist()
    assert [float(row["newest_lost_us"]) for row in table] == youngest
    document = json.loads(said(capsys, *words, "--format", "json"))
    assert [row["kept_bytes"] for row in document["candidates"]] == advice.candidates["kept_bytes"].tolist()
    assert document["assumptions"]
    assert "risks" not in document


def test_the_rows_at_risk_are_listed(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("recommend", saved, "--default", "30", "--look-back", "11d", "--risks", "5 days")
    # old of etl: its task runs; mid: that, and written within 11 days; token: written within 11 days.
    printed = said(capsys, *words)
    assert "at risk under '5 days':" in printed
    assert "written so lately" in printed
    assert "… and 1 more" in said(capsys, *words, "--limit", "2")
    table = list(csv.DictReader(io.StringIO(said(capsys, *words, "--format", "csv"))))
    assert [(row["dag_id"], row["key"]) for row in table] == [("etl", "mid"), ("etl", "old"), ("report", "token")]
    document = json.loads(said(capsys, *words, "--format", "json", "--limit", "1"))
    assert document["risks_of"] == "5 days"
    assert [row["key"] for row in document["risks"]] == ["mid"]
    assert "at risk under '365 days': no row" in said(
        capsys, "recommend", saved, "--risks", "365 days", "--look-back", "1h"
    )


def test_candidates_of_ones_own(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "short.json").write_text('{"default_retention_days": 2}')
    printed = said(capsys, "recommend", saved, "--policy", tmp_path / "short.json", "--format", "csv")
    assert [row["policy"] for row in csv.DictReader(io.StringIO(printed))] == ["short", "as written"]
    printed = said(capsys, "recommend", saved, "--days", "7,14", "--days", "2", "--format", "csv")
    names = {row["policy"] for row in csv.DictReader(io.StringIO(printed))}
    assert names == {"as written", "2 days", "7 days", "14 days"}


# --- what all share --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (("simulate",), 2, "--days 14, --current, or --policy FILE"),
        (("simulate", "--days", "1d"), 2, "argument --days: '1d' is not whole days"),
        (("simulate", "--days", "1_4"), 2, "argument --days: '1_4'"),
        (("simulate", "--days", "99999999999"), 2, "at most 999999999"),
        (("simulate", "--days", "1-30", "--days", "31-51"), 2, "51 policies are too many for storekit simulate"),
        (("recommend", "--days", "0-1000"), 2, "1,001 policies are too many for storekit recommend"),
        (("report", "store.html", "--days", "1-21"), 2, "20 at most"),
        (("simulate", "--days", "9-1"), 2, "write 1-9"),
        (("simulate", "--days", "7-9,8"), 2, "--days 8 is there twice"),
        (("simulate", "--days", "14,14"), 2, "--days 14 is there twice"),
        (("simulate", "--days", "14", "--policy", "fourteen.toml"), 2, "--policy fourteen.toml and --days 14"),
        (("simulate", "--policy", "bad.toml"), 2, "policies[1].rules[0].key: '[a'"),
        (("simulate", "--policy", "bad.toml"), 2, "policies[0].default_retention_days: -1"),
        (("simulate", "--policy", "none.toml"), 2, "none.toml cannot be read"),
        (("simulate", "--days", "14", "--horizon", "90"), 2, "--horizon='90' is no duration"),
        (("simulate", "--days", "14", "--horizon", "0s"), 2, "--horizon='0s'"),
        (("simulate", "--days", "14", "--retry-wait", "2 months"), 2, "--retry-wait='2 months'"),
        (("simulate", "--days", "14", "--now", "2020-01-01T00:00:00Z"), 2, "leave --now out"),
        (("simulate", "--days", "14", "--now", "9999-12-20T00:00:00Z"), 2, "--horizon: it ends after the year 9999"),
        (("simulate", "--days", "14", "--mode", "sideways"), 2, "argument --mode"),
        (("simulate", "--days", "14", "--by", "run_id"), 2, "argument --by"),
        (("simulate", "--days", "14", "--top", "0"), 2, "--top 0"),
        (("simulate", "--days", "14", "--by", "key", "--top", "201"), 2, "--top 201 is too many groups"),
        (("simulate", "--policy", "as written.toml"), 2, "--policy as written.toml names a policy 'as written'"),
        (("recommend", "--policy", "as written.toml"), 2, "give it another name in its file"),
        (("simulate", "--days", "14", "--skew", "60"), 2, "--skew='60' is no duration"),
        (("curve", "--skew", "13h"), 2, "less than 12 hours"),
        (("recommend", "--skew", "soon"), 2, "for example 1min or 30s"),
        (("curve", "--key", "\udcff"), 2, "holds a lone surrogate"),
        (("simulate", "--days", "14", "--default", "-3"), 2, "argument --default"),
        (("simulate", "--days", "14", "--unsafe", "--format", "csv"), 2, "--format json"),
        (("simulate", "--days", "14", "--history", "x", "--no-forecast"), 2, "--no-forecast"),
        (("simulate", "--days", "14", "--history", "nowhere"), 1, "nowhere"),
        (("simulate", "--current", "--config", "no.cfg"), 2, "no.cfg"),
        (("curve", "--days", "9-1"), 2, "write 1-9"),
        (("curve", "--days", "0-999999999"), 2, "more than 100,000 candidates"),
        (("curve", "--days", ""), 2, "like 0-365 or 7,14,30"),
        (("curve", "--now", "2026-12-28"), 2, "argument --now"),
        (("recommend", "--limit", "3"), 2, "add --risks POLICY"),
        (("recommend", "--risks", "nobody's"), 2, "one of 'as written', '1 day'"),
        (("recommend", "--look-back", "soon"), 2, "--look-back='soon'"),
        (("recommend", "--policy", "never.toml"), 2, 'cleanup_every = "1d"'),
    ],
)
def test_wrong_calls_are_refused_with_their_place(
    words: tuple[str, ...],
    code: int,
    what: str,
    saved: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fourteen.toml").write_text('name = "14 days"\n')
    (tmp_path / "as written.toml").write_text("default_retention_days = 14\n")
    (tmp_path / "never.toml").write_text('cleanup_every = "never"\n')
    (tmp_path / "bad.toml").write_text(
        '[[policies]]\nname = "a"\ndefault_retention_days = -1\n'
        '[[policies]]\nname = "b"\nrules = [{key = "[a", retention = "14d"}]\n'
    )
    try:
        done: Any = main([words[0], str(saved), *words[1:]])
    except SystemExit as stopped:
        done = stopped.code
    printed, complaint = capsys.readouterr()
    assert (done, printed) == (code, "")
    assert what in complaint
    assert "Traceback" not in complaint


def test_hostile_names_are_inert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clock = ManualClock(TAKEN - timedelta(days=20))
    backend = MetastoreStateBackend(tmp_path / "hostile.db", clock=clock)
    backend.create_tables()
    names = list(dict.fromkeys([*HOSTILE_KEYS, "\x1b[31mred", "bell\x07", "a\nb", "a\rb", "\x9b31m"]))
    for name in names:
        backend.add_dag_run(name, "r")
        backend.add_task_instance(sk.TaskScope(name, "r", "t"))
        backend.set(sk.TaskScope(name, "r", "t"), name, "1", expires_at=clock.now() + timedelta(days=30))
    backend.close()
    where = save(tmp_path / "hostile.db", tmp_path / "saved")
    name = "a\u202eb [red]<b>\u200b"
    (tmp_path / "policy.json").write_text(json.dumps({"name": name, "default_retention_days": 3}))
    chosen = ("--policy", tmp_path / "policy.json")
    for words in (
        ("simulate", where, *chosen, "--mode", "as-if", "--by", "dag_id", "--top", "200", "--unsafe"),
        ("simulate", where, *chosen, "--by", "key", "--top", "200"),
        ("recommend", where, *chosen, "--risks", name, "--limit", "0"),
        ("curve", where, "--dag-id", "\x1b[31mred", "--key", "\u202e"),
    ):
        printed = said(capsys, *words)
        assert not {c for c in printed if (c < " " and c != "\n") or "\x7f" <= c < "\xa0" or c in "\u202e\u200b"}
        if words[0] != "curve":
            assert "\\x1b[31mred" in printed
            assert "a\\u202eb [red]<b>\\u200b" in printed
    grouped = json.loads(said(capsys, "simulate", where, *chosen, "--by", "key", "--top", "200", "--format", "json"))
    assert {row["key"] for row in grouped["by"]} == set(names)
    listed = said(capsys, "recommend", where, *chosen, "--risks", name, "--format", "csv")
    assert {row["dag_id"] for row in csv.DictReader(io.StringIO(listed, newline=""))} == set(names)
    (tmp_path / "escape.json").write_text(json.dumps({"name": "a\x1b[31mb"}))
    for file in ("escape.json", "no\x1b[31mfile.toml"):
        assert main(["simulate", str(where), "--policy", str(tmp_path / file)]) == 2
        assert "\x1b" not in capsys.readouterr().err


def test_very_long_names_are_shortened_in_tables_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clock, name = ManualClock(TAKEN - timedelta(days=20)), "d" * 200
    backend = MetastoreStateBackend(tmp_path / "long.db", clock=clock)
    backend.create_tables()
    backend.add_dag_run(name, "r")
    backend.add_task_instance(sk.TaskScope(name, "r", "t"), state="running")
    backend.set(sk.TaskScope(name, "r", "t"), name, "1", expires_at=clock.now() + timedelta(days=30))
    backend.close()
    where = save(tmp_path / "long.db", tmp_path / "saved")
    (tmp_path / "policy.json").write_text(json.dumps({"name": "p" * 200, "default_retention_days": 3}))
    chosen = ("--policy", tmp_path / "policy.json", "--default", "30")
    words = ("simulate", where, *chosen, "--mode", "as-if", "--by", "key", "--unsafe")
    for each in (words, ("recommend", where, *chosen, "--risks", "p" * 200)):
        printed = said(capsys, *each)
        assert f"{'d' * 59}…" in printed
        assert "d" * 60 not in printed
    assert said(capsys, *words, "--format", "json").count(f'"{name}"') > 2


def test_how_far_clocks_may_differ_can_be_said(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clock = ManualClock(TAKEN - timedelta(days=20))
    backend = MetastoreStateBackend(tmp_path / "late.db", clock=clock)
    backend.create_tables()
    backend.add_dag_run("etl", "r")
    backend.set(sk.TaskScope("etl", "r", "t"), "k", "1", expires_at=clock.now() + timedelta(days=30, seconds=90))
    backend.close()
    where = save(tmp_path / "late.db", tmp_path / "saved")
    for words in (("simulate", "--days", "14"), ("curve", "--days", "14"), ("recommend", "--days", "14")):
        for skew, how in (("2min", "default"), ("1min", "explicit")):
            call = (words[0], where, *words[1:], "--default", "30", "--skew", skew, "--format", "json")
            assert [row["written"] for row in json.loads(said(capsys, *call))["written"]] == [how]


def test_stores_with_nothing_or_next_to_nothing_in_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backend = MetastoreStateBackend(tmp_path / "few.db", clock=ManualClock(TAKEN))
    backend.create_tables()
    folders = [save(tmp_path / "few.db", tmp_path / "none")]
    backend.add_dag_run("etl", "r")
    backend.set(sk.TaskScope("etl", "r", "t"), "key", "1")
    backend.close()
    folders.append(save(tmp_path / "few.db", tmp_path / "one"))
    for rows, folder in enumerate(folders):
        played = ("simulate", folder, "--days", "14", "--by", "key", "--no-forecast")
        assert cells(said(capsys, *played), "as written")[2].startswith(f"{rows} row")
        assert ("\nkey  " in said(capsys, *played)) == bool(rows)
        listed = list(csv.DictReader(io.StringIO(said(capsys, *played, "--format", "csv"))))
        assert {row["key"] for row in listed} == {"key"} if rows else not listed
        assert json.loads(said(capsys, *played, "--format", "json"))["summary"][1]["kept_now"] == rows
        assert cells(said(capsys, "curve", folder), f"{365:13}")[3] == str(rows)
        assert json.loads(said(capsys, "curve", folder, "--format", "json"))["curve"][365]["kept"] == rows
        assert cells(said(capsys, "recommend", folder), "as written")[2].startswith(f"{rows} row")
        assert json.loads(said(capsys, "recommend", folder, "--format", "json"))["candidates"][0]["kept_rows"] == rows


def test_a_process_of_its_own_on_a_live_database(tmp_path: Path) -> None:
    (tmp_path / "two-weeks.toml").write_text(
        'default_retention_days = 14\n[[rules]]\nkey = "job*"\nretention = "never"\n'
    )
    before = AIRFLOW_33.read_bytes()
    done = storekit_process("simulate", AIRFLOW_33, "--policy", "two-weeks.toml", "--mode", "as-if", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    name, *numbers = cells(done.stdout, "two-weeks")
    assert (name, len(numbers)) == ("two-weeks", 7)
    assert numbers[0] == cells(done.stdout, "as written")[1]
    assert load_policies(tmp_path / "two-weeks.toml")[0].name in done.stdout
    assert AIRFLOW_33.read_bytes() == before
    refused = storekit_process("simulate", AIRFLOW_33, folder=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")


def test_what_is_typed_is_read_without_pandas() -> None:
    script = (
        "import sys; from storekit.cli.arguments import parse\n"
        "for words in ('simulate x --days 14 --policy p.toml --by key', 'curve x --days 0-365', 'recommend x'):\n"
        "    parse(words.split())\n"
        "print([name for name in ('pandas', 'duckdb', 'pydantic', 'sqlalchemy', 'rich') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
