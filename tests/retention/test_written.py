"""How rows were written: the default is told from programs' own choices, in every era that left survivors."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storekit.errors import QueryError
from storekit.retention.rows import NO_EXPIRY, Labels, StoreRows, as_instant_us, as_us
from storekit.retention.written import DAY_US, How, Written, infer

NOW = datetime(2026, 11, 22, 10, 35, 18, 757162, tzinfo=UTC)
DAY, MS, TICK = timedelta(days=1), timedelta(milliseconds=1), timedelta(microseconds=1)
TASKS = [(dag, task) for dag in ("etl", "ml", "feed") for task in ("load", "fit", "report")]


@dataclass(frozen=True)
class Row:
    """One row, with the truth: how it was written."""

    dag_id: str | None
    task_id: str | None
    updated_at: datetime
    expires_at: datetime | None
    how: How
    never: int = 0
    value_bytes: int = 10


def rows_of(rows: Iterable[Row]) -> StoreRows:
    """As arrays, in the rows' order: sorted by last write."""
    made = sorted(rows, key=lambda row: row.updated_at)
    count = len(made)
    return StoreRows(
        updated_us=np.array([as_instant_us(row.updated_at) for row in made], np.int64),
        expires_us=np.array(
            [NO_EXPIRY if row.expires_at is None else as_instant_us(row.expires_at) for row in made], np.int64
        ),
        value_bytes=np.array([row.value_bytes for row in made], np.int64),
        never=np.array([row.never for row in made], np.int8),
        is_asset=np.array([row.how is How.ASSET for row in made], np.bool_),
        is_reference=np.zeros(count, np.bool_),
        dag_id=Labels.of([row.dag_id for row in made]),
        task_id=Labels.of([row.task_id for row in made]),
        key=Labels.of(["k"] * count),
        task_state=Labels.of([None] * count),
        row=np.arange(count),
    )


def truth(rows: Iterable[Row]) -> list[How]:
    return [row.how for row in sorted(rows, key=lambda row: row.updated_at)]


def found(written: Written) -> list[How]:
    return [How(int(each)) for each in written.how]


class History:
    """Tasks that write once a day, until now; what expired is cleaned up.

    Worker and server differ by up to 60 ms, either way.
    """

    def __init__(self, seed: int = 0, tasks: Iterable[tuple[str, str]] = tuple(TASKS)) -> None:
        self.random, self.tasks = random.Random(seed), list(tasks)  # noqa: S311
        self.rows: list[Row] = []

    def write(self, ages: Iterable[int], retention: Callable[[int], int | None], how: How, *, of: Any = None) -> None:
        """Write a row of each task on each day, so many days ago; its retention depends on that age."""
        for age in ages:
            for dag, task in self.tasks if of is None else of:
                days = retention(age)
                at = NOW - age * DAY - self.random.randrange(86_000) * timedelta(seconds=1)
                way = self.random.randrange(-60, 61) * MS
                expires_at = None if days is None else at + days * DAY + way
                if expires_at is None or expires_at >= NOW:  # else it was cleaned up
                    self.rows.append(Row(dag, task, at, expires_at, how, -1 if days is None else 0))

    def check(self, defaults: tuple[int, ...]) -> Written:
        written = infer(rows_of(self.rows))
        assert written.defaults == defaults
        assert found(written) == truth(self.rows)
        assert not written.told
        check_evidence(written, self.rows)
        return written


def check_evidence(written: Written, rows: list[Row]) -> None:
    """The lines add up to all rows, and each says what its rows are."""
    lines = written.evidence(rows_of(rows))
    assert sum(line.rows for line in lines) == len(rows)
    assert sum(line.value_bytes for line in lines) == sum(row.value_bytes for row in rows)
    assert [line.rows for line in lines] == sorted((line.rows for line in lines), reverse=True)
    for how in How:
        assert sum(line.rows for line in lines if line.how is how) == found(written).count(how)
    for line in lines:
        assert line.because
        assert line.rows >= 1
        assert line.first_written_at <= line.last_written_at
        if line.skew is not None:
            assert line.retention is not None
    if rows:
        assert min(line.first_written_at for line in lines) == min(row.updated_at for row in rows)
        assert max(line.last_written_at for line in lines) == max(row.updated_at for row in rows)


