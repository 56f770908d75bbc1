"""Error texts of drivers, without what a URL keeps secret.

libpq quotes the part of a URL that it could not read, and that is often a piece of a password: ``p%ss`` gives
'invalid percent-encoded token: "p%ss"', and ``p@ss`` 'could not translate host name "ss@host"'.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

__all__ = ["Redaction", "essence"]

_ENCODED = re.compile(r"%[0-9A-Fa-f]{2}")
_RESERVED = re.compile(r"[@:/?#\[\]%\s]")
_QUERY_PASSWORD = re.compile(r"[?&](?:password|passwd|pwd|sslpassword)=([^&#]*)", re.IGNORECASE)


@dataclass(frozen=True)
class Redaction:
    """What may be said of a database, and what may not.

    Parameters
    ----------
    where
        The database, without user and password.
    secrets
        Texts that no message may hold.
    ambiguous
        Whether the URL is not encoded well enough to tell its password from its host: then no driver's text
        about it may be shown.
    """

    where: str
    secrets: tuple[str, ...] = ()
    ambiguous: bool = False

    @classmethod
    def of_file(cls, path: Path) -> Redaction:
        """Return the redaction of a file: nothing of it is secret."""
        return cls(str(path))

    @classmethod
    def of_url(cls, url: str) -> Redaction:
        """Return the redaction of a URL."""
        scheme, _, rest = url.partition("://")
        userinfo, _, location = rest.rpartition("@")  # the last one: a password may hold more
        password = userinfo.partition(":")[2]
        in_query = _QUERY_PASSWORD.findall(url)
        secrets = {form for raw in (password, *in_query) for form in (raw, unquote(raw)) if form}
        ambiguous = any(_RESERVED.search(_ENCODED.sub("", part)) for part in (password, userinfo.partition(":")[0]))
        where = f"{scheme}://{re.split('[?#]', location)[0]}" if scheme and rest else "the database"
        if any(secret in where for secret in in_query):
            where = f"{scheme}://"
        return cls(where, tuple(sorted(secrets, key=len, reverse=True)), ambiguous)

    def cleaned(self, text: str) -> str | None:
        """Return a driver's text without secrets; None where that cannot be told."""
        if self.ambiguous:
            return None
        for secret in self.secrets:
            # Whole words only: a password of one letter would make the rest unreadable.
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "***", text)
        return text


def essence(text: str) -> str:
    """Return the one line of a driver's text that says what was wrong."""
    said_by_server = re.search(r"\b(?:ERROR|FATAL):\s+(.+)", text)  # libpq repeats the statement before it
    line = said_by_server[1] if said_by_server else next(iter(text.strip().splitlines()), "no reason was given")
    line = re.sub(r"^[A-Z_]+: (?=\[)|\[(?:SQLite|libpq)\] ", "", line)
    return line.strip()[:500]
