"""How databases are named, opened and refused: no credentials in any text, and reading that cannot write."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import example, given, settings
from hypothesis import strategies as st
from parts import LAYOUT_NAMES, Family, Sandboxes, require, server_url
from stores import open_store

from storekit.config import StateStoreConfig
from storekit.errors import (
    ConnectError,
    InvalidKeyError,
    InvalidValueError,
    LayoutError,
    MissingDriverError,
    ReadOnlyError,
    StorekitError,
    WriteError,
)
from storekit.metastore import MetastoreStateBackend, engines
from storekit.metastore.engines import Database
from storekit.metastore.layouts import layout_named
from storekit.metastore.urls import parse_url
from storekit.state import NEVER_EXPIRE, AssetScope, TaskScope

PLAIN = StateStoreConfig()
SCOPE = TaskScope("etl", "monday", "load")
MARK = "Hunter2"

PASSWORDS = st.builds(
    lambda before, after: f"{before}{MARK}{after}",
    st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), max_size=6),
    st.text(st.sampled_from("@%:/?#[]'\"\\& +é😀"), max_size=6),
)

# --- URLs ---


@pytest.mark.parametrize(
    ("url", "family", "described"),
    [
        ("sqlite://", "sqlite", "sqlite:// (in memory)"),
        ("sqlite:///:memory:", "sqlite", "sqlite:// (in memory)"),
        ("sqlite:///a.db", "sqlite", "sqlite:///a.db"),
        ("sqlite:////tmp/a.db", "sqlite", "sqlite:////tmp/a.db"),
        ("a.db", "sqlite", "sqlite:///a.db"),
        (Path("/tmp/a.db"), "sqlite", "sqlite:////tmp/a.db"),  # noqa: S108
        ("postgres://u:p@h/d", "postgresql", "postgresql://h/d"),
        ("postgresql://u@h:5433/d", "postgresql", "postgresql://h:5433/d"),
        ("postgresql+psycopg2://u@h/d", "postgresql", "postgresql://h/d"),
        ("postgresql+asyncpg://u@h/d", "postgresql", "postgresql://h/d"),
        ("mysql://u:p@h/d", "mysql", "mysql://h/d"),
        ("mysql+mysqldb://u:p@h/d?charset=utf8mb4", "mysql", "mysql://h/d"),
        ("mariadb+pymysql://u:p@h/d", "mysql", "mysql://h/d"),
        ("postgresql:///d", "postgresql", "postgresql://localhost/d"),
        (sa.URL.create("postgresql", "u", "p", "h", database="d"), "postgresql", "postgresql://h/d"),
    ],
)
def test_a_url_is_of_a_family(url: Any, family: str, described: str) -> None:
    parsed = parse_url(url)
    assert (parsed.family, parsed.describe()) == (family, described)
    assert repr(parsed) == f"DatabaseUrl({described})"


@pytest.mark.parametrize(
    ("family", "sync", "awaited"),
    [
        ("postgresql+psycopg2", "postgresql+psycopg", "postgresql+psycopg"),
        ("mysql+mysqldb", "mysql+pymysql", "mysql+aiomysql"),
        ("mariadb", "mysql+pymysql", "mysql+aiomysql"),
    ],
)
def test_each_family_has_its_drivers(family: str, sync: str, awaited: str) -> None:
    parsed = parse_url(f"{family}://u:p%40@h:1/d?x=1")
    assert parsed.sync_url("ro").render_as_string(hide_password=False) == f"{sync}://u:p%40@h:1/d?x=1"
    assert parsed.async_url("ro").render_as_string(hide_password=False) == f"{awaited}://u:p%40@h:1/d?x=1"


@given(
    user=st.text(min_size=1, max_size=8).filter(lambda each: each.isprintable()),
    password=PASSWORDS,
    family=st.sampled_from(["postgresql", "mysql", "postgresql+psycopg2", "mariadb+mysqldb"]),
)
def test_a_password_is_kept_for_the_driver_and_shown_to_no_one(user: str, password: str, family: str) -> None:
    url = sa.URL.create(family, user, password, "host", 1234, "airflow").render_as_string(hide_password=False)
    parsed = parse_url(url)
    assert parsed.sync_url("rw").password == password
    assert parsed.async_url("rw").password == password
    assert sa.make_url(parsed.native_uri()).password == password
    for shown in (repr(parsed), str(parsed), parsed.describe(), f"{parsed}", repr([parsed]), repr(copy.copy(parsed))):
        assert MARK not in shown


@given(password=PASSWORDS)
@example(password=f"a@{MARK}")
@example(password=f"a:{MARK}")
@example(password=f"a/{MARK}@")
@example(password=f"@{MARK}:5432/x")
@example(password=f"#{MARK}?")
def test_a_password_that_was_not_encoded_is_not_shown_either(password: str) -> None:
    """Users forget to percent-encode; then any part of the password may land in any part of the URL."""
    for url in (f"postgresql://user:{password}@127.0.0.1:1/db", f"user:{password}@127.0.0.1/db"):
        try:
            shown = parse_url(url).describe()
        except ConnectError as error:
            shown = credentials_in(error)
        # With an '@' and a '?' the rest reads as a URL's query, and the part between them as its host.
        if not {"@", "?"} <= set(password):
            assert MARK not in shown


def credentials_in(error: BaseException) -> str:
    """Everything that a report of this error would print, causes included, without the test's own source lines."""
    texts = []
    current: BaseException | None = error
    while current is not None:
        texts += [str(current), repr(current), *map(str, current.args)]
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return "\n".join(texts)


