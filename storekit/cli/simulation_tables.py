"""Simulations, curves and advice for a terminal: what a stranger has to be told stands beside the numbers."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import pandas as pd
from rich.cells import cell_len
from rich.text import Text

from storekit.cli.layout import wrapped
from storekit.cli.render import console, print_cells, print_frame, print_lines
from storekit.cli.wording import note_as_typed
from storekit.config import StateStoreConfig
from storekit.frames.advice import Advice
from storekit.frames.display import human_bytes, human_count, human_instant, human_rows, plain, shorten
from storekit.frames.simulation import Simulation
from storekit.frames.simview import (
    advice_cells,
    advice_heading,
    heading,
    short_policy,
    source,
    span_text,
    summary_cells,
    summary_legend,
)
from storekit.frames.snapshot import SnapshotInfo
from storekit.retention.durations import spell_duration
from storekit.retention.lives import Mode
from storekit.retention.policy import Policy

__all__ = ["TABLE_ROWS", "print_advice", "print_curve", "print_simulation"]

TABLE_ROWS = 20
"""Rows that a table lists unless it is told otherwise."""

_NARROWEST = 20
_LONGEST_NAME = 60  # of a Dag, a task or a key in a table; json and csv hold it whole
_AMBIGUOUS = "never-expire-or-default-0"


def print_simulation(played: Simulation, options: argparse.Namespace, config: StateStoreConfig) -> None:
    """Print what policies would do over time, and who would live or die."""
    forward = played.mode is Mode.FORWARD
    print_lines([*heading(played), ""])
    print_cells(*summary_cells(played))
    print_lines([""])
    _print_notes(summary_legend(played))
    if forward:
        print_lines([""])
        _print_notes(
            [
                (
                    "note",
                    "A shorter retention deletes nothing more today: rows that exist keep the expiry they were written "
                    "with. --mode as-if asks what would be if a policy had been in force at every write.",
                )
            ]
        )
    _print_difference(played, options.top, forward=forward)
    _print_unsafe(played, listed=options.unsafe)
    if options.by is not None:
        _print_groups(played, options.by, options.top)
    current = [_of_current(config, options)] if options.current else []
    _print_assumptions([*current, *played.assumptions])


def _of_current(config: StateStoreConfig, options: argparse.Namespace) -> str:
    if options.config is not None:
        where = f"of {options.config} and AIRFLOW__STATE_STORE__… variables"
    elif options.url is None:
        where = "of this machine's Airflow"
    else:
        where = (
            "Airflow's defaults and AIRFLOW__STATE_STORE__… variables; with a URL no airflow.cfg is read unless "
            "--config names one"
        )
    return (
        f"current: default_retention_days = {config.default_retention_days}, clear_on_success = "
        f"{config.clear_on_success}, state_cleanup_batch_size = {config.state_cleanup_batch_size} ({where})."
    )


def _print_difference(played: Simulation, top: int, *, forward: bool) -> None:
    """Print who lives under the first policy and is gone under another."""
    first, *others = played.policies
    if not others:
        return
    body = [line for other in others for line in _difference_lines(played, first, other, top)]
    when = human_instant(played.compared_at)
    when = f"at {when}" if forward else f"after the cleanup at {when}"
    print_lines(["", f"rows that exist, live under {first.name!r} {when}, and are gone under another policy:"])
    if not body:
        why = ": in forward mode a policy does not touch rows that exist" if forward else ""
        print_lines([f"  none{why}"])
        return
    print_cells(["policy", "dag id", "rows", "bytes"], body, right=(2, 3))
    if not forward and (played.written["written"] == _AMBIGUOUS).any():
        print_lines(["  Rows of which is not known whether they ever expire are among them: see what this rests on."])


def _difference_lines(played: Simulation, first: Policy, other: Policy, top: int) -> list[list[str]]:
    found = played.difference_by(first, other, "dag_id")
    lines: list[tuple[str, int, int]] = list(found.head(top).itertuples(index=False, name=None))
    rest = found.iloc[top:]
    if len(rest):
        lines.append((f"(others: {human_count(len(rest))})", int(rest["rows"].sum()), int(rest["value_bytes"].sum())))
    name = short_policy(other.name)
    return [[name, _short(dag_id), human_count(rows), human_bytes(size)] for dag_id, rows, size in lines]


def _print_unsafe(played: Simulation, *, listed: bool) -> None:
    counts = dict(zip(played.summary["policy"], played.summary["unsafe_rows"], strict=True))
    if not any(counts.values()):
        if listed:
            print_lines(["", "unsafe: no row under any policy"])
        return
    print_lines([""])
    for name, count in counts.items():
        if not count:
            continue
        how = ":" if listed else " of unfinished tasks (--unsafe lists them)"
        print_lines([f"unsafe under {name!r}: {human_rows(count)}{how}"])
        if listed:
            _print_rows(played.unsafe(name, limit=TABLE_ROWS))
            _print_left_out(count, TABLE_ROWS, "--format json lists all")


def _short(name: str) -> str:
    return shorten(plain(name), _LONGEST_NAME)


def _print_rows(rows: pd.DataFrame) -> None:
    """Print endangered rows: all are tasks' rows, for asset rows never expire."""
    # 3.4: an expansion's rows differ by nothing else.
    region = ["region_id"] if rows["region_id"].notna().any() else []
    identity = ["dag_id", "run_id", "task_id", "map_index", *region, "key"]
    rows = rows.assign(**{name: rows[name].map(_short) for name in ("dag_id", "task_id", "key")})
    print_frame(rows, [*identity, "value_bytes", "task_state", "updated_at", "expires_under", "reason"])


