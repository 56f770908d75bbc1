"""Errors in the words of the command line: the library's own speak of calls and keywords."""

from __future__ import annotations

from storekit.errors import StorekitError

__all__ = ["as_typed", "note_as_typed", "report_as_typed"]

# What the library says -> what is typed.
_TYPED = (
    ("overwrite=True", "--overwrite"),
    ("layout='storekit'", "--layout storekit"),
    ("layout='airflow-3.3'", "--layout airflow-3.3"),
    ("layout='airflow-3.4'", "--layout airflow-3.4"),
    ("leave layout out", "leave --layout out"),
    ("open_snapshot(directory) opens a snapshot", "storekit preview and storekit simulate read a snapshot"),
    ("restore(archive, store) puts rows back", "storekit restore ARCHIVE URL puts rows back"),
    ("plan.save(path) makes one", "storekit plan make URL FILE makes one"),
    ("name the file that plan.save() returned", "name the file that storekit plan make URL FILE wrote"),
    ("Snapshot.save(directory) makes one", "storekit snapshot URL DIRECTORY makes one"),
    ("name the directory that save() returned", "name the directory that storekit snapshot wrote"),
    ("pass the URL: storekit.connect('postgresql://…')", "name the database: postgresql://…"),
    ("connect(url, writable=True)", "a user who may write"),
    ("preview(now=...)", "storekit preview --now"),
    ("open it with a user who may write", "name a user who may write"),
    ("store.snapshot().plan()", "storekit plan make URL FILE"),
    ("name an airflow.cfg, or leave path out", "name an airflow.cfg, or leave --config out"),
    ("'90d', '36h', or a timedelta", "for example 90d or 36h"),
    ("'90d', '36h', or timedelta(days=90)", "for example 90d or 36h"),
    ("'1min', '30s', or a timedelta", "for example 1min or 30s"),
    ("leave now out", "leave --now out"),
    ("cleanup_every='1d'", 'give it cleanup_every = "1d", or leave it out'),
)

# The same of what a simulation rests on. Whole phrases: such a sentence may hold a policy's name.
_TYPED_NOTES = (
    (
        "Snapshot.written() shows the evidence, and defaults= settles it",
        '--format json shows the evidence, under "written"; --default settles it',
    ),
    ("Give defaults= if you know better.", "Give --default if you know better."),
    ("say so with defaults=.", "say so with --default."),
)


def as_typed(error: StorekitError) -> str:
    """Return an error's text, with its hint as something to type; the message holds names and stays as it is."""
    if error.hint is None:
        return error.message
    hint = error.hint
    for said, typed in _TYPED:
        hint = hint.replace(said, typed)
    return f"{error.message}\n  hint: {hint}"


def report_as_typed(report: str) -> str:
    """Return what a cleanup reports, with how to undo it as something to type."""
    return report.replace("(storekit.restore puts it back)", "(storekit restore FOLDER URL puts it back)")


def note_as_typed(note: str) -> str:
    """Return a sentence of what a simulation rests on, with what to do about it as something to type."""
    for said, typed in _TYPED_NOTES:
        note = note.replace(said, typed)
    return note
