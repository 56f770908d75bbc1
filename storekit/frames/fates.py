"""Single rows in a simulation: who lives under one policy and dies under another, who is unsafe, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from numbers import Integral
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from storekit.engines.texts import NO_LIMIT
from storekit.errors import QueryError
from storekit.frames.answers import answer_frame
from storekit.frames.contract import ROWS
from storekit.frames.display import human_instant, plain
from storekit.frames.instants import as_text
from storekit.frames.paging import check_page
from storekit.frames.series import GROUPED_BY
from storekit.retention.durations import spell_duration
from storekit.retention.lives import CLEARED, Mode, tally
from storekit.retention.rows import NO_EXPIRY, Int64s, Labels, as_instant_us, from_us
from storekit.retention.simulate import PolicyRun, Setting
from storekit.retention.written import How

if TYPE_CHECKING:
    from storekit.engines.duckdb import DuckDBEngine
    from storekit.frames.retained import Retained, Understood

__all__ = ["Fates", "spelled"]

Bools = npt.NDArray[np.bool_]

_INSTANT = pa.timestamp("us", "UTC")
_TYPES = {column.name: column.type for column in ROWS.columns}
_IDENTITY = (
    ("store", False),
    *((name, True) for name in ("dag_id", "run_id", "task_id", "map_index", "region_id")),
    ("key", False),
    ("value_bytes", False),
    ("updated_at", False),
    ("expires_at", True),
    ("task_state", True),
)
_FOUND = 3
_FEW = 200
_MOST_PLACES = 2**22


class Fates:
    """Rows by their fate.

    Parameters
    ----------
    engine, retained
        The snapshot's.
    understood
        Its rows, or those selected, and how they were written.
    setting
        What policies are played over.
    """

    def __init__(self, engine: DuckDBEngine, retained: Retained, understood: Understood, setting: Setting) -> None:
        self._engine, self._retained = engine, retained
        self._understood, self._setting = understood, setting
        self._rows = understood.rows

    def _readings(self, a: PolicyRun, b: PolicyRun, at_us: int) -> tuple[Bools, Bools]:
        """Tell which rows live under a and not under b, for each reading of rows that are ambiguous."""
        never = b.gone(at_us, soonest=False)
        never &= ~a.gone(at_us, soonest=False)
        if not (a.lives.ambiguous or b.lives.ambiguous):
            return never, never
        by_default = b.gone(at_us, soonest=True)
        by_default &= ~a.gone(at_us, soonest=True)
        return never, by_default

    def difference(self, a: PolicyRun, b: PolicyRun, at_us: int, limit: int | None, offset: int) -> pd.DataFrame:
        """Return what `Simulation.difference` returns."""
        never, by_default = self._readings(a, b, at_us)

        def more(found: npt.NDArray[np.intp]) -> dict[str, pa.Array]:
            return {
                "written": self._written(found),
                "rule_a": _rules(a, found),
                "rule_b": _rules(b, found),
                "expires_under_a": _expiries(a.lives.at(found, soonest=False)),
                "expires_under_b": _expiries(b.lives.at(found, soonest=True)),
                "certain": pa.array((never & by_default)[found]),
            }

        return self._listed(np.flatnonzero(never | by_default), limit, offset, more)

    def difference_by(self, a: PolicyRun, b: PolicyRun, at_us: int, columns: Sequence[str]) -> pd.DataFrame:
        """Return what `Simulation.difference_by` returns."""
        return self._counted(np.logical_or(*self._readings(a, b, at_us)), columns)

    def gone(self, run: PolicyRun, at_us: int, limit: int | None, offset: int) -> pd.DataFrame:
        """Return what `Simulation.gone` returns."""
        never, by_default = (run.gone(at_us, soonest=each) for each in (False, True))

        def more(found: npt.NDArray[np.intp]) -> dict[str, pa.Array]:
            expires = run.lives.at(found, soonest=True)
            left = pa.array(expires, mask=(expires == NO_EXPIRY) | (expires == CLEARED))
            return {
                "written": self._written(found),
                "rule": _rules(run, found),
                "expires_under": _expiries(expires),
                "margin": pc.subtract(left, pa.scalar(at_us, pa.int64())).cast(pa.duration("us")),
                "certain": pa.array((never & by_default)[found]),
            }

        return self._listed(np.flatnonzero(never | by_default), limit, offset, more)

    def gone_by(self, run: PolicyRun, at_us: int, columns: Sequence[str]) -> pd.DataFrame:
        """Return what `Simulation.gone_by` returns."""
        return self._counted(run.gone(at_us, soonest=False) | run.gone(at_us, soonest=True), columns)

    def _counted(self, mask: Bools, columns: Sequence[str]) -> pd.DataFrame:
        """Return rows and bytes by columns, most bytes first."""
        _check_columns(columns)
        at = np.flatnonzero(mask)
        labels = [getattr(self._rows, name) for name in columns]
        place, groups = np.zeros(len(at), np.int64), 1
        for each in labels:
            width = len(each.names) + 1
            if groups * width > _MOST_PLACES:  # few of the pairs that could be are
                used, place = np.unique(place, return_inverse=True)
                groups = len(used)
            place = place * width + each.codes[at] + 1
            groups *= width
        if groups > _MOST_PLACES:
            used, place = np.unique(place, return_inverse=True)
            groups = len(used)
        rows, sizes = tally(place, self._rows.value_bytes[at], groups)
        first = np.zeros(groups, np.intp)
        first[place] = at  # any row of a group has its names
        there = np.flatnonzero(rows) if columns else np.arange(1)
        arrays = [_texts(each, first[there]) for each in labels]
        arrays += [pa.array(each[there]) for each in (rows, sizes)]
        fields = [pa.field(name, pa.string()) for name in columns]
        fields += [pa.field(name, pa.int64(), nullable=False) for name in ("rows", "value_bytes")]
        order = [("value_bytes", "descending"), *((name, "ascending") for name in columns)]
        return answer_frame(pa.Table.from_arrays(arrays, schema=pa.schema(fields)).sort_by(order))

    def unsafe(self, run: PolicyRun, limit: int | None, offset: int) -> pd.DataFrame:
        """Return what `Simulation.unsafe` returns."""
        start = as_instant_us(self._setting.now)

        def reason(at: int) -> str:
            expires = int(run.lives.at(np.array([at]), soonest=True)[0])
            takes = run.cleanup_after(expires)
            assert takes is not None  # noqa: S101 - where cleanup never runs, no row is unsafe
            when = f"{'expired' if expires < start else 'expires'} {human_instant(from_us(expires))}"
            return f"{when}; the cleanup of {human_instant(from_us(takes))} deletes it, and the task is not finished"

        return self.endangered(run, run.unsafe(), reason, limit, offset)

    def endangered(
        self,
        run: PolicyRun,
        mask: npt.NDArray[np.bool_],
        reason: Callable[[int], str],
        limit: int | None,
        offset: int,
    ) -> pd.DataFrame:
        """Return rows with what a policy does to them, and why each is listed."""

        def more(found: npt.NDArray[np.intp]) -> dict[str, pa.Array]:
            return {
                "written": self._written(found),
                "rule": _rules(run, found),
                "expires_under": _expiries(run.lives.at(found, soonest=True)),
                "reason": pa.array([reason(int(each)) for each in found], pa.string()),
            }

        return self._listed(np.flatnonzero(mask), limit, offset, more)

    def rates(self, columns: Sequence[str]) -> pd.DataFrame:
        """Return what `Simulation.rates` returns."""
        flow = self._setting.flow
        empty = np.empty(0, np.intp)
        at = empty if flow is None else np.flatnonzero(flow.counted)
        table = self._grouped(at, columns)
        windows = np.empty(0) if flow is None else np.maximum(flow.windows[flow.kind[at]], 1e-9)
        table = table.append_column("per_day", pa.array(1 / windows if len(at) else windows, pa.float64()))
        sizes = self._rows.value_bytes[at] / windows if len(at) else windows
        table = table.append_column("bytes_per_day", pa.array(sizes, pa.float64()))
        table = table.append_column("window", pa.array((windows * 86_400_000_000).astype(np.int64)))
        counts = table.group_by(list(columns)).aggregate(
            [("per_day", "sum"), ("bytes_per_day", "sum"), ("window", "min"), ("value_bytes", "count")]
        )
        fields = [pa.field(name, pa.string()) for name in columns]
        fields += [pa.field(name, pa.float64(), nullable=False) for name in ("rows_per_day", "bytes_per_day")]
        fields += [pa.field("window", pa.duration("us"), nullable=False), pa.field("rows", pa.int64(), nullable=False)]
        counts = counts.rename_columns([each.name for each in fields]).cast(pa.schema(fields))
        return answer_frame(
            counts.sort_by([("bytes_per_day", "descending"), *((name, "ascending") for name in columns)])
        )

    def explain(
        self, run: PolicyRun, dag_id: str, task_id: str, key: str, run_id: str | None, map_index: int | None
    ) -> str:
        """Return what `Simulation.explain` returns."""
        texts = {"dag_id": dag_id, "task_id": task_id, "key": key} | ({} if run_id is None else {"run_id": run_id})
        for name, text in texts.items():
            as_text(text, name)
        if map_index is not None and (isinstance(map_index, bool) or not isinstance(map_index, Integral)):
            raise QueryError(f"map_index={map_index!r} is no whole number", hint="as stored: -1 for an unmapped task")
        index = None if map_index is None else int(map_index)
        asked = {"dag_id": dag_id, "task_id": task_id, "key": key, "run_id": run_id, "map_index": index}
        numbers = self._engine.query("retained_row", {**asked, "size": _FOUND}).column(0).to_pylist()
        if len(numbers) != 1:
            what = ", ".join(f"{name}={value!r}" for name, value in asked.items() if value is not None)
            raise QueryError(
                f"{'no task row has' if not numbers else 'more than one task row has'} {what}",
                hint="snap.tasks() lists them" if not numbers else "tell run_id and map_index too",
            )
        (at,) = np.flatnonzero(self._rows.row == numbers[0])
        written = self._understood.written
        how, lived = How(int(written.how[at])), int(written.lived_us[at])
        size, state = int(self._rows.value_bytes[at]), self._rows.task_state
        state_name = None if state.codes[at] < 0 else state.names[int(state.codes[at])].as_py()
        chosen = run.policy.explain(dag_id=dag_id, task_id=task_id, key=key, value_bytes=size, task_state=state_name)
        lines = [
            f"written {human_instant(from_us(self._rows.updated_us[at]))}: {how.word}"
            + ("" if lived == NO_EXPIRY else f", {spelled(lived)}"),
            f"{plain(run.policy.name)} ({run.setting.mode}): {chosen}",
            *self._ends(run, int(at)),
        ]
        return "\n".join(lines)

    def _ends(self, run: PolicyRun, at: int) -> list[str]:
        soonest, latest = (int(run.lives.at(np.array([at]), soonest=each)[0]) for each in (True, False))
        lines = []
        if run.setting.mode is Mode.FORWARD:
            lines.append(
                "forward: the row exists, so it keeps the expiry it was written with, whatever the policy says"
            )
        for expires in dict.fromkeys((latest, soonest)):
            reading = ""
            if soonest != latest:
                reading = "if the default wrote it: " if expires == soonest else "if it was set with NEVER_EXPIRE: "
            lines.append(reading + self._end(run, expires))
        return lines

    def _end(self, run: PolicyRun, expires: int) -> str:
        if expires == CLEARED:
            return "cleared already: its task instance succeeded"
        if expires == NO_EXPIRY:
            return "never expires: no cleanup deletes it"
        said = f"expires {human_instant(from_us(expires))}"
        takes = run.cleanup_after(expires)
        if takes is not None and takes <= run.runs_us[-1]:
            return f"{said}; the cleanup of {human_instant(from_us(takes))} deletes it"
        return f"{said}; no cleanup until the horizon deletes it"

    def _written(self, at: npt.NDArray[np.intp]) -> pa.Array:
        return pa.array([How(int(each)).word for each in self._understood.written.how[at]], pa.string())

    def _grouped(self, at: npt.NDArray[np.intp], columns: Sequence[str]) -> pa.Table:
        _check_columns(columns)
        arrays = [pa.array(self._rows.value_bytes[at])]
        arrays += [_texts(getattr(self._rows, name), at) for name in columns]
        return pa.Table.from_arrays(arrays, names=["value_bytes", *columns])

    def _reached(self, at: npt.NDArray[np.intp], limit: int | None, offset: int) -> tuple[npt.NDArray[np.intp], int]:
        """Leave out rows that a page cannot reach, and return how many of the rest come before it.

        To hand every row over is what costs. The natural order is by Dag, asset rows last; so Dags are counted, and
        of those that the page reaches, the order of their rows is asked for once.
        """
        if limit is None or len(at) <= _FEW:
            return at, offset
        labels = self._rows.dag_id
        others = len(labels.names)
        group = np.where(labels.codes[at] < 0, others, labels.codes[at])
        group[self._rows.is_asset[at]] = others + 1
        counts = np.bincount(group, minlength=others + 2)
        named = np.flatnonzero(counts[:others])
        order = named[pc.sort_indices(labels.names.take(pa.array(named))).to_numpy()]
        order = np.append(order, [others, others + 1])
        until = np.cumsum(counts[order])
        first, last = np.searchsorted(until, offset, side="right"), np.searchsorted(until, offset + limit, side="left")
        chosen = order[first : last + 1]
        reached = np.zeros(others + 2, np.bool_)
        reached[chosen] = True
        at, group = at[reached[group]], group[reached[group]]
        offset -= int(until[first - 1]) if first else 0
        if len(at) <= _FEW or (chosen >= others).any():
            return at, offset
        parts = []
        for code in chosen:
            part = at[group == code]
            numbers, place = self._retained.natural(labels.names[int(code)].as_py())
            parts.append(part[np.argsort(place[np.searchsorted(numbers, self._rows.row[part])])])
        return np.concatenate(parts)[offset : offset + limit], 0

    def _listed(
        self,
        at: npt.NDArray[np.intp],
        limit: int | None,
        offset: int,
        more: Callable[[npt.NDArray[np.intp]], dict[str, pa.Array]],
    ) -> pd.DataFrame:
        check_page(limit, offset)
        at, offset = self._reached(at, limit, offset)
        if not len(at):  # as often as not: nothing is unsafe, and forward no policy differs
            return self._frame({name: pa.array([], _TYPES[name]) for name, _ in _IDENTITY}, more(at))
        numbers = self._rows.row[at]
        values = {
            "numbers": numbers.tolist(),
            "size": NO_LIMIT if limit is None else int(limit),
            "skip": int(offset),
        }
        page = self._engine.query("retained_rows", values)
        order = np.argsort(numbers, kind="stable")
        shown = page.column("row_number").to_numpy()
        found = at[order[np.searchsorted(numbers[order], shown)]] if len(shown) else at[:0]
        return self._frame({name: page.column(name).cast(_TYPES[name]) for name, _ in _IDENTITY}, more(found))

    def _frame(self, columns: dict[str, pa.Array], more: dict[str, pa.Array]) -> pd.DataFrame:
        fields = [pa.field(name, _TYPES[name], nullable=nullable) for name, nullable in _IDENTITY]
        for name, array in more.items():
            columns[name] = array
            fields.append(pa.field(name, array.type, nullable=name not in {"written", "certain", "reason"}))
        return answer_frame(pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields)))


def spelled(lived_us: int) -> str:
    """Return a retention in words, one that ends before the write too."""
    if lived_us < 0:
        return "expired before its write: clocks differ, or it was set so"
    return spell_duration(timedelta(microseconds=lived_us))


def _check_columns(columns: Sequence[str]) -> None:
    for name in columns:
        if name not in GROUPED_BY:
            raise QueryError(f"cannot group by {name!r}", hint=f"choose from {', '.join(GROUPED_BY)}")
    if len(set(columns)) < len(columns):
        raise QueryError(f"a column is named twice in {', '.join(columns)}", hint="name each column once")


def _texts(labels: Labels, at: npt.NDArray[np.intp]) -> pa.Array:
    codes = labels.codes[at]
    return labels.names.take(pa.array(codes, mask=codes < 0))


def _rules(run: PolicyRun, at: npt.NDArray[np.intp]) -> pa.Array:
    names = [each.name or f"rules[{number}]" for number, each in enumerate(run.policy.rules)]
    return pa.array([None if each < 0 else names[each] for each in run.rule(at)], pa.string())


def _expiries(expires: Int64s) -> pa.Array:
    # What a success cleared has no expiry to show either.
    return pa.array(expires, mask=(expires == NO_EXPIRY) | (expires == CLEARED)).cast(_INSTANT)
