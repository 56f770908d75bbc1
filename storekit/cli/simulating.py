"""What if: policies played over time, every default at once, and which policies are worth choosing."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from storekit.cli.reading import options_in_force, snapshot_of
from storekit.cli.writing import check_file, check_name
from storekit.errors import QueryError

if TYPE_CHECKING:
    import pandas as pd

    from storekit.config import StateStoreConfig
    from storekit.frames.simulation import Simulation
    from storekit.frames.snapshot import Snapshot, SnapshotInfo
    from storekit.retention.policy import Policy

__all__ = ["curve", "recommend", "report", "simulate"]

_MOST = {"simulate": 50, "report": 20, "recommend": 1_000}
"""Policies of --days that a command plays: of more, nobody would read the lines, or wait for them."""
_CURVE_DAYS = (0, 1, 2, 3, 5, 7, 10, 14, 21, 30, 45, 60, 90, 180, 365)


def simulate(options: argparse.Namespace) -> int:
    """Play retention policies over what is in the store, and over what may be written later. Nothing is changed.

    Rows that exist are played exactly, to the microsecond; rows to come are a forecast, with a band. A policy named
    "as written", which changes nothing, comes first, so that there is something to compare with. CSV holds rows and
    bytes over time, JSON everything.
    """
    from storekit.frames.snapshot import open_snapshot

    config = options_in_force(options)
    policies = _policies(options, config)
    _check_simulate(options)
    with ExitStack() as stack:
        history = [stack.enter_context(closing(open_snapshot(each))) for each in options.history]
        taken = stack.enter_context(snapshot_of(options, config))
        played = taken.simulate(
            policies,
            options.horizon,
            options.mode,
            now=options.now,
            future=not options.no_forecast,
            history=history,
            retry_wait=options.retry_wait,
            defaults=_defaults(options),
            skew=options.skew,
            seed=options.seed,
        )
        if options.format == "csv":
            _write_csv(played.over_time(options.by, top=options.top))
        elif options.format == "json":
            _write_json(_simulation_document(played, options))
        else:
            from storekit.cli.simulation_tables import print_simulation

            print_simulation(played, options, config)
    return 0


def curve(options: argparse.Namespace) -> int:
    """Show what each default_retention_days would delete, had it been in force at every write. Nothing is changed.

    Rows that were written with a retention of their own go by it, whatever the default.
    """
    table = options.format == "table"
    options.skew = _skew(options)
    days = options.days or (_CURVE_DAYS if table else range(366))
    chosen = {name: getattr(options, name) for name in ("dag_id", "task_id", "key")}
    with snapshot_of(options) as taken:
        now = options.now or taken.info.taken_at
        found = taken.retention_curve(days, now=now, defaults=_defaults(options), skew=options.skew, **chosen)
        if options.format == "csv":
            _write_csv(found)
        elif options.format == "json":
            document = _head(taken.info, now) | chosen | {"curve": _records(found)}
            _write_json(document | _rests_on(taken, options, found.attrs["assumptions"]))
        else:
            from storekit.cli.simulation_tables import print_curve

            print_curve(found, taken.info, now, chosen)
    return 0


def recommend(options: argparse.Namespace) -> int:
    """Weigh retention policies: bytes that each would leave against rows that it would put at risk. Nothing is changed.

    Each candidate is played as if it had been in force at every write, with one cleanup. CSV holds the candidates, or
    with --risks the rows.
    """
    if options.limit is not None and options.risks is None:
        raise QueryError("--limit is of the rows of --risks", hint="add --risks POLICY, or leave --limit out")
    options.skew = _skew(options)
    policies = _policies(options) if options.policy or options.days else None
    look_back, wait = _span(options.look_back, "--look-back"), _span(options.retry_wait, "--retry-wait")
    with snapshot_of(options) as taken:
        advice = taken.recommend(
            policies,
            now=options.now,
            look_back=look_back,
            retry_wait=wait,
            defaults=_defaults(options),
            skew=options.skew,
        )
        risks = None
        if options.risks is not None:
            risks = advice.risks(options.risks, limit=_risks_limit(options))
        if options.format == "csv":
            _write_csv(advice.candidates if risks is None else risks)
        elif options.format == "json":
            document = _head(taken.info, advice.simulation.now) | {"candidates": _records(advice.candidates)}
            if risks is not None:
                document |= {"risks_of": options.risks, "risks": _records(risks)}
            _write_json(document | _rests_on(taken, options, advice.assumptions))
        else:
            from storekit.cli.simulation_tables import print_advice

            print_advice(advice, options.risks, risks)
    return 0


def report(options: argparse.Namespace) -> int:
    """Write what is in the store, what cleanup would delete and what policies would do, as one HTML file.

    It holds names and sizes, no values, and is opened offline in any browser.
    """
    from storekit.cli.render import print_lines
    from storekit.frames.document import POLICIES
    from storekit.frames.document import report as write_report

    check_name(options.file, "storekit report URL store.html")
    check_file(options.file, overwrite=options.overwrite)
    policies = _policies(options) if options.policy or options.days else POLICIES
    with snapshot_of(options) as taken:
        where = write_report(taken, options.file, policies=policies, now=options.now, overwrite=options.overwrite)
    print_lines([f"report written to {where}"])
    return 0


def _risks_limit(options: argparse.Namespace) -> int | None:
    from storekit.cli.simulation_tables import TABLE_ROWS

    if options.limit is None:
        return TABLE_ROWS if options.format == "table" else None
    return options.limit or None


# --- what is asked for -----------------------------------------------------------------------------------------


def _policies(options: argparse.Namespace, config: StateStoreConfig | None = None) -> list[Policy]:
    """Return the policies that were named, "as written" first; where they come from is said if their names clash."""
    from storekit.retention.policy import Policy
    from storekit.retention.policyfile import load_policies

    given = [(f"--policy {file}", each) for file in options.policy for each in load_policies(file)]
    numbers = [each for several in options.days for each in several]
    if len(numbers) > (most := _MOST[options.command]):
        raise QueryError(
            f"--days: {len(numbers):,} policies are too many for storekit {options.command}",
            hint=f"{most:,} at most; storekit curve takes a range of years",
        )
    given += [(f"--days {each}", Policy(default_retention_days=each)) for each in numbers]
    if getattr(options, "current", False):
        given.append(("--current", Policy.current(config)))
    if not given:
        raise QueryError(
            "no policy to play", hint="add --days 14, --current, or --policy FILE; each may stand beside the others"
        )
    places: dict[str, str] = {}
    for place, each in given:
        if (other := places.get(each.name)) is not None:
            said = f"{place} is there twice" if place == other else f"{other} and {place} both name {each.name!r}"
            raise QueryError(said, hint="leave one out, or give it another name in its file: names tell results apart")
        places[each.name] = place
    as_written = Policy()
    taken = places.get(as_written.name)
    if taken is None:
        return [as_written, *(each for _, each in given)]
    if as_written not in (each for _, each in given):
        raise QueryError(
            f"{taken} names a policy {as_written.name!r} that is not: it would stand for the store as it is",
            hint="give it another name in its file",
        )
    return [each for _, each in given]


def _check_simulate(options: argparse.Namespace) -> None:
    """Refuse what cannot be, in the words that were typed, before anything is read."""
    from storekit.frames.series import MOST_GROUPS

    options.horizon, options.retry_wait = (
        _span(options.horizon, "--horizon"),
        _span(options.retry_wait, "--retry-wait"),
    )
    if options.now is not None:
        try:
            options.now + options.horizon
        except OverflowError:
            raise QueryError(
                f"--horizon: it ends after the year 9999, from {options.now.isoformat()} on",
                hint="a shorter --horizon, or an earlier --now",
            ) from None
    options.skew = _skew(options)
    if options.top < 1:
        raise QueryError("--top 0 is no number of groups", hint="1 or more")
    if options.by is not None and options.top > MOST_GROUPS:
        raise QueryError(
            f"--top {options.top:,} is too many groups for --by", hint=f"{MOST_GROUPS} at most: all others are one"
        )
    if options.history and options.no_forecast:
        raise QueryError("--history is for the forecast", hint="leave --history or --no-forecast out")
    if options.unsafe and options.format == "csv":
        raise QueryError("CSV holds one table, rows and bytes over time", hint="--format json holds unsafe rows too")


def _span(text: str, option: str) -> timedelta:
    from storekit.frames.instants import as_span

    return as_span(text, option)


def _skew(options: argparse.Namespace) -> timedelta:
    from storekit.frames.instants import as_skew

    return as_skew(options.skew, "--skew")


def _defaults(options: argparse.Namespace) -> list[int] | None:
    return None if options.default is None else [each for several in options.default for each in several]


# --- for programs ----------------------------------------------------------------------------------------------


def _head(info: SnapshotInfo, now: Any) -> dict[str, Any]:
    from storekit.frames.simview import json_instant

    return {
        "now": json_instant(now),
        "taken_at": json_instant(info.taken_at),
        "database": info.database,
        "layout": info.layout,
    }


def _rests_on(taken: Snapshot, options: argparse.Namespace, assumptions: Sequence[str]) -> dict[str, Any]:
    written = taken.written(defaults=_defaults(options), skew=options.skew)
    return {"written": _records(written), "assumptions": list(assumptions)}


def _simulation_document(played: Simulation, options: argparse.Namespace) -> dict[str, Any]:
    document = played.to_dict()
    if options.by is not None:
        document["by"] = _records(played.over_time(options.by, top=options.top))
    if options.unsafe:
        document["unsafe"] = {each.name: _records(played.unsafe(each)) for each in played.policies}
    return document


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    from storekit.frames.simview import json_records

    return json_records(frame)


def _write_json(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document, allow_nan=False) + "\n")


def _write_csv(frame: pd.DataFrame) -> None:
    """Write a frame as the other commands write Arrow: UTC instants end in Z, durations are ``…_us``."""
    import pyarrow as pa
    from pyarrow import csv

    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    for place, field in enumerate(table.schema):
        if pa.types.is_duration(field.type):
            numbers = table.column(place).cast(pa.duration("us")).cast(pa.int64())
            table = table.set_column(place, f"{field.name}_us", numbers)
    sys.stdout.flush()
    csv.write_csv(table, sys.stdout.buffer)
