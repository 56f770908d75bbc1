"""How a row says that its value is elsewhere, and how that is told from a value kept inline.

Inline values are JSON texts. A reference is what a worker-side backend's ``serialize_*`` hook returned:

- The *bare* form (the seed's): the row holds the reference itself, as it is. A text that is not JSON is then a
  reference. A reference that happens to *be* a JSON text (``123``, ``"a"``) could be taken for an inline value,
  so it is stored in the wrapped form instead.
- The *wrapped* form (released Airflow's): the row holds ``{"__airflow_state_ref__": "<reference>"}``, always.

Both forms are understood when reading, whichever is written. A user's own value may not take the wrapped
form's shape (`is_reserved`); with that, no value and no reference can be taken for one another.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from storekit.errors import InvalidValueError

__all__ = [
    "REFERENCE_KEY",
    "Inline",
    "Reference",
    "ReferenceForm",
    "is_reserved",
    "read_stored",
    "store_reference",
]

REFERENCE_KEY = "__airflow_state_ref__"

ReferenceForm = Literal["bare", "wrapped"]


@dataclass(frozen=True)
class Inline:
    """The row holds the value itself."""

    value: Any


@dataclass(frozen=True)
class Reference:
    """The row holds a reference, to be resolved by the worker-side backend that wrote it."""

    ref: str


def is_reserved(value: Any) -> bool:
    """Whether a value has the shape that marks a wrapped reference."""
    return isinstance(value, dict) and REFERENCE_KEY in value


def store_reference(ref: str, form: ReferenceForm) -> str:
    """Return the text that a row holds for ``ref``."""
    if form == "bare" and not _is_json(ref):
        return ref
    return json.dumps({REFERENCE_KEY: ref})


def read_stored(stored: str) -> Inline | Reference:
    """Tell what a row's text is."""
    try:
        value = json.loads(stored)
    except ValueError:
        return Reference(stored)
    except RecursionError:
        # Not a bare reference: `store_reference` would have wrapped it.
        raise InvalidValueError(
            "the stored text is nested too deeply to be read as JSON", hint="read it as text: backend.get(scope, key)"
        ) from None
    if isinstance(value, dict) and isinstance(value.get(REFERENCE_KEY), str):
        return Reference(value[REFERENCE_KEY])
    return Inline(value)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    except RecursionError:
        pass  # whether it parses depends on the depth of the stack: take the form that is right either way
    return True
