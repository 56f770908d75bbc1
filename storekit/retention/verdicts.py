"""One row's fate at an instant: delete or keep, the reason, and how far it is from its expiry.

This is the definition. It takes two other forms only: the analysis SQL (``engines/sql/verdicts.sql``) and the
DELETE's predicate (`storekit.metastore.deletions.expired`); property tests hold the three equal.

Source of the rules: the seed document's "Garbage collection semantics".
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from storekit.clock import as_utc

__all__ = ["Fate", "Reason", "Verdict", "judge"]


class Fate(enum.StrEnum):
    """What time-based cleanup does with a row."""

    DELETE = "delete"
    KEEP = "keep"


class Reason(enum.StrEnum):
    """Why. Append-only: saved plans and reports carry these texts."""

    EXPIRED = "expired"
    """``expires_at`` lies before now, strictly."""
    NOT_YET = "not-yet-expired"
    """``expires_at`` is now or later."""
    NEVER_EXPIRE = "never-expire"
    """Flagged NEVER_EXPIRE: skipped unconditionally."""
    NO_EXPIRY = "no-expiry"
    """No expiry and no flag, where a flag would tell: written with retention 0."""
    NO_EXPIRY_UNTOLD = "never-expire-or-retention-0"
    """No expiry, in a layout without the flag: NEVER_EXPIRE or retention 0, not to be told apart."""
    ASSET = "asset-row"
    """An asset's row: time-based cleanup is for task rows only."""

    @property
    def fate(self) -> Fate:
        """The fate that goes with this reason."""
        return Fate.DELETE if self is Reason.EXPIRED else Fate.KEEP

    @property
    def sentence(self) -> str:
        """The reason in words."""
        return _SENTENCES[self]


_SENTENCES = {
    Reason.EXPIRED: "expired: expires_at lies before now",
    Reason.NOT_YET: "not expired yet",
    Reason.NEVER_EXPIRE: "set with NEVER_EXPIRE",
    Reason.NO_EXPIRY: "no expiry: written with retention 0",
    Reason.NO_EXPIRY_UNTOLD: "no expiry: NEVER_EXPIRE or retention 0 (Airflow keeps no flag to tell)",
    Reason.ASSET: "asset row: time-based cleanup never deletes it",
}


@dataclass(frozen=True)
class Verdict:
    """A row's fate, its reason, and ``expires_at - now``.

    Parameters
    ----------
    reason
        Why; it implies the fate.
    margin
        Time to the expiry; negative: time since. None where there is no expiry.
    """

    reason: Reason
    margin: timedelta | None

    @property
    def fate(self) -> Fate:
        """Delete or keep."""
        return self.reason.fate


def judge(
    *,
    store: Literal["task", "asset"],
    expires_at: datetime | None,
    never_expire: bool | None,
    now: datetime,
) -> Verdict:
    """Return the verdict on one row.

    Parameters
    ----------
    store
        Which table the row stands in.
    expires_at
        Its expiry, aware; None: none.
    never_expire
        Its flag; None where its layout has none.
    now
        The instant of the cleanup, aware. A row that expires at this very instant is kept.

    Returns
    -------
    Verdict
        The fate, the reason, and ``expires_at - now`` as a timedelta. Only a task's row whose expiry lies before
        ``now``, strictly, and that is not flagged is deleted.

    Raises
    ------
    ValueError, TypeError
        If an instant is naive, or no datetime.
    """
    margin = None if expires_at is None else as_utc(expires_at) - as_utc(now)
    if store == "asset":
        return Verdict(Reason.ASSET, margin)
    if never_expire:
        return Verdict(Reason.NEVER_EXPIRE, margin)
    if margin is None:
        return Verdict(Reason.NO_EXPIRY_UNTOLD if never_expire is None else Reason.NO_EXPIRY, None)
    return Verdict(Reason.EXPIRED if margin < timedelta(0) else Reason.NOT_YET, margin)
