"""Errors in the words of the command line: the library's own speak of calls and keywords."""

from __future__ import annotations

from storekit.errors import StorekitError

__all__ = ["as_typed"]

# What the library says -> what is typed.
_TYPED = (
    ("overwrite=True", "--overwrite"),
    ("layout='airflow-3.3'", "--layout airflow-3.3"),
    ("Snapshot.save(directory) makes one", "storekit snapshot URL DIRECTORY makes one"),
    ("name the directory that save() returned", "name the directory that storekit snapshot wrote"),
    ("pass the URL: storekit.connect('postgresql://…')", "name the database: postgresql://…"),
    ("connect(url, writable=True)", "a user who may write"),
    ("preview(now=...)", "storekit preview --now"),
    ("open it with a user who may write", "name a user who may write"),
    ("store.snapshot().plan()", "storekit plan make URL FILE"),
    ("name an airflow.cfg, or leave path out", "name an airflow.cfg, or leave --config out"),
)


def as_typed(error: StorekitError) -> str:
    """Return an error's text, with its hint as something to type; the message holds names and stays as it is."""
    if error.hint is None:
        return error.message
    hint = error.hint
    for said, typed in _TYPED:
        hint = hint.replace(said, typed)
    return f"{error.message}\n  hint: {hint}"
