"""Law 1, the first half: what `preview` shows is what real Airflow's dry run prints, as sets."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from parts import Sandboxes, require
from profiles import on_ci_only

import storekit as sk

sys.path.insert(0, str(Path(__file__).parent / "real_airflow"))
from client import RealAirflow, airflow_cli, migrated_postgres, migrated_sqlite

AIRFLOW_33 = Path(__file__).resolve().parent.parent / "data" / "fixtures" / "airflow-3.3.2.db"
SLOW = on_ci_only("migrations on PostgreSQL are slow")
NOW = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)
PRINTED = re.compile(
    r"^  Dag (?P<dag>'.*'), run (?P<run>'.*'), task (?P<task>'.*'), map_index (?P<index>-?\d+), key (?P<key>.*)$"
)

Row = tuple[str, str, str, int, str]


def shown(url: str | Path, now: datetime | None = None) -> set[Row]:
    with sk.connect(url) as store:
        rows = store.snapshot().preview(now).rows()
    columns = ["dag_id", "run_id", "task_id", "map_index", "key"]
    listed = [(dag, run, task, int(index), key) for dag, run, task, index, key in rows[columns].itertuples(index=False)]
    assert len(set(listed)) == len(listed)
    return set(listed)


def printed(url: str) -> set[Row]:
    done = airflow_cli(url, "state-store", "clean", "--dry-run")
    assert done.returncode == 0, done.stderr
    rows: set[Row] = set()
    for line in done.stdout.splitlines():
        if match := PRINTED.match(line):
            dag, run, task, key = (eval(match[name]) for name in ("dag", "run", "task", "key"))  # noqa: S307
            rows.add((dag, run, task, int(match["index"]), key))
    return rows


def test_the_fixture_by_airflows_own_command(tmp_path: Path) -> None:
    require("airflow")
    copy = tmp_path / "airflow.db"
    shutil.copy(AIRFLOW_33, copy)
    by_airflow = printed(f"sqlite:///{copy}")
    assert by_airflow
    assert shown(copy) == by_airflow


class Compared:
    """A migrated database, storekit on one side and real Airflow on the other."""

    def __init__(self, url: str, airflow: RealAirflow) -> None:
        self.url, self.airflow = url, airflow
        self.runs: set[tuple[str, str]] = set()

    def write(self, rows: dict[tuple[str, str, str, int, str], timedelta | None]) -> None:
        for (dag_id, run_id, task_id, index, key), offset in rows.items():
            if (dag_id, run_id) not in self.runs:
                self.airflow.add_dag_run(dag_id, run_id)
                self.runs.add((dag_id, run_id))
            expires_at = None if offset is None else NOW + offset
            self.airflow.set(sk.TaskScope(dag_id, run_id, task_id, index), key, "1", expires_at=expires_at)

    def clear(self) -> None:
        for dag_id, run_id in self.runs:
            self.airflow.delete_dag_run(dag_id, run_id)
        self.runs.clear()


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=SLOW)])
def compared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, sandboxes: Sandboxes
) -> Iterator[Compared]:
    require("airflow")
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("airflow") / "airflow.db"
        shutil.copy(migrated_sqlite(tmp_path_factory), path)
        url = f"sqlite:///{path}"
    else:
        url = sandboxes.get("postgres").url
        migrated_postgres(url)
    with RealAirflow(url) as airflow:
        airflow.freeze_time(NOW)
        yield Compared(url, airflow)


# Around the instant itself, where < and <= part; and far from it.
OFFSETS = st.one_of(
    st.none(),
    st.sampled_from([timedelta(microseconds=us) for us in (-1, 0, 1)]),
    st.timedeltas(min_value=timedelta(days=-3000), max_value=timedelta(days=3000)),
)
NAMES = st.sampled_from(["etl", "it's", 'quo"te', "ünïcode"])
KEYS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=30)
STORES = st.dictionaries(st.tuples(NAMES, NAMES, NAMES, st.integers(-1, 3), KEYS), OFFSETS, max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=settings.default.max_examples // 2)
@given(rows=STORES)
def test_random_stores(compared: Compared, rows: dict[Row, timedelta | None]) -> None:
    compared.clear()
    compared.write(rows)
    by_airflow = {(dag, run, task, int(index), key) for dag, run, task, index, key in compared.airflow.dry_run()}
    assert shown(compared.url, NOW) == by_airflow
    assert by_airflow == {row for row, offset in rows.items() if offset is not None and offset < timedelta(0)}


@on_ci_only("the fixture is shown by Airflow's own command too")
def test_airflows_own_command_on_postgresql(compared: Compared) -> None:
    compared.clear()
    compared.write({("etl", "r", "t", index, f"k{index}"): timedelta(days=-200 * index) for index in range(4)})
    assert shown(compared.url) == printed(compared.url)
