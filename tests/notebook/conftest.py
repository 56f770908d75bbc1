"""A small store to explore, made once for a module and copied for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_store import NOW, fill

import storekit as sk
from storekit.clock import ManualClock


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small") / "small.db"
    fill(path)
    return path


@pytest.fixture
def store(template: Path, tmp_path: Path) -> Iterator[sk.Store]:
    shutil.copy(template, tmp_path / "store.db")
    with sk.connect(tmp_path / "store.db", writable=True, clock=ManualClock(NOW)) as opened:
        yield opened
