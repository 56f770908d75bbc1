"""Directives that write tables of columns from the code itself, so that the reference cannot fall behind it.

``.. contract-columns:: TASKS`` lists a table of `storekit.frames.contract`. ``.. frame-columns:: Snapshot`` asks a
fixture for the DataFrames that a class gives, and lists the columns that came.
"""

from __future__ import annotations

import functools
import inspect
import re
import shutil
import tempfile
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

import storekit as sk
from storekit.frames import contract

FIXTURE = Path(__file__).resolve().parents[2] / "data" / "fixtures" / "airflow-3.3.2.db"
NOW = datetime(2026, 11, 28, tzinfo=UTC)
COMMON = {
    "decoded": "the value as Python objects",
    "decode_error": "why the stored text is not JSON",
    "policy": "name of the policy",
    "verdict": "delete or keep",
}


class ContractColumns(SphinxDirective):
    """A table of the contract: column, Arrow type, whether a null may stand there, meaning."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        lines = [
            [f"``{column.name}``", f"``{column.type}``", "yes" if column.nullable else "no", _escaped(column.about)]
            for column in getattr(contract, self.arguments[0]).columns
        ]
        return _parsed(self, _table(["column", "Arrow type", "null", "meaning"], lines, [26, 22, 7, 45]))


class FrameColumns(SphinxDirective):
    """The columns of the DataFrames that a class gives, as they come for the fixture."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        lines: list[str] = []
        for name, (call, frame) in frames()[self.arguments[0]].items():
            about = meanings(name, frame)
            cells: list[list[str]] = []
            for column, dtype in zip(frame.columns, frame.dtypes, strict=True):
                told = [f"``{dtype}``", _escaped(about.get(column, ""))]
                if cells and cells[-1][1:] == told:  # what the docstring says of several at once is said once
                    cells[-1][0] += f", ``{column}``"
                else:
                    cells.append([f"``{column}``", *told])
            header, widths = ["column", "pandas dtype", "meaning"], [30, 22, 48]
            if not any(cell for _, _, cell in cells):
                header, widths, cells = header[:2], widths[:2], [cell[:2] for cell in cells]
            lines += [f"`{name}`, as ``{call}``:" if call else f"`{name}`:", "", *_table(header, cells, widths)]
        return _parsed(self, lines)


def _parsed(directive: SphinxDirective, lines: list[str]) -> list[nodes.Node]:
    holder = nodes.container()
    directive.state.nested_parse(StringList(lines, source=directive.get_source_info()[0]), 0, holder)
    return holder.children


def _table(header: list[str], lines: list[list[str]], widths: list[int]) -> list[str]:
    text = [".. list-table::", "   :header-rows: 1", "   :class: columns", f"   :widths: {' '.join(map(str, widths))}"]
    text.append("")
    for line in [header, *lines]:
        text += [f"   {'  -' if number else '* -'} {cell}" for number, cell in enumerate(line)]
    return [*text, ""]


def _escaped(text: str) -> str:
    return re.sub(r"([\\*|_])", r"\\\1", text) if "`" not in text else text


def meanings(name: str, frame: Any) -> dict[str, str]:
    """Return what a frame's columns mean: the contract's words, else what the docstring says of their group.

    A docstring lists columns in groups: ``kept (int64: rows), next_expiry (datetime64[us, UTC]; missing: none)``.
    """
    owner, _, member = name.partition(".")
    text = " ".join((inspect.getdoc(getattr(getattr(sk, owner, None) or _others()[owner], member)) or "").split())
    found = dict(COMMON)
    for names, told in re.findall(r"((?:[\w`]+, )*[\w`]+) \(((?:[^()]|\([^()]*\))*)\)", text):
        group = [each.strip("`") for each in names.split(", ")]
        kind, _, note = told.partition(": ")
        if kind.endswith("; missing") or kind == "missing":
            found |= dict.fromkeys(group, f"missing: {note}")
        elif note and ";" not in kind:
            found |= dict.fromkeys(group, note)
    for table in (contract.ROWS, contract.ASSETS, contract.TASKS):
        found |= {column.name: column.about for column in table.columns}
    if "rows" in frame.columns:
        found["value_bytes"] = "size of their stored texts together, in bytes of UTF-8"
        found.setdefault("rows", "how many rows")
    return found


