"""A simulation and an advice as text, as HTML, and as what JSON holds. Every text from the store is untrusted."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from storekit.frames.chart import Line, as_image, line_chart
from storekit.frames.display import (
    escape,
    human_bytes,
    human_count,
    human_instant,
    plain,
    row_word,
    shorten,
)
from storekit.frames.report import framed, html_table
from storekit.retention.durations import spell_duration

if TYPE_CHECKING:
    from storekit.frames.advice import Advice
    from storekit.frames.simulation import Simulation
    from storekit.frames.snapshotinfo import SnapshotInfo
    from storekit.retention.forecast import Forecast

__all__ = [
    "advice_cells",
    "advice_heading",
    "advice_html",
    "advice_text",
    "cells_html",
    "heading",
    "json_instant",
    "json_records",
    "legend_html",
    "selection_text",
    "short_policy",
    "simulation_dict",
    "simulation_html",
    "simulation_text",
    "source",
    "span_text",
    "summary_cells",
    "summary_legend",
]

_NAME = 32
_CLEANUPS_DRAWN = 200
_TEETH = 30


def summary_cells(simulation: Simulation) -> tuple[list[str], list[list[str]]]:
    """Return the headings and cells of the summary as people read it: one line for each policy."""
    head = ["policy", "deleted now", "kept now", "at the end", "peak", "cleanups", "largest", "unsafe"]
    lines = simulation.summary.to_dict("records")
    if any(row["cleared"] for row in lines):
        head.insert(2, "cleared")
    body = []
    for row in lines:
        # What is not known to be deleted is not known to be kept.
        unsure = row["deleted_now_high"] - row["deleted_now"]
        unsure_bytes = row["deleted_now_bytes_high"] - row["deleted_now_bytes"]
        kept, kept_bytes = row["kept_now"], row["kept_now_bytes"]
        cells = [
            short_policy(row["policy"]),
            _both(row["deleted_now"], row["deleted_now_high"], row["deleted_now_bytes"], row["deleted_now_bytes_high"]),
            _both(kept - unsure, kept, kept_bytes - unsure_bytes, kept_bytes),
            _both(row["end_rows_low"], row["end_rows_high"], row["end_bytes_low"], row["end_bytes_high"]),
            _peak(row),
            human_count(row["cleanups"]),
            _rows(row["largest_cleanup_rows"], row["largest_cleanup_rows_high"]),
            f"{human_count(row['unsafe_rows'])} {row_word(row['unsafe_rows'])}",
        ]
        if "cleared" in head:
            cells.insert(2, _both(row["cleared"], row["cleared"], row["cleared_bytes"], row["cleared_bytes"]))
        body.append(cells)
    return head, body


def _peak(row: Mapping[Any, Any]) -> str:
    """Return the expected peak and its day; the high end may come on another day."""
    expected, high = (human_bytes(round(row[name])) for name in ("peak_bytes", "peak_bytes_high"))
    said = f"{expected} on {row['peak_at']:%Y-%m-%d}"
    return said if expected == high else f"{said}, at most {high}"


def summary_legend(simulation: Simulation) -> list[tuple[str, str]]:
    """Return what the headings of `summary_cells` mean: heading, sentence."""
    forecast = simulation.forecast
    to_come = (
        "future writes are left out"
        if forecast is None
        else f"rows to come are a forecast, and the two ends are of the band that should hold {forecast.level:.0%}"
    )
    wait = spell_duration(simulation.setting.retry_wait)
    unsafe = f"rows of unfinished tasks that may be gone before the next try, within {wait}"
    if not simulation.info.sees_task_instances:
        unsafe += "; not known here: the snapshot shows no task instances"
    now, end = human_instant(simulation.now), human_instant(simulation.now + simulation.horizon)
    return [
        ("deleted now", f"rows that exist, and a cleanup at {now} deletes; kept now: all others"),
        ("at the end", f"what is there at {end}; {to_come}"),
        ("peak", "the most bytes that are expected, from the first cleanup on, and when; at most: the high end"),
        ("largest", "the most rows that one cleanup deletes; a range is from what is expected to the high end"),
        ("unsafe", unsafe),
    ]


def legend_html(legend: Sequence[tuple[str, str]]) -> str:
    """Return the meaning of headings as HTML."""
    return "".join(f'<p class="sk-soft"><b>{escape(name)}</b>: {escape(said)}</p>' for name, said in legend)


def short_policy(name: str) -> str:
    """Return a policy's name as a table's cell shows it."""
    return shorten(plain(name), _NAME)


def _rows(rows: float, rows_high: float) -> str:
    word = row_word(round(rows) if round(rows) == round(rows_high) else 2)
    return f"{span_text(rows, rows_high, human_count)} {word}"


def _both(rows: float, rows_high: float, size: float, size_high: float) -> str:
    return f"{_rows(rows, rows_high)}, {span_text(size, size_high, human_bytes)}"


def span_text(low: float, high: float, said: Any) -> str:
    """Return two ends as ``said`` says each, or the one where they read alike."""
    ends = [said(round(low)), said(round(high))]
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} … {ends[1]}"


def _title(simulation: Simulation) -> str:
    count = len(simulation.policies)
    chosen = f", only {selection_text(simulation.selection)}" if simulation.selection else ""
    return (
        f"Simulation of {count} {'policy' if count == 1 else 'policies'}, {simulation.mode}, "
        f"{spell_duration(simulation.horizon)} from {human_instant(simulation.now)}{chosen}"
    )


def selection_text(selection: Mapping[str, str]) -> str:
    """Return which rows are simulated: ``dag_id = etl, key = cursor``."""
    return ", ".join(f"{name} = {plain(text)}" for name, text in selection.items())


def heading(simulation: Simulation) -> list[str]:
    """Return the lines that say what is simulated, and over what."""
    return [_title(simulation), f"  {source(simulation.info)}"]


def advice_heading(advice: Advice) -> list[str]:
    """Return the lines that say what is weighed, and over what."""
    return [
        f"Candidates at {human_instant(advice.simulation.now)}: bytes kept against rows at risk",
        f"  {source(advice.simulation.info)}",
    ]


def source(info: SnapshotInfo) -> str:
    """Return what a snapshot is of, in one line."""
    return f"{plain(info.database)} (layout {plain(info.layout)}, snapshot of {human_instant(info.taken_at)})"


def simulation_text(simulation: Simulation) -> str:
    """Return a simulation as text for a terminal."""
    head, body = summary_cells(simulation)
    return "\n".join(
        [
            *heading(simulation),
            "",
            *_columns(head, body),
            "",
            "  what this rests on:",
            *(f"  - {each}" for each in simulation.assumptions),
        ]
    )


def _columns(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[place]) for row in (head, *body)) for place in range(len(head))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *body)
    ]


def cells_html(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Return `summary_cells` or `advice_cells` as a table."""
    return html_table(
        head,
        [
            f'<th scope="row">{escape(first)}</th>' + "".join(f"<td>{_in_two(each)}</td>" for each in rest)
            for first, *rest in body
        ],
    )


