"""A year with known truth: what the store held in its last 92 days, foretold from snapshots of the first 273."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from contract_rows import snapshot, task_row

from storekit.frames.snapshot import Snapshot
from storekit.retention import Policy

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
KNOWN, AHEAD, RETENTION = 273, 92, 30
WEEK = np.array([1.2, 1.2, 1.2, 1.2, 1.2, 0.5, 0.5])  # from Thursday, as 2026 begins: the shape is what matters


def writes(workload: str, seed: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return how many rows are written on each day of a year."""
    day = np.arange(KNOWN + AHEAD)
    level = {
        "stationary": np.full(len(day), 40.0),
        "weekly": 40 * WEEK[day % 7],
        "growing": 25 * (1 + day / 365),
    }[workload]
    return np.random.default_rng(seed).poisson(level)


def taken_on(day: int, counts: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Snapshot:
    """Return the snapshot at the end of a day, just after that day's cleanup."""
    at = START + day * DAY
    rows = []
    for written in range(max(0, day - RETENTION), day):
        for number in range(int(counts[written])):
            updated_at = START + (written + (number + 0.5) / counts[written]) * DAY
            rows.append(
                task_row(
                    dag_id=f"dag{number % 3}",
                    key=f"{written}-{number}",
                    value_bytes=100,
                    updated_at=updated_at,
                    expires_at=updated_at + RETENTION * DAY,
                )
            )
    return snapshot(rows, taken_at=at)


@pytest.mark.parametrize("workload", ["stationary", "weekly", "growing"])
def test_the_store_of_the_last_quarter_lies_in_the_band(workload: str) -> None:
    held = []
    for seed in range(4):
        counts = writes(workload, seed)
        months = [taken_on(day, counts) for day in range(KNOWN % RETENTION + RETENTION, KNOWN, RETENTION)]
        simulation = taken_on(KNOWN, counts).simulate(
            Policy(default_retention_days=RETENTION), AHEAD * DAY, history=months, seed=1
        )
        assert not [each for each in simulation.assumptions if each.startswith("Doubt")]
        line = simulation.over_time()
        line = line[line["moment"] == "after cleanup"].iloc[1:]
        truth = [int(counts[day - RETENTION : day].sum()) for day in range(KNOWN + 1, KNOWN + AHEAD + 1)]
        inside = (line["rows_low"] <= truth) & (truth <= line["rows_high"])
        held.append(float(inside.mean()))
        # A band that holds everything says nothing. A sum of 30 Poisson days that is known in its mean would take 3.3.
        noise = np.sqrt(np.asarray(truth, float))
        assert float(((line["rows_high"] - line["rows_low"]) / noise).mean()) < 9
    # Errors of a stock last for weeks, and of growth for good: one year may lie outside for long, most may not.
    assert np.mean(held) >= 0.85, held
    assert np.mean(np.array(held) >= 0.85) >= 0.75, held
