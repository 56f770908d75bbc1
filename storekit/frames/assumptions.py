"""What a simulation rests on, in words: every number that it gives comes with these."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from storekit.frames.display import human_bytes, human_count, human_rows, plain
from storekit.frames.simview import selection_text
from storekit.retention.durations import spell_duration
from storekit.retention.lives import Mode
from storekit.retention.policy import AS_WRITTEN, Policy
from storekit.retention.written import How

if TYPE_CHECKING:
    from storekit.frames.retained import Understood
    from storekit.frames.simulation import Simulation

__all__ = ["of_curve", "of_selection", "of_simulation", "of_writing"]

_SHORT = timedelta(seconds=1)


def of_curve(known: Understood) -> tuple[str, ...]:
    """Return what a retention curve rests on."""
    return (
        "As if each candidate had been default_retention_days at every write. No change of configuration brings this "
        "about: rows that exist keep the expiry they were written with.",
        *known.assumptions,
    )


def of_selection(simulation: Simulation, total: int) -> tuple[str, ...]:
    """Return what it means that not all rows are simulated."""
    if not simulation.selection:
        return ()
    chosen = len(simulation.setting.rows)
    return (
        f"Only rows of {selection_text(simulation.selection)} are simulated, {human_count(chosen)} of "
        f"{human_rows(total)}"
        + ("" if simulation.forecast is None else ", and only their future writes")
        + ". How rows were written is told from the whole snapshot, and what is said of that here is of the whole.",
    )


def of_simulation(simulation: Simulation, known: Understood) -> tuple[str, ...]:
    """Return what a simulation rests on."""
    info = simulation.info
    said: list[str] = []
    if info.custom_backend is not None:
        said.append(
            f"[state_store] backend is {plain(info.custom_backend)}: Airflow's cleanup skips it, and so deletes "
            "nothing. The numbers are what it would delete if it did not."
        )
    said += _forward(simulation) if simulation.mode is Mode.FORWARD else _as_if(simulation.policies)
    said += known.assumptions if simulation.mode is Mode.AS_IF or simulation.forecast is not None else []
    said += _of_policies(simulation)
    if not info.sees_task_instances:
        said.append(
            "The snapshot could not see task instances, so no row is known to be of an unfinished task, and none "
            "counts as unsafe."
        )
    said += _of_forecast(simulation)
    said.append(
        "Not simulated: rows that go with a deleted DagRun (airflow db clean), with a task instance that is cleared, "
        "or by hand. Asset rows are counted and never deleted."
    )
    return tuple(said)


def _forward(simulation: Simulation) -> list[str]:
    first = next((each for each in simulation.policies if each.cleanup_every is not None), None)
    said = (
        "Forward, as Airflow works: rows that exist keep the expiry they were written with; a policy meets future "
        "writes."
    )
    if first is None:
        return [said]
    at_once = simulation.now == simulation.info.taken_at
    rows, sizes = simulation._run(first).deleted()
    today = "nothing" if not rows[0] else f"{human_rows(int(rows[0]))} ({human_bytes(int(sizes[0]))})"
    when = "today's cleanup" if at_once else f"the cleanup of {_at(simulation.now)}"
    if any(each.cleanup_every is None for each in simulation.policies):
        when += ", where it runs,"
    said += (
        f" So {when} deletes {today} whichever policy is in force, the present configuration included: "
        f"a shorter retention deletes nothing more {'today' if at_once else 'then'}."
    )
    lines = [said]
    for each in simulation.policies:
        days = each.default_retention_days
        if days:
            begins = _after(simulation.info.taken_at, timedelta(days=days))
            lines.append(
                f"{plain(each.name)}: the first rows written under default_retention_days = {days} expire "
                f"{_days(days)} {'from now' if at_once else 'after the snapshot'}, {begins}."
            )
        elif days == 0:
            lines.append(f"{plain(each.name)}: with default_retention_days = 0, new rows never expire.")
    return lines


def _days(days: int) -> str:
    return f"{human_count(days)} {'day' if days == 1 else 'days'}"


def _have(count: int) -> str:
    return "has" if count == 1 else "have"


def _after(now: datetime, by: timedelta) -> str:
    try:
        return f"on {_at(now + by)}"
    except OverflowError:
        return "after the year 9999"


def _at(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"


def _as_if(policies: Sequence[Policy]) -> list[str]:
    said = [
        "As if each policy had been in force at every write: a row expires at updated_at plus what the policy gives "
        "it. No change of configuration brings this about: rows that exist keep the expiry they were written with."
    ]
    if any(each.clear_on_success for each in policies):
        said.append(
            "clear_on_success: all rows of a task instance that the snapshot shows as success are taken to be cleared, "
            "also those written after it succeeded."
        )
    return said


def of_writing(known: Understood) -> tuple[str, ...]:
    """Return what the reading of how rows were written rests on."""
    written, rows = known.written, known.rows
    said: list[str] = []
    by_default = int((written.is_(How.DEFAULT)).sum())
    if written.told:
        said.append(
            f"Defaults as given: {', '.join(map(str, written.defaults)) or 'none'}. They wrote "
            f"{human_rows(by_default)}; all others have a retention of their program's own, or none."
        )
    elif by_default:
        days = ", before that ".join(_days(each) for each in written.defaults) or "0: no expiry"
        said.append(
            f"How rows were written is inferred from expires_at less updated_at: default_retention_days was {days}; "
            f"it wrote {human_rows(by_default)}. Snapshot.written() shows the evidence, and defaults= settles it."
        )
    else:
        said.append("No row with an expiry looks as if the default wrote it. Give defaults= if you know better.")
    said += [f"Doubt: {each}." for each in written.doubts]
    explicit = int(written.is_(How.EXPLICIT).sum())
    if explicit:
        said.append(
            f"{human_rows(explicit)} with a retention of the program's own go by their own expiry, unless a rule "
            "takes them."
        )
    untold = written.is_(How.UNTOLD)
    if untold.any():
        size, count = human_bytes(int(rows.value_bytes[untold].sum())), int(untold.sum())
        said.append(
            f"{human_rows(count)} ({size}) {_have(count)} no expiry, and this layout has no flag: NEVER_EXPIRE, or a "
            "default of 0. Numbers have a low and a high end for them. If the default was never 0, say so with "
            "defaults=."
        )
    skews = [each.skew for each in known.evidence if each.how is How.DEFAULT and each.skew is not None]
    if skews and not any("skew=" in each for each in written.doubts):
        largest = max(skews)
        seen = "under a second" if largest < _SHORT else f"up to {largest.total_seconds():.0f} s"
        said.append(
            f"Workers' clocks and the server's differ by {seen} here, the way between included: a row that close to an "
            "edge may fall on its other side."
        )
    return tuple(said)


def _of_policies(simulation: Simulation) -> list[str]:
    said = []
    for each in simulation.policies:
        name = plain(each.name)
        if each.cleanup_every is None:
            said.append(f"{name}: cleanup never runs, so nothing is deleted.")
        if each.clear_on_success and simulation.mode is Mode.FORWARD:
            said.append(
                f"{name}: clear_on_success clears nothing that succeeded before; existing rows of tasks that succeed "
                "later are kept here until they expire, so the real store may be smaller."
            )
        if each.clear_on_success and simulation.forecast is not None:
            said.append(f"{name}: future rows of tasks that end in success, as many as now, count as cleared at once.")
        if any(rule.task_state is not None and rule.retention is not AS_WRITTEN for rule in each.rules):
            said.append(
                f"{name}: a rule by task state goes by the state that the snapshot shows; a program cannot know it "
                "at the write."
            )
    return said


def _of_forecast(simulation: Simulation) -> list[str]:
    forecast, flow = simulation.forecast, simulation.setting.flow
    if forecast is None or flow is None:
        return ["Future writes are left out: after now the store only shrinks."]
    if not flow.kinds:
        return ["There is no task row to see writes by, so no future write is forecast."]
    days = int(flow.history.seen[:, : flow.kinds].sum(axis=0).max())
    said = [
        f"Future writes are a forecast from what was written in the {'day' if days == 1 else _days(days)} before the "
        "snapshot and can still be seen: level, growth and weekly shape as far as they show, bands that hold "
        f"{forecast.level:.0%} of what a bootstrap draws (seed {forecast.seed}).",
        "The forecast sees survivors only: a key that was written again shows its last write, rows that were cleared "
        "or deleted with their DagRun show none, and rows with a short retention show a short time. The mix of Dags, "
        "keys, sizes and retentions is taken to stay as it is.",
    ]
    uncleaned = timedelta(microseconds=flow.uncleaned_us)
    if uncleaned >= timedelta(days=1):
        said.append(
            f"A row that expired {spell_duration(timedelta(days=uncleaned.days))} before the snapshot is still there, "
            "so no cleanup is taken to have run since: short retentions are seen that much further back."
        )
    if simulation.now > simulation.info.taken_at:
        said.append(
            f"From the snapshot to {_at(simulation.now)} rows are written under each policy, and no cleanup runs: the "
            "first one finds what expired in all that time."
        )
    said += [f"Doubt: {each}" for each in forecast.doubts]
    return said
