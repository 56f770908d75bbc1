"""What is counted as written a day, and by which kind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from storekit.retention.flow import Flow, Sighting, flow_of
from storekit.retention.rows import NO_EXPIRY, Labels, StoreRows, as_instant_us
from storekit.retention.written import DAY_US, infer

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)  # a Sunday
NOW_US = as_instant_us(NOW)


def seen(written_us: list[int], lived_us: list[int], *, now_us: int = NOW_US, cleaned: bool = True) -> Flow:
    """The flow of rows written so, as far as cleanup left them."""
    pairs = sorted(zip(written_us, lived_us, strict=True))
    pairs = [(at, lived) for at, lived in pairs if not cleaned or lived == NO_EXPIRY or at + lived >= now_us]
    count = len(pairs)
    rows = StoreRows(
        updated_us=np.array([at for at, _ in pairs], np.int64),
        expires_us=np.array([NO_EXPIRY if lived == NO_EXPIRY else at + lived for at, lived in pairs], np.int64),
        value_bytes=np.full(count, 10, np.int64),
        never=np.ones(count, np.int8) * np.array([lived == NO_EXPIRY for _, lived in pairs], np.int8),
        is_asset=np.zeros(count, np.bool_),
        is_reference=np.zeros(count, np.bool_),
        dag_id=Labels.of([f"dag{number % 3}" for number in range(count)]),
        task_id=Labels.of(["t"] * count),
        key=Labels.of(["k"] * count),
        task_state=Labels.of([None] * count),
        row=np.arange(count),
    )
    return flow_of(Sighting(rows, infer(rows), now_us))


def daily(count: int, lived_us: int, days: int, *, now_us: int = NOW_US) -> tuple[list[int], list[int]]:
    """So many rows a day, evenly, for so many days until now."""
    step = DAY_US // count
    return [now_us - 1 - number * step for number in range(count * days)], [lived_us] * (count * days)


def rate(flow: Flow) -> float:
    """Rows a day over all kinds, each over the days on which it was seen."""
    counts, kinds = flow.history, flow.kinds
    return sum(float(counts.counts[counts.seen[:, kind], kind].mean()) for kind in range(kinds))


@pytest.mark.parametrize("longest", [60, 3])
def test_many_retentions_are_counted_at_their_true_rate(longest: int) -> None:
    """None is counted over days of which its rows may be gone: what died young would look like growth."""
    rng = np.random.default_rng(1)
    lived = np.exp(rng.uniform(0, np.log(longest), 60_000)) * DAY_US
    written = NOW_US - rng.integers(0, longest * DAY_US, 60_000)
    flow = seen(written.tolist(), lived.astype(np.int64).tolist())
    assert flow.kinds <= 24
    assert rate(flow) == pytest.approx(60_000 / longest, rel=0.05)
    for kind in range(flow.kinds):
        days = flow.history.counts[flow.history.seen[:, kind], kind]
        third = max(len(days) // 3, 1)
        # Neither end is fuller than the other, within the noise.
        assert abs(days[:third].mean() - days[-third:].mean()) <= 5 * np.sqrt(max(days.mean(), 1) / third) + 1


def test_a_kind_begins_with_its_first_row() -> None:
    base, lived = daily(100, 30 * DAY_US, 30)
    new, new_lived = daily(200, 90 * DAY_US, 7)
    flow = seen(base + new, lived + new_lived)
    newest = flow.history.names.index("rows kept 90 days") if flow.history.names else -1
    assert flow.history.seen[:, newest].sum() == 7
    assert rate(flow) == pytest.approx(300, rel=0.03)


def test_a_rare_kind_does_not_begin_with_its_first_row() -> None:
    base, lived = daily(100, 30 * DAY_US, 30)
    flow = seen([*base, NOW_US - DAY_US], [*lived, NO_EXPIRY])
    never = flow.kinds - 1
    assert flow.history.seen[:, never].sum() == len(flow.history.seen)
    assert flow.history.counts[:, never].sum() == 1


@pytest.mark.parametrize("hour", [1, 11, 13, 23])
def test_a_day_is_called_by_the_date_that_most_of_it_falls_on(hour: int) -> None:
    now_us = as_instant_us(NOW.replace(hour=hour))
    written = []
    for day in range(28):
        date = (NOW - timedelta(days=day)).replace(hour=0)
        if date.weekday() < 5:
            written += [as_instant_us(date) + number * DAY_US // 50 for number in range(50)]
    flow = seen(written, [60 * DAY_US] * len(written), now_us=now_us)
    weekdays = (flow.history.first_day.weekday() + np.arange(len(flow.history.counts))) % 7
    by_weekday = [flow.history.counts[weekdays == number, 0].mean() for number in range(7)]
    assert min(by_weekday[:5]) > 20
    assert max(by_weekday[5:]) <= 25


def test_uncleaned_rows_lengthen_what_is_seen() -> None:
    written, lived = daily(10, 7 * DAY_US, 40)
    assert seen(written, lived).history.seen[:, 0].sum() == 6  # of the seventh day the first rows may be gone
    whole = seen(written, lived, cleaned=False)
    assert whole.history.seen[:, 0].sum() == 39
    assert whole.uncleaned_us == pytest.approx(33 * DAY_US, rel=0.01)


@pytest.mark.parametrize("hours", [1, 23, 24, 25, 47, 100, 166, 167, 168, 169, 200])
def test_what_was_written_in_the_first_hours_alone_is_counted_at_every_hour_after(hours: int) -> None:
    """A store that was filled once and read later: its rows lie in a day that is seen in part."""
    hour = DAY_US // 24
    written = [NOW_US - hours * hour - number * hour // 60 for number in range(40)]
    flow = seen([*written, *written], [30 * DAY_US] * 40 + [NO_EXPIRY] * 40)
    assert rate(flow) * len(flow.history.counts) == pytest.approx(80)
    assert flow.counted.all()


def test_a_day_seen_in_part_is_counted_for_no_kind_that_was_written_later() -> None:
    base, lived = daily(24, 30 * DAY_US, 7)
    begins = NOW_US - 7 * DAY_US - DAY_US // 2
    half_a_day = [begins + number * DAY_US // 24 for number in range(12)]
    flow = seen([*base, *half_a_day, begins], [*lived, *([30 * DAY_US] * 12), NO_EXPIRY])
    assert rate(flow) == pytest.approx(24 + 1 / 8)
    assert flow.windows.tolist() == [7, 8]
    assert flow.counted.sum() == 24 * 7 + 1