def _print_left_out(total: int, shown: int, how: str) -> None:
    if total > shown:
        print_lines([f"… and {total - shown:,} more ({how})"])


def _print_groups(played: Simulation, by: str, top: int) -> None:
    """Print what each group holds under each policy: at the end, and as-if just after the first cleanup too."""
    as_if = played.mode is Mode.AS_IF
    grouped = played.over_time(by, top=top)
    grouped = grouped[grouped["moment"] != "before cleanup"]
    moments = [_lines_at(grouped, by, which) for which in ((0, -1) if as_if else (-1,))]
    body = [[*lines[0], *(cell for line in lines[1:] for cell in line[2:])] for lines in zip(*moments, strict=True)]
    end = human_instant(played.now + played.horizon)
    when = f"after the cleanup at {human_instant(played.now)} (now) and at {end} (end)" if as_if else f"at {end}"
    print_lines(["", f"by {by}, {when}:{'' if body else ' no rows'}"])
    if body:
        heads = ["rows now", "bytes now", "rows at the end", "bytes at the end"] if as_if else ["rows", "bytes"]
        print_cells([by.replace("_", " "), "policy", *heads], body, right=range(2, 2 + len(heads)))


def _lines_at(grouped: pd.DataFrame, by: str, which: int) -> list[list[str]]:
    """Return group, policy, rows and bytes at each policy's first (0) or last (-1) instant."""
    parts = [part for _, part in grouped.groupby("policy", sort=False)]
    of_policies = [part[part["at"] == part["at"].iloc[which]].to_dict("records") for part in parts]
    return [
        [
            _short(row[by]) if row["group"] == by else f"({row['group']})",
            short_policy(row["policy"]),
            span_text(row["rows_low"], row["rows_high"], human_count),
            span_text(row["bytes_low"], row["bytes_high"], human_bytes),
        ]
        for lines in zip(*of_policies, strict=True)
        for row in lines
    ]


def _print_assumptions(assumptions: Sequence[str]) -> None:
    print_lines(["", "what this rests on:"])
    _print_notes(("-", note_as_typed(each)) for each in assumptions)


def print_curve(found: pd.DataFrame, info: SnapshotInfo, now: datetime, chosen: Mapping[str, str | None]) -> None:
    """Print what each default would delete."""
    filters = [f"{name} {text!r}" for name, text in chosen.items() if text is not None]
    print_lines(
        [
            f"What a cleanup at {human_instant(now)} would delete, had default_retention_days been so at every write",
            f"  {source(info)}",
            *([f"  only rows of {', '.join(filters)}"] if filters else []),
            "",
        ]
    )
    first = found.iloc[0]
    if filters and not first["deleted"] + first["kept"]:
        print_lines(["There is no such row: names are compared exactly."])
        return
    body = [
        [
            human_count(row["days"]) if row["days"] else "0 (no expiry)",
            span_text(row["deleted"], row["deleted_high"], human_count),
            span_text(row["deleted_bytes"], row["deleted_bytes_high"], human_bytes),
            span_text(row["kept_low"], row["kept"], human_count),
            span_text(row["kept_bytes_low"], row["kept_bytes"], human_bytes),
        ]
        for row in found.to_dict("records")
    ]
    print_cells(["days", "deleted", "bytes deleted", "kept", "bytes kept"], body, right=range(5))
    _print_assumptions(found.attrs["assumptions"])


def print_advice(advice: Advice, name: str | None, risks: pd.DataFrame | None) -> None:
    """Print the candidates, and the rows that the named one puts at risk."""
    print_lines([*advice_heading(advice), ""])
    print_cells(*advice_cells(advice))
    wait = spell_duration(advice.simulation.setting.retry_wait)
    unfinished = f"their task is not finished, and its next try, within {wait}, may need them"
    if not advice.simulation.info.sees_task_instances:
        unfinished += "; not known here: the snapshot shows no task instances"
    print_lines([""])
    _print_notes(
        [
            (
                "on the front",
                "no other candidate keeps as few bytes, at both ends where there is a range, at as little risk, and "
                "does better in one of these",
            ),
            (
                "at risk",
                "rows that would be gone, surely or perhaps, although one of the next three holds; --risks POLICY "
                "lists them",
            ),
            ("unfinished", unfinished),
            ("orphaning", "their value refers to an object, which would be left in storage"),
            ("recent", f"written within {spell_duration(advice.look_back)}, so that someone may want to see them"),
        ]
    )
    if name is not None and risks is not None:
        found = advice.candidates
        count = int(found.loc[found["policy"] == name, "risk_rows"].iloc[0])
        print_lines(["", f"at risk under {name!r}:" if count else f"at risk under {name!r}: no row"])
        if count:
            _print_rows(risks)
            _print_left_out(count, len(risks), "--limit 0 lists all, --format csv exports them")
    _print_assumptions(advice.assumptions)


# --- how it is printed -----------------------------------------------------------------------------------------


def _print_notes(notes: Iterable[tuple[str, str]]) -> None:
    """Print texts, each after its lead; in a terminal wrapped between words, with the lead standing out."""
    said = [(plain(lead), plain(text)) for lead, text in notes]
    widest = max((cell_len(lead) for lead, _ in said), default=0)
    indent = 2 + widest + (1 if widest == 1 else 2)
    out = console()
    for lead, text in said:
        margin = "  " + lead + " " * (indent - 2 - cell_len(lead))
        for line in wrapped(text, max(out.width - indent, _NARROWEST)):
            out.print(Text(margin + line), soft_wrap=True)
            margin = " " * indent
