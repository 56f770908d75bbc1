"""What the conformance suites share: budgets, and properties written inside a test, where a fixture is at hand."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

__all__ = ["ConformanceSuite", "run"]


class ConformanceSuite:
    """The root of both suites."""

    max_examples: ClassVar[int] = 20
    """Examples per property."""

    _serial: ClassVar[itertools.count[int]] = itertools.count(1)

    def forall(self, **given_strategies: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], None]:
        """Run the decorated function at once, for values of the strategies.

        Inside a test rather than on it: the strategies come from ``self``, and the fixture is shared by the
        examples, so a check takes a scope of its own.

        Parameters
        ----------
        **given_strategies
            Hypothesis strategies by the names of the function's parameters.

        Returns
        -------
        Callable
            The decorator. It runs `max_examples` examples and returns None.
        """

        def run(check: Callable[..., None]) -> None:
            quiet = [HealthCheck.too_slow, HealthCheck.data_too_large]
            wrapped = settings(max_examples=self.max_examples, deadline=None, suppress_health_check=quiet)(
                given(**given_strategies)(check)
            )
            wrapped()

        return run

    def need(self, capability: str) -> None:
        """Skip a test whose promise this backend does not make.

        Parameters
        ----------
        capability
            The class attribute that says whether it does, such as ``"has_async"``.
        """
        if not getattr(self, capability):
            pytest.skip(f"{type(self).__name__} declares {capability} = False")


def run(awaited: Coroutine[Any, Any, Any]) -> Any:
    """Run one awaited call in an event loop of its own, as a backend must bear."""
    return asyncio.run(awaited)
