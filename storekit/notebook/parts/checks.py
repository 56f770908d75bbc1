"""Checks of what a trait holds, for the traits that traitlets has no word for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from traitlets import TraitError

__all__ = ["records"]


def records(
    name: str, values: list[dict[str, Any]], required: Mapping[str, type], optional: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return records with what is optional filled in.

    Parameters
    ----------
    name
        The trait, as the error names it.
    values
        The records.
    required
        Field -> its type.
    optional
        Field -> its value where it is left out; its type is the field's.

    Raises
    ------
    traitlets.TraitError
        A field is missing, unknown, or of another type. An int is taken for a float.
    """
    types = {**required, **{field: type(value) for field, value in optional.items()}}
    checked = []
    for place, value in enumerate(values):
        where = f"{name}[{place}]"
        for field in value:
            if field not in types:
                raise TraitError(f"{where} has {field!r}; it may have {', '.join(types)}")
        for field in required:
            if field not in value:
                raise TraitError(f"{where} has no {field!r}")
        for field, given in value.items():
            wanted = types[field]
            fits = isinstance(given, (int, float)) and not isinstance(given, bool) if wanted is float else False
            if not fits and type(given) is not wanted:
                raise TraitError(f"{where}: {field} is {given!r}, which is no {wanted.__name__}")
        checked.append({**optional, **value})
    return checked
