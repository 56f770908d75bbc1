"""Hypothesis profiles, and a database of each family for each test module."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings
from parts import Sandboxes

settings.register_profile("default", max_examples=15, deadline=None)
settings.register_profile("ci", max_examples=120, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(scope="module")
def sandboxes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandboxes]:
    """The module's databases; `Sandboxes.get` makes one at its first use."""
    opened = Sandboxes(tmp_path_factory.mktemp("databases"))
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def _no_airflow_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the developer's own Airflow configuration out of the tests."""
    for name in [name for name in os.environ if name.startswith("AIRFLOW")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path_factory.getbasetemp() / "no-airflow-here"))
