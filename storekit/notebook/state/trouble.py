"""What went wrong, as it is shown: an observer's exception would be swallowed by the notebook."""

from __future__ import annotations

from dataclasses import dataclass

from storekit.errors import StorekitError

__all__ = ["Trouble", "trouble_of"]


@dataclass(frozen=True)
class Trouble:
    """What went wrong, and what to do next.

    Parameters
    ----------
    message
        What was wrong, with the value.
    hint
        What to do next; empty: nothing is known.
    """

    message: str
    hint: str = ""


def trouble_of(error: BaseException) -> Trouble:
    """Return an error as it is shown. One that storekit did not foresee says of what kind it is."""
    if isinstance(error, StorekitError):
        return Trouble(error.message, error.hint or "")
    if isinstance(error, KeyboardInterrupt):
        return Trouble("It was stopped.", "Nothing is half done; start it again.")
    return Trouble(f"{type(error).__name__}: {error}", "This is a defect of storekit: please report it.")