# --- one default -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_a_default_of_30_beside_keys_of_7_and_90_days(seed: int) -> None:
    history = History(seed)
    history.write(range(120), lambda age: 30, How.DEFAULT)
    history.write(range(120), lambda age: 7, How.EXPLICIT, of=TASKS[:4])
    history.write(range(0, 120, 3), lambda age: 90, How.EXPLICIT, of=TASKS[2:6])
    written = history.check((30,))
    lines = written.evidence(rows_of(history.rows))
    assert {line.retention for line in lines} == {7 * DAY, 30 * DAY, 90 * DAY}
    (line,) = (line for line in lines if line.how is How.DEFAULT)
    assert line.because == "whole days that most Dags shared in the newest week"
    assert (line.tasks, line.dags) == (len(TASKS), 3)
    assert line.skew is not None
    assert 40 * MS < line.skew <= 60 * MS
    assert (written.lived_us[written.is_(How.DEFAULT)] == 30 * DAY_US).all()


def test_keys_of_90_days_are_no_older_default_though_only_they_are_left() -> None:
    """They were chosen in every era: beside the default while it left rows, and alone before."""
    history = History()
    history.write(range(31), lambda age: 30, How.DEFAULT)
    history.write(range(120), lambda age: 90, How.EXPLICIT)
    history.check((30,))


def test_keys_of_90_days_of_one_dag_are_no_older_default() -> None:
    history = History()
    history.write(range(31), lambda age: 30, How.DEFAULT)
    history.write(range(40, 80), lambda age: 90, How.EXPLICIT, of=TASKS[:3])
    history.check((30,))


def test_keys_of_90_days_of_tasks_that_never_took_the_default_are_no_older_default() -> None:
    history = History()
    history.write(range(31), lambda age: 30, How.DEFAULT, of=TASKS[:5])
    history.write(range(40, 80), lambda age: 90, How.EXPLICIT, of=TASKS[5:])
    history.check((30,))


# --- several defaults --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("newer", "older", "ago"), [(14, 30, 10), (30, 90, 60), (30, 14, 5), (7, 90, 30), (30, 31, 12), (1, 2, 1)]
)
def test_a_default_that_changed_is_found_in_both_eras(newer: int, older: int, ago: int, seed: int) -> None:
    history = History(seed)
    history.write(range(120), lambda age: newer if age < ago else older, How.DEFAULT)
    written = history.check((newer, older))
    lines = {line.retention: line for line in written.evidence(rows_of(history.rows))}
    assert lines[older * DAY].because == "whole days that several tasks left together for a newer default"
    assert lines[older * DAY].last_written_at < NOW - (ago - 1) * DAY


def test_both_eras_are_found_beside_programs_choices() -> None:
    history = History(5)
    history.write(range(120), lambda age: 14 if age < 10 else 30, How.DEFAULT)
    history.write(range(120), lambda age: 7, How.EXPLICIT, of=TASKS[:3])
    history.write(range(120), lambda age: 90, How.EXPLICIT, of=TASKS[1:3])
    history.check((14, 30))


def test_three_eras() -> None:
    history = History(6)
    history.write(range(150), lambda age: 7 if age < 5 else 30 if age < 25 else 120, How.DEFAULT)
    history.check((7, 30, 120))


def test_a_default_gone_without_survivors_is_not_found() -> None:
    history = History()
    history.write(range(90), lambda age: 30 if age < 20 else 14, How.DEFAULT)
    history.check((30,))


def test_on_the_day_of_a_change_both_are_in_force() -> None:
    history = History()
    history.write(range(9), lambda age: 14, How.DEFAULT)
    history.write(range(9, 28), lambda age: 30, How.DEFAULT)
    midday = NOW.replace(hour=0, minute=0, second=0, microsecond=0) - 8 * DAY
    for hours in range(6, 24):
        days = 30 if hours < 12 else 14
        at = midday + hours * timedelta(hours=1)
        history.rows += [Row(dag, task, at, at + days * DAY + 3 * MS, How.DEFAULT) for dag, task in TASKS]
    history.check((14, 30))


