"""Files that a command makes: what cannot be made is refused before anything is read."""

from __future__ import annotations

import os
from pathlib import Path

from storekit.errors import QueryError, StorekitError

__all__ = ["check_file", "check_name"]


def check_name(path: str, example: str) -> None:
    """Refuse ``-``, by which other programs mean stdout.

    Raises
    ------
    QueryError
        If it is that.
    """
    if path == "-":
        raise QueryError(
            "'-' is no file's name: what is made is a file, not text on stdout", hint=f"name it: {example}"
        )


def check_file(path: str, *, overwrite: bool) -> None:
    """Refuse a file that cannot be made.

    Raises
    ------
    StorekitError
        If it is there and may not be replaced, is a folder, or its folder cannot be written in.
    """
    target = Path(path)
    if target.is_dir():
        raise StorekitError(f"{target} is a folder", hint="name a file in it")
    if os.path.lexists(target) and not overwrite:
        raise StorekitError(f"{target} exists", hint="choose another name, or --overwrite")
    if not os.access(target.parent, os.W_OK):
        missing = "" if target.parent.is_dir() else ": there is no such folder"
        raise StorekitError(f"cannot write in {target.parent}{missing}", hint="choose a folder that can be written")