def _others() -> dict[str, Any]:
    from storekit.frames.diff import SnapshotDiff

    return {"SnapshotDiff": SnapshotDiff}


@functools.cache
def frames() -> dict[str, dict[str, tuple[str, Any]]]:
    """Return the frames of each class: by member, how it was called, and what came."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "airflow.db"
        shutil.copy(FIXTURE, path)
        return _frames(path, Path(folder))


def _frames(path: Path, folder: Path) -> dict[str, dict[str, tuple[str, Any]]]:
    with sk.connect(path) as store:
        snap = store.snapshot()
        tables = {
            "Store.tasks": ("tasks(decode=True)", store.tasks(decode=True)),
            "Store.assets": ("assets(decode=True)", store.assets(decode=True)),
        }
    preview = snap.preview(NOW)
    plan = snap.plan(now=NOW)
    with sk.connect(path, writable=True) as live:
        cleaned = live.cleanup(plan, archive=folder / "gone.parquet", dry_run=False)
        restored = sk.restore(folder / "gone.parquet", live)
        diff = live.snapshot().diff(snap)
    now = snap.info.taken_at
    policies = [sk.Policy(), sk.Policy(default_retention_days=14)]
    simulation = snap.simulate(policies, "30d", now=now)
    first, second = (policy.name for policy in simulation.policies)
    advice, selection = snap.recommend(), snap.select(now=NOW)
    return {
        "Store": tables,
        "Snapshot": {
            "Snapshot.tasks": ("", snap.tasks()),
            "Snapshot.assets": ("", snap.assets()),
            "Snapshot.written": ("", snap.written()),
            "Snapshot.retention_curve": ("", snap.retention_curve([7, 14])),
        },
        "Selection": {
            "Selection.rows": ("", selection.rows()),
            "Selection.by": ('by("dag_id")', selection.by("dag_id")),
            "Selection.sizes": ("", selection.sizes()),
            "Selection.ages": ("", selection.ages()),
        },
        "SnapshotDiff": {"SnapshotDiff.rows": ("", diff.rows())},
        "Preview": {
            "Preview.rows": ("", preview.rows()),
            "Preview.reasons": ("", preview.reasons),
            "Preview.by": ('by("dag_id")', preview.by("dag_id")),
            "Preview.dangers": ("", preview.dangers()),
            "Preview.danger_rows": ("", preview.danger_rows("inactive-asset")),
        },
        "Plan": {"Plan.rows": ("", plan.rows()), "Plan.by": ('by("dag_id")', plan.by("dag_id"))},
        "CleanupReport": {"CleanupReport.drift": ("", cleaned.drift)},
        "RestoreReport": {
            "RestoreReport.conflict_rows": ("", restored.conflict_rows),
            "RestoreReport.orphan_rows": ("", restored.orphan_rows),
        },
        "Simulation": {
            "Simulation.summary": ("", simulation.summary),
            "Simulation.over_time": ('over_time(by="dag_id")', simulation.over_time(by="dag_id")),
            "Simulation.cleanups": ("", simulation.cleanups),
            "Simulation.difference": ("", simulation.difference(first, second)),
            "Simulation.difference_by": (
                'difference_by(a, b, "dag_id")',
                simulation.difference_by(first, second, "dag_id"),
            ),
            "Simulation.unsafe": ("", simulation.unsafe(first)),
            "Simulation.rates": ('rates("dag_id")', simulation.rates("dag_id")),
        },
        "Advice": {
            "Advice.candidates": ("", advice.candidates),
            "Advice.risks": ("", advice.risks(advice.front.policy.iloc[0])),
        },
    }


def setup(app: Any) -> dict[str, bool]:
    app.add_directive("contract-columns", ContractColumns)
    app.add_directive("frame-columns", FrameColumns)
    return {"parallel_read_safe": True}
