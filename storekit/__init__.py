"""storekit: see, preview and clean Apache Airflow's task and asset state store.

    import storekit as sk

    store = sk.connect("airflow.db")     # read-only
    store.tasks()                        # a DataFrame
    store.snapshot().preview()           # what cleanup would delete, and why
    plan = store.snapshot().plan()       # exactly those rows, to be reviewed and saved
    store.cleanup(plan)                  # a dry run; dry_run=False on a writable store deletes
    store.snapshot().simulate(sk.Policy(default_retention_days=14))  # what if

Everything public is here; what is heavy is imported at its first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from storekit import errors as errors
    from storekit import notebook as notebook
    from storekit.accessors import AssetStoreAccessor, TaskStoreAccessor
    from storekit.clock import Clock, ManualClock, SystemClock
    from storekit.config import StateStoreConfig, UnknownOptionWarning
    from storekit.errors import StorekitError
    from storekit.frames.advice import Advice
    from storekit.frames.archived import Archive, open_archive
    from storekit.frames.dangers import Danger
    from storekit.frames.document import report
    from storekit.frames.outcomes import CleanupReport, RestoreReport
    from storekit.frames.plan import Plan, open_plan
    from storekit.frames.preview import Preview
    from storekit.frames.scan import TableScan
    from storekit.frames.selection import Selection
    from storekit.frames.simulation import Simulation
    from storekit.frames.snapshot import Snapshot, open_snapshot
    from storekit.metastore import MetastoreStateBackend
    from storekit.notebook import explore
    from storekit.retention import (
        AS_WRITTEN,
        Fate,
        Policy,
        Reason,
        Rule,
        Verdict,
        judge,
        load_policies,
        policy_schema,
    )
    from storekit.state import (
        NEVER_EXPIRE,
        AssetScope,
        AssetWriter,
        BaseStoreBackend,
        StoreScope,
        TaskScope,
        WriterKind,
        adapt_backend,
    )
    from storekit.store import Store, connect, restore

__all__ = [
    "AS_WRITTEN",
    "NEVER_EXPIRE",
    "Advice",
    "Archive",
    "AssetScope",
    "AssetStoreAccessor",
    "AssetWriter",
    "BaseStoreBackend",
    "CleanupReport",
    "Clock",
    "Danger",
    "Fate",
    "ManualClock",
    "MetastoreStateBackend",
    "Plan",
    "Policy",
    "Preview",
    "Reason",
    "RestoreReport",
    "Rule",
    "Selection",
    "Simulation",
    "Snapshot",
    "StateStoreConfig",
    "Store",
    "StoreScope",
    "StorekitError",
    "SystemClock",
    "TableScan",
    "TaskScope",
    "TaskStoreAccessor",
    "UnknownOptionWarning",
    "Verdict",
    "WriterKind",
    "__version__",
    "adapt_backend",
    "connect",
    "errors",
    "explore",
    "judge",
    "load_policies",
    "notebook",
    "open_archive",
    "open_plan",
    "open_snapshot",
    "policy_schema",
    "report",
    "restore",
]

_HOMES = {
    "storekit.accessors": ("AssetStoreAccessor", "TaskStoreAccessor"),
    "storekit.clock": ("Clock", "ManualClock", "SystemClock"),
    "storekit.config": ("StateStoreConfig", "UnknownOptionWarning"),
    "storekit.errors": ("StorekitError",),
    "storekit.frames.advice": ("Advice",),
    "storekit.frames.archived": ("Archive", "open_archive"),
    "storekit.frames.dangers": ("Danger",),
    "storekit.frames.document": ("report",),
    "storekit.frames.outcomes": ("CleanupReport", "RestoreReport"),
    "storekit.frames.plan": ("Plan", "open_plan"),
    "storekit.frames.preview": ("Preview",),
    "storekit.frames.scan": ("TableScan",),
    "storekit.frames.selection": ("Selection",),
    "storekit.frames.simulation": ("Simulation",),
    "storekit.frames.snapshot": ("Snapshot", "open_snapshot"),
    "storekit.metastore": ("MetastoreStateBackend",),
    "storekit.notebook": ("explore",),
    "storekit.retention": (
        "AS_WRITTEN",
        "Fate",
        "Policy",
        "Reason",
        "Rule",
        "Verdict",
        "judge",
        "load_policies",
        "policy_schema",
    ),
    "storekit.state": (
        "NEVER_EXPIRE",
        "AssetScope",
        "AssetWriter",
        "BaseStoreBackend",
        "StoreScope",
        "TaskScope",
        "WriterKind",
        "adapt_backend",
    ),
    "storekit.store": ("Store", "connect", "restore"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in {"errors", "notebook"}:
        return importlib.import_module(f"storekit.{name}")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'storekit' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