def _in_two(cell: str) -> str:
    """Return a cell that says two things with a line for each: the table is wide enough."""
    said = escape(cell)
    for before, after in ((" rows", ""), (" row", ""), ("", "at most ")):
        said = said.replace(f"{before}, {after}", f"{before}<br>{after}")
    return said


def _rests_on(assumptions: Sequence[str], said: Collection[str]) -> str:
    new = [each for each in assumptions if each not in said]
    notes = "".join(f'<p class="sk-note">{escape(each)}</p>' for each in new)
    if len(new) < len(assumptions):
        notes += '<p class="sk-soft">And what is said above of the rows that exist.</p>'
    return f'<p class="sk-head">What this rests on</p>{notes}'


def simulation_html(simulation: Simulation, said: Collection[str] = ()) -> str:
    """Return a simulation as a piece of HTML; assumptions that the page has ``said`` already are left out."""
    head, body = summary_cells(simulation)
    return framed(
        f'<p class="sk-title">{escape(_title(simulation))}</p><p class="sk-soft">{escape(source(simulation.info))}</p>'
        + cells_html(head, body)
        + legend_html(summary_legend(simulation))
        + f'<p class="sk-head">{_picture_title(simulation)}</p>'
        + _picture(simulation)
        + _rests_on(simulation.assumptions, said)
    )


def _picture_title(simulation: Simulation) -> str:
    toothless = any(len(run.runs_us) > _TEETH for run in simulation._runs.values())
    band = "" if simulation.forecast is None else ", with the forecast band"
    return f"Bytes over time{', as each cleanup leaves them' if toothless else ''}{band}"


def _picture(simulation: Simulation) -> str:
    lines = []
    for run in simulation._runs.values():
        line = run.timeline(most=_CLEANUPS_DRAWN)
        # What the first cleanup takes is in the table; drawn, it would press all else flat. Many teeth are no picture.
        drawn = np.arange(len(line.at_us)) > 0 if 0 < len(run.runs_us) <= _TEETH else line.after
        drawn = (drawn | (np.arange(len(drawn)) == len(drawn) - 1)) if len(run.runs_us) else ~drawn
        days = (line.at_us[drawn] - line.at_us[0]) / 86_400_000_000
        ends = (each[drawn, 0] for each in (line.bytes.expected, line.bytes.low, line.bytes.high))
        lines.append(Line(run.policy.name, days, *ends))
    length = simulation.horizon.total_seconds() / 86_400
    svg = line_chart(
        lines,
        days=length,
        starts=f"{simulation.now:%Y-%m-%d}",
        ends=f"{simulation.now + simulation.horizon:%Y-%m-%d}",
    )
    names = ", ".join(each.name for each in simulation.policies)
    return as_image(svg, alt=f"bytes over time under {names}; over_time() has the numbers")


