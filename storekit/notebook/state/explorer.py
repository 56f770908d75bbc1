"""The whole app's state: one source, and a state for each section."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from traitlets import HasTraits, TraitError, Unicode, validate

from storekit.frames.snapshot import Snapshot
from storekit.notebook.state.base import State
from storekit.notebook.state.contents import Contents
from storekit.notebook.state.lab import Lab
from storekit.notebook.state.planning import Planning
from storekit.notebook.state.previewing import Previewing
from storekit.notebook.state.source import Source
from storekit.notebook.state.work import Runner, inline
from storekit.retention.policy import Policy
from storekit.store import Store

__all__ = ["SECTIONS", "Explorer"]

SECTIONS = {"contents": "Contents", "lab": "What if", "preview": "Preview", "plan": "Plan & clean"}
"""Section -> its title."""


class Explorer(HasTraits):
    """What `storekit.explore` shows, without a view.

    Parameters
    ----------
    store_or_snapshot, now, runner
        As for `Source`.
    policies
        What the lab starts with.

    Attributes
    ----------
    section : str
        The one that is open, of `SECTIONS`. The others follow the source when they are opened.
    source, contents, lab, preview, plan
        The states.
    """

    section = Unicode("contents")

    def __init__(
        self,
        store_or_snapshot: Store | Snapshot,
        *,
        now: datetime | str | None = None,
        policies: Policy | Iterable[Policy] | None = None,
        runner: Runner = inline,
    ) -> None:
        super().__init__()
        self.source = Source(store_or_snapshot, now=now, runner=runner)
        self.contents = Contents(self.source, active=True)
        self.lab = Lab(self.source, policies=policies, active=False)
        self.preview = Previewing(self.source, active=False)
        self.plan = Planning(self.source, active=False)
        self.observe(self._open, ["section"])

    @property
    def states(self) -> dict[str, State]:
        """Section -> its state."""
        return {"contents": self.contents, "lab": self.lab, "preview": self.preview, "plan": self.plan}

    def refresh(self) -> None:
        """Read the store again."""
        self.source.refresh()

    @validate("section")
    def _section(self, proposal: Any) -> Any:
        if proposal["value"] not in SECTIONS:
            raise TraitError(f"{proposal['value']!r} is no section: {', '.join(SECTIONS)}")
        return proposal["value"]

    def _open(self, _change: Any) -> None:
        for name, state in self.states.items():
            state.active = name == self.section