@settings(max_examples=15)
@given(password=PASSWORDS, family=st.sampled_from(["postgresql", "mysql"]), awaited=st.booleans())
def test_a_failed_connection_tells_no_password(password: str, family: str, awaited: bool) -> None:
    url = sa.URL.create(family, "someone", password, "127.0.0.1", 1, "airflow").render_as_string(hide_password=False)
    backend = MetastoreStateBackend(url, config=PLAIN)
    with pytest.raises(ConnectError) as refused:
        asyncio.run(backend.aget(SCOPE, "key")) if awaited else backend.get(SCOPE, "key")
    assert MARK not in credentials_in(refused.value)
    assert f"{family}://127.0.0.1:1/airflow" in str(refused.value)
    assert MARK not in repr(backend) + repr(backend.database) + repr(backend.database.url)
    backend.close()


def test_a_true_wrong_password(caplog: pytest.LogCaptureFixture) -> None:
    require("mysql")
    caplog.set_level(logging.DEBUG)
    url = server_url("mysql").set(drivername="mysql", username="sktest_nobody", password=f"{MARK}@'%")
    backend = MetastoreStateBackend(url, config=PLAIN)
    with pytest.raises(ConnectError, match="refused the user or the password") as refused:
        backend.get(SCOPE, "key")
    with pytest.raises(ConnectError, match="refused the user or the password") as refused_awaited:
        asyncio.run(backend.aget(SCOPE, "key"))
    backend.close()
    shown = credentials_in(refused.value) + credentials_in(refused_awaited.value) + caplog.text
    assert MARK not in shown


@pytest.mark.parametrize("family", ["postgres", "mysql"])
def test_a_missing_database_is_named(family: Any) -> None:
    require(family)
    url = server_url(family).set(drivername="postgresql" if family == "postgres" else "mysql", database="sktest_none")
    with pytest.raises(ConnectError, match="sktest_none") as refused:
        MetastoreStateBackend(url, config=PLAIN).get(SCOPE, "key")
    assert "sktest_none" in str(refused.value)


def test_values_are_not_in_errors_or_logs(sandboxes: Sandboxes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("sqlalchemy.engine").setLevel(logging.DEBUG)
    try:
        store = open_store(sandboxes, "sqlite", "storekit")
        store.add_dag_run("etl", "monday")
        store.backend.set(SCOPE, "key", f'"{MARK}"')
        sandboxes.get("sqlite").engine.connect().exec_driver_sql("DROP TABLE task_store").connection.close()
        with pytest.raises(StorekitError) as refused:
            store.backend.set(SCOPE, "key", f'"{MARK}"')
        store.backend.close()
    finally:
        logging.getLogger("sqlalchemy.engine").setLevel(logging.NOTSET)
        sandbox = sandboxes.get("sqlite")
        sandbox.hold("airflow-3.3")
    assert MARK not in caplog.text + credentials_in(refused.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("oracle://u:p@h/d", "oracle"),
        ("snowflake+x://h/d", "snowflake"),
        ("sqlite://airflow.db", "a SQLite URL has no host"),
        ("", "neither a database URL nor a file"),
        ("   ", "neither"),
        ("postgresql:/h/d", "neither"),
        ("://", "cannot be parsed"),
        ("postgresql://h:port/d", "cannot be parsed"),
    ],
)
def test_a_url_that_leads_nowhere(url: str, said: str) -> None:
    with pytest.raises(ConnectError, match=said) as refused:
        parse_url(url)
    assert refused.value.hint


# --- drivers ---