def simulation_dict(simulation: Simulation) -> dict[str, Any]:
    """Return a simulation as what JSON holds."""
    return {
        "mode": simulation.mode.value,
        "now": json_instant(simulation.now),
        "horizon_us": simulation.horizon // timedelta(microseconds=1),
        "retry_wait_us": simulation.setting.retry_wait // timedelta(microseconds=1),
        "selection": simulation.selection,
        "database": simulation.info.database,
        "layout": simulation.info.layout,
        "taken_at": json_instant(simulation.info.taken_at),
        "policies": [each.model_dump(mode="json") for each in simulation.policies],
        "summary": json_records(simulation.summary),
        "written": json_records(simulation.written),
        "over_time": json_records(simulation.over_time()),
        "cleanups": json_records(simulation.cleanups),
        "forecast": _forecast_dict(simulation.forecast),
        "assumptions": list(simulation.assumptions),
    }


def _forecast_dict(forecast: Forecast | None) -> dict[str, Any] | None:
    """Return how a forecast was made; what it says is in the numbers over time."""
    if forecast is None:
        return None
    return {
        "seed": forecast.seed,
        "level": forecast.level,
        "replicates": len(forecast.paths),
        "first_day": forecast.first_day.isoformat(),
        "days": forecast.days,
        "models": [
            {"column": name, "growth": model.growth.value, "weekly": model.weekly, "seen_days": model.seen_days}
            for name, model in zip(forecast.names, forecast.models, strict=True)
        ],
        "doubts": list(forecast.doubts),
    }


def json_records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a frame's rows as what JSON holds: instants are ISO texts in UTC, durations ``…_us``."""
    # By the column's type: a duration that is missing has the name of one as well.
    spans = set(frame.select_dtypes("timedelta").columns)
    names: dict[Any, str] = {name: f"{name}_us" if name in spans else str(name) for name in frame.columns}
    return [{names[name]: _json(cell) for name, cell in row.items()} for row in frame.to_dict("records")]


def json_instant(instant: datetime) -> str:
    """Return an aware UTC instant as `json_records` writes it."""
    text: str = _json(pd.Timestamp(instant))
    return text


def _json(cell: Any) -> Any:
    if cell is None or pd.isna(cell):
        return None
    if isinstance(cell, pd.Timestamp):
        return cell.isoformat(timespec="microseconds").replace("+00:00", "Z")
    if isinstance(cell, pd.Timedelta):
        return cell // pd.Timedelta(microseconds=1)
    return cell


def advice_cells(advice: Advice) -> tuple[list[str], list[list[str]]]:
    """Return the headings and cells of the candidates as people read them, fewest bytes first."""
    head = ["policy", "standing", "kept", "freed", "at risk", "unfinished", "orphaning", "recent", "youngest lost"]
    body = []
    for row in advice.candidates.to_dict("records"):
        lost = row["newest_lost"]
        body.append(
            [
                short_policy(row["policy"]),
                _standing(row),
                _both(row["kept_rows_low"], row["kept_rows"], row["kept_bytes_low"], row["kept_bytes"]),
                _both(row["freed_rows"], row["freed_rows_high"], row["freed_bytes"], row["freed_bytes_high"]),
                *(human_count(row[f"{name}_rows"]) for name in ("risk", "unfinished", "orphaning", "recent")),
                "-" if pd.isna(lost) else f"{lost / pd.Timedelta(days=1):.1f} days old",
            ]
        )
    return head, body


def _standing(row: Any) -> str:
    if row["on_front"]:
        return "on the front"
    same = not pd.isna(row["same_as"])
    other = short_policy(row["same_as"] if same else row["beaten_by"])
    return f"same as {other!r}" if same else f"beaten by {other!r}"


def advice_text(advice: Advice) -> str:
    """Return an advice as text for a terminal."""
    head, body = advice_cells(advice)
    return "\n".join(
        [
            *advice_heading(advice),
            "",
            *_columns(head, body),
            "",
            f"  recent: written within {spell_duration(advice.look_back)}; risks(policy) lists the rows",
            *(f"  - {each}" for each in advice.assumptions),
        ]
    )


def advice_html(advice: Advice, said: Collection[str] = ()) -> str:
    """Return an advice as a piece of HTML; assumptions that the page has ``said`` already are left out."""
    head, body = advice_cells(advice)
    return framed(
        f'<p class="sk-title">Candidates at {escape(human_instant(advice.simulation.now))}: bytes kept against rows at '
        f'risk</p><p class="sk-soft">{escape(source(advice.simulation.info))}; recent: written within '
        f"{escape(spell_duration(advice.look_back))}</p>" + cells_html(head, body) + _rests_on(advice.assumptions, said)
    )