# --- little to go by ---------------------------------------------------------------------------------------------


def test_one_task_alone_tells_the_default_but_no_change_of_it() -> None:
    history = History(tasks=TASKS[:1])
    history.write(range(60), lambda age: 30, How.DEFAULT)
    history.check((30,))
    changed = History(tasks=TASKS[:1])
    changed.write(range(10), lambda age: 14, How.DEFAULT)
    changed.write(range(10, 30), lambda age: 30, How.EXPLICIT)  # as well its own choice: nobody else left with it
    changed.check((14,))


def test_one_row_and_none() -> None:
    one = [Row("etl", "load", NOW, NOW + 30 * DAY, How.DEFAULT)]
    assert infer(rows_of(one)).defaults == (30,)
    empty = infer(rows_of([]))
    assert (empty.defaults, len(empty.how), empty.evidence(rows_of([]))) == ((), 0, [])
    odd = [Row("etl", "load", NOW, NOW + 36 * timedelta(hours=1), How.EXPLICIT)]
    written = infer(rows_of(odd))
    assert (written.defaults, found(written)) == ((), [How.EXPLICIT])
    assert written.evidence(rows_of(odd))[0].because == "not whole days, which a default is"


@pytest.mark.parametrize(
    ("lived", "how"),
    [
        (30 * DAY + timedelta(minutes=1), How.DEFAULT),
        (30 * DAY - timedelta(minutes=1), How.DEFAULT),
        (30 * DAY + timedelta(minutes=1) + TICK, How.EXPLICIT),
        (30 * DAY - timedelta(minutes=1) - TICK, How.EXPLICIT),
        (timedelta(seconds=20), How.EXPLICIT),
        (timedelta(0), How.EXPLICIT),
        (-DAY, How.EXPLICIT),
        (40_000 * DAY, How.EXPLICIT),
    ],
)
def test_the_skew_is_inclusive_to_the_microsecond(lived: timedelta, how: How) -> None:
    rows = [Row("etl", f"{each}", NOW, NOW + 30 * DAY, How.DEFAULT) for each in range(3)]
    odd = Row("ml", "odd", NOW + TICK, NOW + TICK + lived, how)
    written = infer(rows_of([*rows, odd]))
    assert found(written)[-1] is how
    assert written.lived_us[-1] == (30 * DAY_US if how is How.DEFAULT else as_us(lived))
    check_evidence(written, [*rows, odd])
    wide = infer(rows_of([*rows, odd]), skew=timedelta(minutes=2))
    assert found(wide)[-1] is (How.DEFAULT if abs(lived - 30 * DAY) <= timedelta(minutes=2) else How.EXPLICIT)


def test_rows_without_an_expiry() -> None:
    kinds = [(-1, How.UNTOLD), (0, How.DEFAULT), (1, How.NEVER)]
    rows = [Row("etl", f"{flag}", NOW + flag * TICK, None, how, flag) for flag, how in kinds]
    rows.append(Row("etl", "flagged", NOW + 5 * TICK, NOW + 30 * DAY, How.NEVER, 1))
    rows.append(Row(None, None, NOW + 6 * TICK, None, How.ASSET, -1))
    for defaults, untold in ((None, How.UNTOLD), ([30], How.NEVER), ([], How.NEVER), ([0, 30], How.UNTOLD)):
        written = infer(rows_of(rows), defaults=defaults)
        assert found(written) == [untold, *(row.how for row in rows[1:])]
        assert (written.lived_us == NO_EXPIRY).all()
        assert written.told == (defaults is not None)
        check_evidence(written, rows)
    said = {line.how: line.because for line in infer(rows_of(rows)).evidence(rows_of(rows))}
    assert "the layout has no flag" in said[How.UNTOLD]
    assert "default_retention_days was 0" in said[How.DEFAULT]
    assert said[How.NEVER] == "flagged NEVER_EXPIRE"
    assert said[How.ASSET] == "asset rows have no retention"


def test_all_null_finds_no_default() -> None:
    history = History()
    history.write(range(30), lambda age: None, How.UNTOLD)
    history.check(())


# --- told --------------------------------------------------------------------------------------------------------