@pytest.mark.parametrize(
    ("url", "driver", "extra"),
    [
        ("postgresql://h/d", "psycopg", "postgres"),
        ("mysql://h/d", "pymysql", "mysql"),
        ("mariadb://h/d", "pymysql", "mysql"),
    ],
)
def test_a_missing_driver_names_its_extra(url: str, driver: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, driver, None)
    with pytest.raises(MissingDriverError) as refused:
        Database(url, access="ro")
    assert refused.value.hint == f"pip install 'storekit[{extra}]'"
    assert isinstance(refused.value, ImportError)


# --- SQLite files ---


def test_a_missing_file_is_not_made(tmp_path: Path) -> None:
    for access in ("ro", "rw"):
        with pytest.raises(ConnectError, match="no such file"):
            Database(tmp_path / "none.db", access=access)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_not_a_database(tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match="is a folder"):
        Database(tmp_path, access="ro")


def test_a_text_file_is_not_a_database(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    path.write_text("not a database at all, but long enough to have a header\n" * 40)
    with pytest.raises(ConnectError, match="is not a SQLite database"):
        _ = Database(path, access="ro").layout


@pytest.mark.parametrize("name", ["a b.db", "a%20b.db", "a?b.db", "a#b.db", "é😀.db", "a'b.db", "a&mode=rw.db"])
def test_a_file_of_any_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    made = MetastoreStateBackend(path, config=PLAIN)
    made.create_tables()
    made.add_dag_run("etl", "monday")
    asyncio.run(made.aset(SCOPE, "key", "1"))
    made.close()
    assert [each.name for each in tmp_path.iterdir()] == [name]
    reading = MetastoreStateBackend(path, config=PLAIN, access="ro")
    assert reading.get(SCOPE, "key") == "1"
    with pytest.raises(ReadOnlyError):
        reading.set(SCOPE, "key", "2")
    reading.close()


def test_a_locked_file_is_said_to_be_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_SQLITE_BUSY_SECONDS", 0.05)
    path = tmp_path / "locked.db"
    backend = MetastoreStateBackend(path, config=PLAIN)
    backend.create_tables()
    backend.add_dag_run("etl", "monday")
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(WriteError, match="locked by another writer"):
        backend.set(SCOPE, "key", "1")
    holder.execute("ROLLBACK")
    holder.close()
    backend.set(SCOPE, "key", "1")
    backend.close()


# --- reading only ---

READ_ONLY_MATRIX = [(family, layout) for family in ("sqlite", "postgres", "mysql") for layout in LAYOUT_NAMES]


@pytest.mark.parametrize(("family", "layout_name"), READ_ONLY_MATRIX)
def test_reading_only_cannot_write(sandboxes: Sandboxes, family: Family, layout_name: str) -> None:
    store = open_store(sandboxes, family, layout_name)
    store.add_dag_run("etl", "monday")
    asset = AssetScope(asset_id=store.add_asset("orders", "s3://orders"))
    store.backend.set(SCOPE, "key", "1")
    store.backend.set(asset, "key", "1")
    store.backend.close()

    reading = MetastoreStateBackend(sandboxes.get(family).url, config=PLAIN, access="ro")
    assert reading.get(SCOPE, "key") == "1"
    assert asyncio.run(reading.aget(asset, "key")) == "1"
    writes: list[Callable[[], Any]] = [
        lambda: reading.set(SCOPE, "key", "2"),
        lambda: reading.set(SCOPE, "new", "2", expires_at=NEVER_EXPIRE),
        lambda: reading.set(asset, "key", "2"),
        lambda: reading.delete(SCOPE, "key"),
        lambda: reading.delete(asset, "key"),
        lambda: reading.clear(SCOPE, all_map_indices=True),
        lambda: reading.clear(asset),
        lambda: reading.cleanup(),
        lambda: reading.cleanup(batch_size=10),
        lambda: asyncio.run(reading.aset(SCOPE, "key", "2")),
        lambda: asyncio.run(reading.adelete(SCOPE, "key")),
        lambda: asyncio.run(reading.aclear(SCOPE)),
    ]
    for write in writes:
        with pytest.raises(ReadOnlyError) as refused:
            write()
        assert refused.value.hint
    assert reading.get(SCOPE, "key") == "1"
    assert reading.get(asset, "key") == "1"
    reading.close()


def test_a_read_only_connection_keeps_the_users_own_options(sandboxes: Sandboxes) -> None:
    url = sa.make_url(sandboxes.get("postgres").url).update_query_dict({"options": "-c statement_timeout=4321"})
    database = Database(url, access="ro")
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW statement_timeout").scalar() == "4321ms"
        assert connection.exec_driver_sql("SHOW transaction_read_only").scalar() == "on"
    database.dispose()


# --- layouts ---


@pytest.mark.parametrize("layout_name", LAYOUT_NAMES)
@pytest.mark.parametrize("family", ["sqlite", "postgres", "mysql"])
def test_a_layout_is_found_by_its_columns(sandboxes: Sandboxes, family: Family, layout_name: str) -> None:
    sandboxes.get(family).hold(layout_name)
    database = Database(sandboxes.get(family).url, access="ro")
    assert database.layout.name == layout_name
    database.dispose()


def test_two_stores_in_one_database_must_be_told_apart(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'two.db'}"
    engine = sa.create_engine(url)
    layout_named("airflow-3.3").metadata.create_all(engine)
    layout_named("storekit").metadata.create_all(engine)
    engine.dispose()
    with pytest.raises(LayoutError, match=r"more than one state store: storekit, airflow-3\.3"):
        _ = Database(url, access="ro").layout
    assert Database(url, access="ro", layout="airflow-3.3").layout.name == "airflow-3.3"


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("ALTER TABLE task_store RENAME COLUMN value TO val", r"lacks task_store\.value"),
        ("DROP TABLE asset_active", "lacks asset_active"),
        ("DROP TABLE task_store", "has no state store"),
    ],
)
def test_a_half_layout_says_what_it_lacks(tmp_path: Path, statement: str, said: str) -> None:
    path = tmp_path / "half.db"
    backend = MetastoreStateBackend(path, config=PLAIN)
    backend.create_tables()
    backend.close()
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()
    with pytest.raises(LayoutError, match=said) as refused:
        _ = Database(path, access="ro").layout
    assert refused.value.hint


