"""How hard a run searches: everything where ``HYPOTHESIS_PROFILE=ci``, and by default what fits into a few minutes.

A test that is for CI only says why, and has a cheaper one of the same thing beside it that always runs.
"""

from __future__ import annotations

import pytest
from hypothesis import settings

__all__ = ["ON_CI", "on_ci_only"]

# conftest has loaded the profile: whoever imports this is a test module.
ON_CI = settings.get_current_profile_name() == "ci"


def on_ci_only(reason: str) -> pytest.MarkDecorator:
    """Return the mark of a test, or of one of its parameters, that runs where ``HYPOTHESIS_PROFILE=ci``."""
    return pytest.mark.skipif(not ON_CI, reason=f"{reason}: HYPOTHESIS_PROFILE=ci")
