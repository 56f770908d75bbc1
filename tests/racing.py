"""A writer of `test_races`, in a process of its own: it refreshes keys as fast as it can, around those being cleaned.

Run as ``racing.py FAMILY URL BOARD NUMBER``. Each line on stdin is a round (JSON: ``starts``, ``writers``, ``seed``,
``run_row``); it lasts until the board says stop, and is answered by one line: every refresh that committed. It speaks
to the drivers directly, past storekit: an upsert of one row, a transaction each, as a worker's ``set`` is.
"""

from __future__ import annotations

import json
import mmap
import random
import sqlite3
import struct
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

__all__ = ["DAG", "FAR", "RUN", "TASK", "WRITTEN_AT", "Board"]

DAG, RUN, TASK = "etl", "r", "t"
FAR = datetime(2037, 1, 1, tzinfo=UTC)
"""When a refreshed key expires; Airflow's TIMESTAMP on MySQL ends in 2038."""
WRITTEN_AT = datetime(2026, 11, 22, 11, tzinfo=UTC)
"""``updated_at`` of the first refresh; each further one is a microsecond later."""

Refresh = Callable[[str, str, datetime], None]


class Board:
    """A few integers that the processes share: which slot is being cleaned, whether to stop, commits by writer."""

    FRONTIER, STOP, COMMITS = 0, 1, 2
    _CELLS = 16

    def __init__(self, path: Path, *, new: bool = False) -> None:
        if new:
            path.write_bytes(bytes(8 * self._CELLS))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 8 * self._CELLS)

    def __getitem__(self, cell: int) -> int:
        return int(struct.unpack_from("=q", self._map, 8 * cell)[0])

    def __setitem__(self, cell: int, value: int) -> None:
        struct.pack_into("=q", self._map, 8 * cell, value)

    @property
    def commits(self) -> int:
        """Refreshes that have committed in this round."""
        return sum(self[cell] for cell in range(self.COMMITS, self._CELLS))

    def close(self) -> None:
        self._map.close()


_COLUMNS = "dag_run_id, dag_id, run_id, task_id, map_index, {key}, value, updated_at, expires_at"
_INSERT = "INSERT INTO task_state_store (" + _COLUMNS + ") VALUES ({marks}) "  # noqa: S608 - names from this file
_CONFLICT = (
    "ON CONFLICT (dag_run_id, task_id, map_index, key) DO UPDATE SET value = excluded.value, "
    "updated_at = excluded.updated_at, expires_at = excluded.expires_at"
)
_DUPLICATE = (
    "ON DUPLICATE KEY UPDATE value = VALUES(value), updated_at = VALUES(updated_at), expires_at = VALUES(expires_at)"
)


@contextmanager
def _sqlite(url: str, run_row: int) -> Any:
    connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None, timeout=60)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = OFF")  # no machine goes down here
    # Polled from here on, with hardly a pause: SQLite's own pauses grow to 100 ms, and sleep through most of a cleanup.
    connection.execute("PRAGMA busy_timeout = 0")
    upsert = _INSERT.format(key="key", marks="?, ?, ?, ?, -1, ?, ?, ?, ?") + _CONFLICT

    def refresh(key: str, value: str, updated_at: datetime) -> None:
        instants = [f"{at:%Y-%m-%d %H:%M:%S.%f}" for at in (updated_at, FAR)]
        connection.execute(upsert, (run_row, DAG, RUN, TASK, key, value, *instants))

    yield refresh, lambda error: isinstance(error, sqlite3.OperationalError) and "locked" in str(error)
    connection.close()


@contextmanager
def _postgres(url: str, run_row: int) -> Any:
    import psycopg

    upsert = _INSERT.format(key="key", marks="%s, %s, %s, %s, -1, %s, %s, %s, %s") + _CONFLICT
    with psycopg.connect(url, autocommit=True) as connection:

        def refresh(key: str, value: str, updated_at: datetime) -> None:
            connection.execute(upsert, (run_row, DAG, RUN, TASK, key, value, updated_at, FAR))

        yield refresh, lambda error: isinstance(error, psycopg.errors.DeadlockDetected)


@contextmanager
def _mysql(url: str, run_row: int) -> Any:
    import pymysql

    parts = urlsplit(url)
    connection = pymysql.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=parts.path[1:],
        autocommit=True,
        init_command="SET time_zone = '+00:00'",
    )
    upsert = _INSERT.format(key="`key`", marks="%s, %s, %s, %s, -1, %s, %s, %s, %s") + _DUPLICATE
    cursor = connection.cursor()

    def refresh(key: str, value: str, updated_at: datetime) -> None:
        instants = (updated_at.replace(tzinfo=None), FAR.replace(tzinfo=None))
        cursor.execute(upsert, (run_row, DAG, RUN, TASK, key, value, *instants))

    # Lock wait timeout, deadlock.
    yield refresh, lambda error: isinstance(error, pymysql.err.OperationalError) and error.args[0] in {1205, 1213}
    connection.close()


_OPENED = {"sqlite": _sqlite, "postgres": _postgres, "mysql": _mysql}


def _choices(starts: Sequence[int], number: int, writers: int) -> list[list[int]]:
    """Return this writer's keys by slot: no other writer's, so that the last write of a key is known.

    A third of the keys is nobody's: they are never refreshed, and every cleanup finds something to delete.
    """
    return [
        [key for key in range(start, end) if key % writers == number and key // writers % 3]
        for start, end in pairwise(starts)
    ]


def _round(
    order: dict[str, Any], refresh: Refresh, passes: Callable[[Exception], bool], board: Board, number: int
) -> dict[str, Any]:
    chosen = _choices(order["starts"], number, order["writers"])
    chance = random.Random(order["seed"] * 100 + number)  # noqa: S311 - no secret hangs on it
    done: list[tuple[int, str, float, float]] = []
    retries = 0
    while not board[Board.STOP]:
        # Mostly what is being deleted right now, also what was a moment ago, and what is next.
        slot = board[Board.FRONTIER] + chance.choice((-1, 0, 0, 0, 1))
        keys = chosen[min(max(slot, 0), len(chosen) - 1)]
        if not keys:
            continue
        key = chance.choice(keys)
        value = f"{key} by {number}: {len(done)}"
        begun = time.monotonic()
        while True:
            try:
                refresh(f"k{key}", value, WRITTEN_AT + timedelta(microseconds=len(done)))
                break
            except Exception as error:
                if not passes(error):
                    raise
                retries += 1
                time.sleep(chance.uniform(0, 0.002))
        done.append((key, value, begun, time.monotonic()))
        board[Board.COMMITS + number] = len(done)
    return {"done": done, "retries": retries}


def main() -> None:
    family, url, path, number = sys.argv[1:]
    board = Board(Path(path))
    for line in sys.stdin:
        order = json.loads(line)
        with _OPENED[family](url, order["run_row"]) as (refresh, passes):
            answer = _round(order, refresh, passes, board, int(number))
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    board.close()


if __name__ == "__main__":
    main()