def test_an_unknown_layout_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="airflow-9") as refused:
        Database(tmp_path / "a.db", access="rwc", layout="airflow-9")
    for name in LAYOUT_NAMES:
        assert name in str(refused.value)


@pytest.mark.parametrize("layout_name", ["airflow-3.3", "airflow-3.4"])
def test_no_tables_are_made_in_an_airflow_database(sandboxes: Sandboxes, layout_name: str) -> None:
    store = open_store(sandboxes, "sqlite", layout_name)
    with pytest.raises(LayoutError, match="is an Airflow database"):
        store.backend.create_tables()
    for call in (
        lambda: store.backend.add_dag_run("d", "r"),
        lambda: store.backend.delete_dag_run("d", "r"),
        lambda: store.backend.add_asset(name="a", uri="b"),
        lambda: store.backend.deactivate_asset(AssetScope(name="a")),
        lambda: store.backend.delete_asset(AssetScope(name="a")),
        lambda: store.backend.add_task_instance(SCOPE),
        lambda: store.backend.set_task_instance_state(SCOPE, "success"),
    ):
        with pytest.raises(LayoutError, match="by Airflow, not by storekit"):
            call()
    store.backend.close()


@pytest.mark.parametrize("layout_name", ["airflow-3.3", "airflow-3.4"])
def test_what_airflows_mysql_cannot_hold_is_refused_by_name(sandboxes: Sandboxes, layout_name: str) -> None:
    store = open_store(sandboxes, "mysql", layout_name)
    store.add_dag_run("etl", "monday")
    with pytest.raises(InvalidKeyError, match="character set"):
        store.backend.set(SCOPE, "😀", "1")
    store.backend.set(SCOPE, "value", '"😀"')  # values are utf8mb4
    assert store.backend.get(SCOPE, "value") == '"😀"'
    store.backend.close()


@pytest.mark.parametrize("family", ["sqlite", "postgres", "mysql"])
def test_a_lone_surrogate_is_refused_as_a_value(sandboxes: Sandboxes, family: Family) -> None:
    store = open_store(sandboxes, family, "storekit")
    store.add_dag_run("etl", "monday")
    for call in (
        lambda: store.backend.set(SCOPE, "key", "a\ud800"),
        lambda: asyncio.run(store.backend.aset(SCOPE, "key", "a\ud800")),
        lambda: store.backend.get(SCOPE, "a\ud800"),
    ):
        with pytest.raises(InvalidValueError, match="lone surrogate"):
            call()
    assert store.backend.get(SCOPE, "key") is None
    store.backend.close()


@pytest.mark.parametrize("family", ["sqlite", "postgres", "mysql"])
def test_nul_in_a_value_is_refused(sandboxes: Sandboxes, family: Family) -> None:
    store = open_store(sandboxes, family, "storekit")
    store.add_dag_run("etl", "monday")
    with pytest.raises(InvalidValueError, match="NUL"):
        store.backend.set(SCOPE, "key", "a\x00b")
    store.backend.close()


def test_errors_survive_pickling() -> None:
    """A worker process hands its errors to its parent."""
    error = ConnectError("said", hint="do")
    back = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (type(back), str(back), back.hint) == (ConnectError, str(error), "do")
