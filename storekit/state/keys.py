"""What a key may be. Source: Airflow's ``key`` column (``String(512)``) and its API (``min_length=1``)."""

from __future__ import annotations

from typing import Any

from storekit.errors import InvalidKeyError

__all__ = ["MAX_KEY_LENGTH", "check_key"]

MAX_KEY_LENGTH = 512


def check_key(key: Any) -> str:
    """Return ``key`` if every supported database can hold it.

    Raises
    ------
    InvalidKeyError
        If it is not a string, is empty, is longer than 512 characters (inclusive bound), or holds NUL or a
        lone surrogate, which PostgreSQL and UTF-8 cannot store.
    """
    if not isinstance(key, str):
        raise InvalidKeyError(
            f"a key must be a string, got {type(key).__name__}", hint="use str(key), or choose a name"
        )
    if not key:
        raise InvalidKeyError("a key must not be empty", hint="choose a name of 1 to 512 characters")
    if len(key) > MAX_KEY_LENGTH:
        raise InvalidKeyError(
            f"key {key[:40]!r}… has {len(key)} characters; the most is {MAX_KEY_LENGTH}",
            hint="shorten it, or hash its tail",
        )
    if "\x00" in key:
        raise InvalidKeyError(
            f"key {key[:40]!r} holds a NUL character, which PostgreSQL cannot store", hint="leave it out"
        )
    try:
        key.encode()
    except UnicodeEncodeError:
        raise InvalidKeyError(
            f"key {key[:40]!r} holds a lone surrogate, which UTF-8 cannot store",
            hint="decode its source with errors='replace'",
        ) from None
    return key
