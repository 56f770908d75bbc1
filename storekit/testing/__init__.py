"""The conformance kit: what a backend promises, as tests that anyone's backend can run.

`BackendConformance` and `WorkerBackendConformance` are pytest suites to subclass, `StoreMachine` is a Hypothesis
state machine against an independent model, and the strategies make the scopes, keys and values that they, and
your own tests, use. `replay` carries a workload through the real backend, which `storekit.retention.play` is held
against. Nothing in storekit imports this package. It needs pytest and Hypothesis::

    pip install 'storekit[testing]'

Example
-------
::

    import pytest
    from storekit.testing import BackendConformance

    class TestMyBackend(BackendConformance):
        @pytest.fixture
        def backend(self):
            return MyBackend()
"""

from storekit.testing.conformance import BackendConformance
from storekit.testing.machine import HARD_CASES, StoredRow, StoreMachine
from storekit.testing.replay import replay
from storekit.testing.strategies import (
    ANY_TEXT,
    BAD_KEYS,
    HOSTILE_KEYS,
    TextRules,
    asset_names,
    asset_scopes,
    bad_keys,
    expiries,
    instants,
    json_texts,
    json_values,
    key_twins,
    keys,
    retentions,
    task_scopes,
    texts,
)
from storekit.testing.worker_conformance import WorkerBackendConformance
from storekit.testing.workload_cases import WORKLOAD_CASES, workload_cases
from storekit.testing.workloads import policies, policies_with_workloads, workloads

__all__ = [
    "ANY_TEXT",
    "BAD_KEYS",
    "HARD_CASES",
    "HOSTILE_KEYS",
    "WORKLOAD_CASES",
    "BackendConformance",
    "StoreMachine",
    "StoredRow",
    "TextRules",
    "WorkerBackendConformance",
    "asset_names",
    "asset_scopes",
    "bad_keys",
    "expiries",
    "instants",
    "json_texts",
    "json_values",
    "key_twins",
    "keys",
    "policies",
    "policies_with_workloads",
    "replay",
    "retentions",
    "task_scopes",
    "texts",
    "workload_cases",
    "workloads",
]
