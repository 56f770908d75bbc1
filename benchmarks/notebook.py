"""What the notebook app costs: kernel time per slider move and per page, and bytes that go to the browser.

    python benchmarks/notebook.py                      # 1,000,000 synthetic rows
    python benchmarks/notebook.py --rows 10000000      # some 5 GB of memory

The whole app is made, widgets and picture included, with comms that count what a browser would be sent and answer
nothing. A move is what a browser sends when a slider is dragged, one trait, until the kernel has sent all that
follows from it. CPU seconds of all threads are told beside the wall time: the former does not depend on what else runs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from itertools import cycle, islice
from typing import Any

from snapshot import TAKEN_AT, peak_mb, synthetic

MOVES = 15


class Meter:
    """Counts the bytes of the messages that go to the browser."""

    def __init__(self) -> None:
        self.bytes = self.messages = 0

    def install(self) -> None:
        """Have every widget from here on speak to this meter."""
        import comm
        from comm.base_comm import BaseComm

        meter = self

        class Counted(BaseComm):
            def publish_msg(
                self, msg_type: str, data: Any = None, metadata: Any = None, buffers: Any = None, **_: Any
            ) -> None:
                meter.messages += 1
                meter.bytes += len(json.dumps(data, default=str).encode())
                meter.bytes += sum(memoryview(each).nbytes for each in buffers or ())

        comm.create_comm = Counted

    def during(self, call: Callable[[], Any]) -> dict[str, float]:
        """Return what a call cost and sent."""
        before, messages = self.bytes, self.messages
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        return {
            "ms": round((time.perf_counter() - wall) * 1000, 1),
            "CPU ms": round((time.process_time() - cpu) * 1000, 1),
            "kB": round((self.bytes - before) / 1000, 1),
            "messages": self.messages - messages,
        }

    def median(self, calls: list[Callable[[], Any]]) -> dict[str, float]:
        """Return the medians over several calls, and the longest."""
        found = [self.during(each) for each in calls]
        middle = {name: statistics.median(each[name] for each in found) for name in found[0]}
        return {**middle, "longest ms": max(each["ms"] for each in found)}


def measured(rows: int) -> dict[str, Any]:
    """Open the app and use it, in this process."""
    from storekit.frames.snapshot import Snapshot, SnapshotInfo

    meter = Meter()
    meter.install()
    import storekit as sk
    from storekit.notebook.state import Explorer

    info = SnapshotInfo(
        taken_at=TAKEN_AT, layout="airflow-3.3", database="synthetic", dialect="none", has_never_expire=False
    )
    snapshot = Snapshot.from_reader(synthetic(rows), info, memory_limit="1GB" if rows <= 1_000_000 else "4GB")
    report: dict[str, Any] = {"rows": rows}
    opened: list[Any] = []
    report["first show, contents"] = meter.during(lambda: opened.append(sk.notebook.App(Explorer(snapshot))))
    (app,) = opened
    for section in ("lab", "preview", "plan"):
        report[f"first show, {section}"] = meter.during(lambda section=section: setattr(app.state, "section", section))

    app.state.section = "contents"
    table = app.view("contents")._table
    last = table.pages - 1
    report["contents, next page"] = meter.median([lambda at=at: setattr(table, "page", at) for at in range(1, MOVES)])
    report["contents, last page"] = meter.during(lambda: setattr(table, "page", last))
    report["contents, a page in the middle, once"] = meter.during(lambda: setattr(table, "page", last // 2))
    report["contents, the page after it"] = meter.during(lambda: setattr(table, "page", last // 2 + 1))
    report["contents, sorted by size"] = meter.during(lambda: setattr(table, "sort", "value_bytes"))
    facet = app.view("contents")._facets["dag_id"]
    report["contents, a Dag chosen"] = meter.during(lambda: setattr(facet, "selected", facet.items[3]["value"]))
    report["contents, a text searched"] = meter.during(lambda: setattr(app.view("contents")._search, "value", "0123"))

    app.state.section = "lab"
    lab = app.view("lab")
    slider = lab._cards[1].days
    for mode in ("forward", "as-if"):
        report[f"what if, to {mode}"] = meter.during(lambda mode=mode: setattr(lab._mode, "value", mode))
        report[f"what if, a slider move, {mode}"] = meter.median(_moves(slider))
    lab._mode.value = "as-if"
    last = lab._rows.pages - 1
    report["what if, last page of who differs"] = meter.during(lambda: setattr(lab._rows, "page", last))
    report["what if, only one Dag"] = meter.during(
        lambda: setattr(lab._filters["dag_id"], "value", "team_pipeline_003")
    )
    report["what if, a slider move, of one Dag"] = meter.median(_moves(slider))

    app.state.section = "preview"
    view = app.view("preview")
    report["preview, next page"] = meter.median(
        [lambda at=at: setattr(view._table, "page", at) for at in range(1, MOVES)]
    )
    report["preview, under a policy"] = meter.during(lambda: setattr(view._policy, "value", 1))
    assert app.view("lab")._notice.kind == view._notice.kind == ""  # noqa: S101 - nothing failed while it was timed
    report["peak MB"] = peak_mb()
    return report


def _moves(slider: Any) -> list[Callable[[], None]]:
    days = islice(cycle([29, 28, 27, 45, 60, 13, 3]), MOVES)
    return [partial(setattr, slider, "value", each) for each in days]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    for name, line in measured(parser.parse_args().rows).items():
        print(f"{name:<45}{line}")


if __name__ == "__main__":
    main()