def test_given_defaults_are_taken_at_their_word() -> None:
    history = History()
    history.write(range(60), lambda age: 30, How.DEFAULT)
    history.write(range(60), lambda age: 7, How.DEFAULT, of=TASKS[:2])
    rows = rows_of(history.rows)
    both = infer(rows, defaults=[7, 30, 7])
    assert (both.defaults, both.told) == ((7, 30), True)
    assert found(both) == truth(history.rows)
    assert {line.because for line in both.evidence(rows)} == {"given as a default_retention_days"}
    only = infer(rows, defaults=[7])
    lived = rows.expires_us - rows.updated_us
    assert found(only) == [How.DEFAULT if each < 8 * DAY_US else How.EXPLICIT for each in lived]
    none = infer(rows, defaults=[])
    assert set(found(none)) == {How.EXPLICIT}
    assert infer(rows, defaults=np.array([7])).defaults == (7,)


@pytest.mark.parametrize("defaults", [[-1], [True], [3.5], ["30"], "30", [None]])
def test_what_is_no_default_is_refused(defaults: Any) -> None:
    with pytest.raises(QueryError, match="no default_retention_days"):
        infer(rows_of([]), defaults=defaults)


@pytest.mark.parametrize("skew", [-TICK, timedelta(hours=12)])
def test_a_skew_that_cannot_tell_days_apart_is_refused(skew: timedelta) -> None:
    with pytest.raises(QueryError, match="cannot tell days apart"):
        infer(rows_of([]), skew=skew)


# --- evidence ----------------------------------------------------------------------------------------------------


def test_many_retentions_of_programs_are_one_line_in_the_end() -> None:
    rows = [Row("etl", "load", NOW + each * TICK, NOW + 30 * DAY + each * TICK, How.DEFAULT) for each in range(3)]
    for hours in range(1, 41):
        for each in range(1 + (hours < 10)):
            at = NOW + (hours + 100 * each) * TICK
            rows.append(Row("etl", f"{each}", at, at + hours * timedelta(hours=1, minutes=2), How.EXPLICIT))
    written = infer(rows_of(rows))
    check_evidence(written, rows)
    lines = written.evidence(rows_of(rows))
    (rest,) = (line for line in lines if line.how is How.EXPLICIT and line.retention is None)
    assert (rest.rows, rest.skew) == (40 - 24, None)
    assert rest.because == "several retentions, each of fewer rows than those listed"
    assert len(lines) == 24 + 2


@st.composite
def any_rows(draw: st.DrawFn) -> list[Row]:
    rows = []
    for _ in range(draw(st.integers(0, 60))):
        at = NOW - draw(st.integers(0, 100)) * DAY - draw(st.integers(0, 10**9)) * TICK
        lived = draw(
            st.none()
            | st.sampled_from([1, 7, 14, 30, 90]).map(lambda days: days * DAY)
            | st.timedeltas(-2 * DAY, 99 * DAY)
        )
        dag, task = draw(st.sampled_from(TASKS))
        is_asset = draw(st.integers(0, 6)) == 0
        rows.append(
            Row(
                None if is_asset else dag,
                None if is_asset else task,
                at,
                None if lived is None else at + lived,
                How.ASSET if is_asset else How.EXPLICIT,
                draw(st.sampled_from([-1, 0, 0, 1])),
            )
        )
    return rows


@given(rows=any_rows(), defaults=st.none() | st.lists(st.sampled_from([0, 7, 30, 90]), max_size=3))
def test_every_row_is_told_once_and_counted(rows: list[Row], defaults: list[int] | None) -> None:
    arrays = rows_of(rows)
    written = infer(arrays, defaults=defaults)
    check_evidence(written, rows)
    for at, (how, lived) in enumerate(zip(found(written), written.lived_us.tolist(), strict=True)):
        expires = arrays.expires_us[at] != NO_EXPIRY
        assert (how is How.ASSET) == arrays.is_asset[at]
        if how is How.DEFAULT and expires:
            assert lived % DAY_US == 0
            assert lived // DAY_US in written.defaults
            assert abs(arrays.expires_us[at] - arrays.updated_us[at] - lived) <= as_us(timedelta(minutes=1))
        if how is How.UNTOLD:
            assert not expires
            assert arrays.never[at] == -1
        if how is How.EXPLICIT:
            assert expires


