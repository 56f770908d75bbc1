"""No message holds a password, whatever the driver quotes."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storekit.errors import ConnectError
from storekit.frames.redaction import Redaction, essence
from storekit.frames.routes import AdbcPostgresRoute

PASSWORDS = st.text(st.sampled_from("@:/?#[]%&") | st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=4)


@given(password=PASSWORDS, encoded=st.booleans())
def test_the_name_of_a_database_holds_no_password(password: str, encoded: bool) -> None:
    written = quote(password, safe="") if encoded else password
    redaction = Redaction.of_url(f"postgresql://xi:{written}@10.0.0.1:5432/q?sslmode=off")
    assert redaction.where == "postgresql://10.0.0.1:5432/q"
    if encoded:
        assert not redaction.ambiguous


@given(password=PASSWORDS)
def test_a_text_that_quotes_a_password_is_cleaned_or_withheld(password: str) -> None:
    for written in (password, quote(password, safe="")):
        redaction = Redaction.of_url(f"postgresql://xi:{written}@10.0.0.1/q")
        for quoted in (password, written):
            text = redaction.cleaned(f'FATAL: no "{quoted}" there')
            assert text is None or quoted not in text


@pytest.mark.parametrize(
    "password", ["se%ret", "se/cret", "se@cret", "se:cret", "se#cret", "se?cret", "[se]cret", "s%zzt"]
)
def test_libpq_quotes_pieces_of_a_password_and_we_do_not(password: str) -> None:
    route = AdbcPostgresRoute(f"postgresql://xi:{password}@127.0.0.1:1/q")
    with pytest.raises(ConnectError) as caught, route.open("SELECT 1", ()):
        pass
    text = f"{caught.value!s}{caught.value!r}{route!r}"
    assert "percent-encode" in text
    for piece in ("cret", "ret", "zzt"):
        assert piece not in text
    assert caught.value.__cause__ is None


def test_a_password_in_the_query_is_one_too() -> None:
    redaction = Redaction.of_url("postgresql://h/q?user=u&password=hunter2")
    assert redaction.where == "postgresql://h/q"
    assert redaction.cleaned("bad hunter2!") == "bad ***!"


def test_a_refused_connection_says_where() -> None:
    with pytest.raises(ConnectError) as caught, AdbcPostgresRoute("postgresql://u:pa55@127.0.0.1:1/q").open("SELECT 1"):
        pass
    assert "postgresql://127.0.0.1:1/q cannot be read" in str(caught.value)
    assert "Connection refused" in str(caught.value)
    assert "pa55" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "INVALID_STATE: [libpq] Failed to execute query 'a\nb': ERROR:  no such thing\n. SQLSTATE: 1",
            "no such thing",
        ),
        ("INVALID_ARGUMENT: [SQLite] Failed to prepare: no column: x\nquery: q", "Failed to prepare: no column: x"),
        ("MySqlError { ERROR 1045 (28000): Access denied }", "MySqlError { ERROR 1045 (28000): Access denied }"),
        ("", "no reason was given"),
    ],
)
def test_the_essence_is_one_line(text: str, line: str) -> None:
    assert essence(text) == line
