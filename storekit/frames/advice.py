"""Which retention policies are worth choosing: bytes against risk, with the rows behind each number."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from storekit.errors import QueryError
from storekit.frames.answers import answer_frame
from storekit.frames.given import as_policies
from storekit.frames.instants import as_span
from storekit.frames.simulation import RETRY_WAIT, Simulation
from storekit.retention.lives import Mode
from storekit.retention.policy import Policy
from storekit.retention.rows import as_instant_us, as_us
from storekit.retention.simulate import PolicyRun
from storekit.retention.written import SKEW

if TYPE_CHECKING:
    from storekit.frames.snapshot import Snapshot

__all__ = ["CANDIDATE_DAYS", "LOOK_BACK", "Advice"]

CANDIDATE_DAYS = (1, 2, 3, 5, 7, 10, 14, 21, 30, 45, 60, 90, 180, 365)
"""Of `default_retention_days`, where no candidates are given."""

LOOK_BACK = timedelta(days=7)
"""For how long someone may want to look at what a task stored."""

_TABLE = pa.schema(
    [
        pa.field("policy", pa.string(), nullable=False),
        pa.field("on_front", pa.bool_(), nullable=False),
        *(pa.field(f"kept_{name}", pa.int64(), nullable=False) for name in ("rows", "bytes", "rows_low", "bytes_low")),
        *(
            pa.field(f"freed_{name}", pa.int64(), nullable=False)
            for name in ("rows", "bytes", "rows_high", "bytes_high")
        ),
        *(
            pa.field(f"{name}_rows", pa.int64(), nullable=False)
            for name in ("risk", "unfinished", "orphaning", "recent")
        ),
        pa.field("newest_lost", pa.duration("us")),
        pa.field("beaten_by", pa.string()),
        pa.field("same_as", pa.string()),
    ]
)


class Advice:
    """Candidates weighed: what each would leave of the rows that exist, and what it would put at risk.

    Made by `Snapshot.recommend`. Each candidate is played as if it had been in force at every write, with one cleanup
    at ``now``. A row is at risk if

    - its task instance is not finished, and a cleanup at ``now`` or within ``retry_wait`` of it deletes what the next
      try may need (unfinished);
    - it would be gone, and its value refers to an object, which would be left in storage (orphaning);
    - it would be gone, and was written within ``look_back``: someone may still want to see it (recent).

    Where it is not known whether rows ever expire, bytes have two ends, and rows that are lost perhaps are at risk. A
    candidate is on the Pareto front if no other is better in one of these three and in none worse: bytes kept at most,
    bytes kept at least, rows at risk.

    Parameters
    ----------
    snapshot
        What is weighed.
    candidates
        Policies; None: what is there as written, and `CANDIDATE_DAYS` as ``default_retention_days``.
    now
        As for `Snapshot.simulate`.
    look_back, retry_wait
        Durations; as text such as ``"7d"`` too.
    defaults, skew
        As for `Snapshot.written`.

    Raises
    ------
    QueryError
        If one of these cannot be.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        candidates: Policy | Iterable[Policy] | None = None,
        *,
        now: datetime | str | None = None,
        look_back: timedelta | str = LOOK_BACK,
        retry_wait: timedelta | str = RETRY_WAIT,
        defaults: Iterable[int] | None = None,
        skew: timedelta | str = SKEW,
    ) -> None:
        given = [Policy(), *(Policy(default_retention_days=each) for each in CANDIDATE_DAYS)]
        policies = as_policies(given if candidates is None else candidates)
        for each in policies:
            if each.cleanup_every is None:
                raise QueryError(
                    f"{each.name!r} never cleans up, so there is nothing to weigh", hint="cleanup_every='1d'"
                )
        self.look_back = as_span(look_back, "look_back")
        self.simulation = Simulation(
            snapshot,
            policies,
            timedelta(days=1),
            Mode.AS_IF,
            now=now,
            future=False,
            retry_wait=retry_wait,
            defaults=defaults,
            skew=skew,
        )

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the numbers rest on."""
        return self.simulation.assumptions

    @cached_property
    def candidates(self) -> pd.DataFrame:
        """Return every candidate.

        Returns
        -------
        DataFrame
            policy (str), on_front (bool); kept_rows, kept_bytes, kept_rows_low, kept_bytes_low (int64; low: if
            ambiguous rows are the default's), freed_rows, freed_bytes, freed_rows_high, freed_bytes_high (int64: of all
            that is there; high: as low before); risk_rows (int64: rows at risk, each once), unfinished_rows,
            orphaning_rows, recent_rows (int64: why; a row may be in several); newest_lost (timedelta64[us]: the age of
            the youngest row that would be gone, surely or perhaps; missing: none),
            beaten_by (str: a candidate that is better), same_as (str: an earlier candidate that would delete the very
            same rows; it stands for both). Both are missing on the front. Fewest bytes first.
        """
        lines, fingerprints = [], []
        for policy in self.simulation.policies:
            run = PolicyRun(policy, self.simulation.setting)  # not kept: each holds an expiry for every row
            lines.append(self._weighed(run))
            fingerprints.append(self._fingerprint(run))
        first: dict[bytes, str] = {}
        for line, fingerprint in zip(lines, fingerprints, strict=True):
            better = [other for other in lines if _beats(other, line)]
            best = min(better, key=lambda other: (other["risk_rows"], *_weights(other)), default=None)
            same = first.setdefault(fingerprint, line["policy"])
            line["beaten_by"] = None if best is None else best["policy"]
            line["same_as"] = None if same == line["policy"] else same
            line["on_front"] = best is None and line["same_as"] is None
        lines.sort(key=_weights)
        return answer_frame(pa.Table.from_pylist(lines, schema=_TABLE))

    @property
    def front(self) -> pd.DataFrame:
        """Return the candidates on the Pareto front, fewest bytes first.

        Returns
        -------
        DataFrame
            As `candidates`: policy (str), on_front (bool; True in all), kept_rows, kept_bytes, kept_rows_low,
            kept_bytes_low, freed_rows, freed_bytes, freed_rows_high, freed_bytes_high, risk_rows, unfinished_rows,
            orphaning_rows, recent_rows (int64), newest_lost (timedelta64[us]), beaten_by, same_as (str; missing in
            all).
        """
        return self.candidates[self.candidates["on_front"]].reset_index(drop=True)

    def risks(self, policy: str | Policy, *, limit: int | None = None, offset: int = 0) -> pd.DataFrame:
        """Return the rows that a candidate puts at risk, by natural key.

        Parameters
        ----------
        policy
            One of the candidates, or its name.
        limit, offset
            Which part of them; None: all from ``offset`` on.

        Returns
        -------
        DataFrame
            The columns of `Simulation.difference` from store to written, then rule (str; missing: none),
            expires_under (datetime64[us, UTC]), reason (str: all that apply).

        Raises
        ------
        QueryError
            If there is no such candidate, or ``limit`` or ``offset`` is no number of rows.
        """
        run = PolicyRun(self.simulation._policy(policy), self.simulation.setting)
        unfinished, orphaning, recent = self._risks(run)
        texts = (
            (unfinished, "the task is not finished, and its next try may need the row"),
            (orphaning, "the value is a reference, and its object would be left in storage"),
            (recent, "written so lately that someone may want to see it"),
        )

        def reason(at: int) -> str:
            return "; ".join(text for mask, text in texts if mask[at])

        return self.simulation._fates.endangered(run, unfinished | orphaning | recent, reason, limit, offset)

    def _risks(self, run: PolicyRun) -> tuple[npt.NDArray[np.bool_], ...]:
        setting = run.setting
        gone = run.dead(run.lives.soonest_us, as_instant_us(setting.now))
        recent = setting.rows.updated_us > as_instant_us(setting.now) - as_us(self.look_back)
        return run.unsafe(), gone & setting.rows.is_reference, gone & recent

    def _fingerprint(self, run: PolicyRun) -> bytes:
        """Return what tells two candidates apart: the rows that each deletes, surely or perhaps, or puts at risk."""
        now_us = as_instant_us(run.setting.now)
        masks = (run.dead(run.lives.latest_us, now_us), run.dead(run.lives.soonest_us, now_us), run.unsafe())
        return hashlib.sha256(b"".join(np.packbits(each).tobytes() for each in masks)).digest()

    def _weighed(self, run: PolicyRun) -> dict[str, Any]:
        now_us, rows = as_instant_us(run.setting.now), run.setting.rows
        gone = run.dead(run.lives.latest_us, now_us)
        at_most = run.dead(run.lives.soonest_us, now_us) if run.lives.ambiguous else gone
        risks = self._risks(run)
        total, freed, freed_most = (int(rows.value_bytes[mask].sum()) for mask in (slice(None), gone, at_most))
        lost = rows.updated_us[at_most]  # as risks: what is lost perhaps counts
        names = ("unfinished_rows", "orphaning_rows", "recent_rows")
        return {
            "policy": run.policy.name,
            "kept_rows": len(rows) - int(gone.sum()),
            "kept_bytes": total - freed,
            "kept_rows_low": len(rows) - int(at_most.sum()),
            "kept_bytes_low": total - freed_most,
            "freed_rows": int(gone.sum()),
            "freed_bytes": freed,
            "freed_rows_high": int(at_most.sum()),
            "freed_bytes_high": freed_most,
            "risk_rows": int((risks[0] | risks[1] | risks[2]).sum()),
            **{name: int(mask.sum()) for name, mask in zip(names, risks, strict=True)},
            "newest_lost": None if not len(lost) else timedelta(microseconds=now_us - int(lost.max())),
        }

    def __repr__(self) -> str:
        from storekit.frames.simview import advice_text

        return advice_text(self)

    def _repr_html_(self) -> str:
        from storekit.frames.simview import advice_html

        return advice_html(self)


def _beats(one: dict[str, Any], other: dict[str, Any]) -> bool:
    ours, theirs = _weights(one), _weights(other)
    return ours != theirs and all(our <= their for our, their in zip(ours, theirs, strict=True))


def _weights(line: dict[str, Any]) -> tuple[int, int, int]:
    return line["kept_bytes"], line["kept_bytes_low"], line["risk_rows"]