# --- what realistic deployments do to it ----------------------------------------------------------------------------


def test_one_poller_after_midnight_does_not_outvote_all_others() -> None:
    dags = [(f"dag{number}", "t") for number in range(20)]
    history = History(1, dags)
    history.write(range(1, 29), lambda age: 30, How.DEFAULT)
    history.write([0], lambda age: 1, How.EXPLICIT, of=[("heartbeat", "beat")])
    assert history.check((30,)).doubts == ()


def test_one_dag_of_many_tasks_does_not_outvote_all_others() -> None:
    history = History(2, [(f"dag{number}", "t") for number in range(10)])
    history.write(range(29), lambda age: 30, How.DEFAULT)
    history.write(range(7), lambda age: 7, How.EXPLICIT, of=[("big", f"t{number}") for number in range(50)])
    history.check((30,))


def test_a_change_is_found_where_there_is_one_dag() -> None:
    history = History(3, [("only", f"t{number}") for number in range(5)])
    history.write(range(29), lambda age: 14 if age < 10 else 30, How.DEFAULT)
    history.check((14, 30))


def test_three_changes_are_found() -> None:
    history = History(4)
    history.write(range(60), lambda age: 90 if age < 5 else 60 if age < 20 else 70 if age < 35 else 80, How.DEFAULT)
    history.check((90, 60, 70, 80))


def test_two_tasks_that_change_their_own_retention_change_no_default() -> None:
    history, changed = History(6), [TASKS[0], TASKS[3]]  # of two Dags
    history.write(range(29), lambda age: 30, How.DEFAULT, of=[each for each in TASKS if each not in changed])
    history.write(range(29), lambda age: 30 if age < 10 else 90, How.EXPLICIT, of=changed)
    written = infer(rows_of(history.rows))
    assert written.defaults == (30,)
    assert written.is_(How.EXPLICIT).sum() == 2 * 19


def test_who_wrote_a_retention_under_another_default_chose_it() -> None:
    history = History(10)
    history.write(range(29), lambda age: 14 if age < 10 else 30, How.DEFAULT, of=TASKS[:6])
    history.write(range(29), lambda age: 14, How.EXPLICIT, of=TASKS[6:])
    history.check((14, 30))


def test_where_dags_disagree_it_says_so() -> None:
    history = History(7)
    for number, days in enumerate((30, 7, 14, 60)):
        history.write(range(7), lambda age, days=days: days, How.EXPLICIT, of=[(f"dag{number}", "t")])  # type: ignore[misc]
    (doubt,) = infer(rows_of(history.rows)).doubts
    assert doubt.startswith("only 1 of 4 Dags that wrote retentions of whole days in the newest week wrote 30, others")


@pytest.mark.parametrize("ahead", [timedelta(minutes=2), -timedelta(minutes=20)])
def test_clocks_that_are_far_apart_are_noticed(ahead: timedelta) -> None:
    history = History(8)
    history.write(range(29), lambda age: 30, How.DEFAULT)
    for number, row in enumerate(history.rows):
        if number % 2:
            assert row.expires_at is not None
            history.rows[number] = replace(row, expires_at=row.expires_at + ahead)
    (doubt,) = infer(rows_of(history.rows)).doubts
    assert "skew=" in doubt
    assert ("2 minutes" if ahead > timedelta(0) else "20 minutes") in doubt
    wide = infer(rows_of(history.rows), skew=timedelta(minutes=30))
    assert wide.doubts == ()
    assert wide.is_(How.DEFAULT).all()


def test_retentions_of_any_length_are_no_skew() -> None:
    history = History(9)
    history.write(range(29), lambda age: 30, How.DEFAULT)
    rng = random.Random(9)  # noqa: S311
    for hour in range(600):
        at = NOW - hour * timedelta(hours=1)
        history.rows.append(Row("any", "t", at, NOW + rng.random() * 60 * DAY, How.EXPLICIT))
    assert infer(rows_of(history.rows)).doubts == ()
