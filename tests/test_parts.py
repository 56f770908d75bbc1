"""A part that is missing skips with the command that brings it, and fails where parts are required."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import parts
import pytest

WAYS: list[tuple[Any, str, str]] = [
    ("airflow", "STOREKIT_AIRFLOW_PYTHON", "/no/such/python"),
    ("s3", "STOREKIT_MOTO_SERVER", "/no/such/moto_server"),
    ("chromium", "STOREKIT_CHROMIUM", "/no/such/chromium"),
    ("postgres", "STOREKIT_TEST_POSTGRES", "postgresql://nobody:hunter2@127.0.0.1:1/none"),
    ("mysql", "STOREKIT_TEST_MYSQL", "mysql://nobody:hunter2@127.0.0.1:1/none"),
]


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    parts._missing.cache_clear()
    yield
    parts._missing.cache_clear()


@pytest.mark.parametrize(("part", "variable", "value"), WAYS, ids=[way[0] for way in WAYS])
@pytest.mark.parametrize("required", [False, True])
def test_a_missing_part(part: Any, variable: str, value: str, required: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    monkeypatch.setenv("STOREKIT_REQUIRE_PARTS", "1" if required else "0")
    outcome = pytest.fail.Exception if required else pytest.skip.Exception
    with pytest.raises((pytest.fail.Exception, pytest.skip.Exception)) as said:
        parts.require(part)
    # Not `raises(outcome)`: a skip that comes where a failure should would skip this test, not fail it.
    assert said.type is outcome
    assert f"bring it with `.ci/parts {part}`" in str(said.value)
    assert "hunter2" not in str(said.value)
