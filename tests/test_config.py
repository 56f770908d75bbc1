"""Configuration: file, then environment, then keywords; and every mistake said once, with its value and source."""

from __future__ import annotations

import json
import os
import pickle
import string
import subprocess
import sys
import types
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parts import airflow_python, require

from storekit.config import (
    DEFAULT_BACKEND,
    StateStoreConfig,
    UnknownOptionWarning,
    metadata_database_url,
    resolve_backend_class,
)
from storekit.errors import ConfigError
from storekit.metastore import MetastoreStateBackend
from storekit.state import BaseStoreBackend

GOOD: dict[str, st.SearchStrategy[Any]] = {
    "default_retention_days": st.integers(0, 10_000),
    "clear_on_success": st.booleans(),
    "state_cleanup_batch_size": st.integers(0, 10**9),
    "max_value_storage_bytes": st.integers(0, 10**12),
    "backend": st.sampled_from(["my.package.Backend", DEFAULT_BACKEND]),
}
SOME = st.fixed_dictionaries({}, optional=GOOD)


def write_cfg(folder: Path, text: str) -> Path:
    path = folder / "airflow.cfg"
    path.write_text(text, encoding="utf-8")
    return path


def as_section(options: dict[str, Any]) -> str:
    return "[state_store]\n" + "".join(f"{name} = {value}\n" for name, value in options.items())


def as_environment(options: dict[str, Any]) -> dict[str, str]:
    return {f"AIRFLOW__STATE_STORE__{name.upper()}": str(value) for name, value in options.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("config")


# --- precedence ---


def test_the_defaults_are_the_seeds() -> None:
    config = StateStoreConfig()
    assert config.backend == "storekit.metastore.MetastoreStateBackend"
    assert config.default_retention_days == 30
    assert config.clear_on_success is False
    assert config.state_cleanup_batch_size == 0
    assert config.max_value_storage_bytes == 65535
    assert config.state_backend is None
    assert StateStoreConfig.load(environ={"AIRFLOW_HOME": "/no/such/folder"}) == config


@given(in_file=SOME, in_environment=SOME, as_keywords=SOME)
def test_a_keyword_beats_the_environment_beats_the_file(
    folder: Path, in_file: dict[str, Any], in_environment: dict[str, Any], as_keywords: dict[str, Any]
) -> None:
    path = write_cfg(folder, as_section(in_file))
    config = StateStoreConfig.load(path, environ=as_environment(in_environment), **as_keywords)
    expected = StateStoreConfig().model_dump() | in_file | in_environment | as_keywords
    assert config.model_dump() == expected


@pytest.mark.parametrize("variable", ["AIRFLOW_CONFIG", "AIRFLOW_HOME"])
def test_the_file_is_found_by_the_environment(tmp_path: Path, variable: str) -> None:
    path = write_cfg(tmp_path, as_section({"default_retention_days": 7}))
    environ = {variable: str(path if variable == "AIRFLOW_CONFIG" else tmp_path)}
    assert StateStoreConfig.load(environ=environ).default_retention_days == 7


def test_airflow_config_beats_airflow_home(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    write_cfg(tmp_path / "home", as_section({"default_retention_days": 1}))
    path = write_cfg(tmp_path, as_section({"default_retention_days": 2}))
    environ = {"AIRFLOW_HOME": str(tmp_path / "home"), "AIRFLOW_CONFIG": str(path)}
    assert StateStoreConfig.load(environ=environ).default_retention_days == 2


@pytest.mark.parametrize(
    ("cfg", "environ", "expected"),
    [
        ("[workers]\nstate_backend = a.B\n", {}, "a.B"),
        ("[workers]\nstate_store_backend = a.C\n", {}, "a.C"),
        ("[workers]\nstate_backend = a.B\nstate_store_backend = a.C\n", {}, "a.B"),
        ("[workers]\nstate_backend =\nstate_store_backend = a.C\n", {}, "a.C"),
        ("[workers]\nstate_backend = a.B\n", {"AIRFLOW__WORKERS__STATE_STORE_BACKEND": "a.D"}, "a.D"),
        ("", {"AIRFLOW__WORKERS__STATE_BACKEND": "a.E", "AIRFLOW__WORKERS__STATE_STORE_BACKEND": "a.D"}, "a.E"),
        ("", {}, None),
    ],
)
def test_the_worker_backend_under_either_name(tmp_path: Path, cfg: str, environ: dict[str, str], expected: Any) -> None:
    assert StateStoreConfig.load(write_cfg(tmp_path, cfg), environ=environ).state_backend == expected


@pytest.mark.parametrize(("text", "value"), [("True", True), ("t", True), ("1", True), ("FALSE", False), ("0", False)])
def test_booleans_are_spelt_as_airflow_does(text: str, value: bool) -> None:
    environ = as_environment({"clear_on_success": text}) | {"AIRFLOW_HOME": "/no/such/folder"}
    assert StateStoreConfig.load(environ=environ).clear_on_success is value


# --- mistakes ---

BAD: list[tuple[str, str]] = [
    ("default_retention_days", "-1"),
    ("default_retention_days", "soon"),
    ("default_retention_days", "1.5"),
    ("default_retention_days", "30 days"),
    ("default_retention_days", ""),
    ("default_retention_days", str(timedelta.max.days + 1)),
    ("clear_on_success", "maybe"),
    ("clear_on_success", ""),
    ("state_cleanup_batch_size", "-10"),
    ("state_cleanup_batch_size", "all"),
    ("max_value_storage_bytes", "64k"),
    ("backend", ""),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_value_in_the_environment(name: str, value: str) -> None:
    variable = f"AIRFLOW__STATE_STORE__{name.upper()}"
    with pytest.raises(ConfigError) as refused:
        StateStoreConfig.load(environ={variable: value, "AIRFLOW_HOME": "/no/such/folder"})
    said = str(refused.value)
    assert repr(value) in said
    assert variable in said
    assert refused.value.hint


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_value_in_a_file(tmp_path: Path, name: str, value: str) -> None:
    path = write_cfg(tmp_path, as_section({name: value}))
    with pytest.raises(ConfigError) as refused:
        StateStoreConfig.load(path, environ={})
    said = str(refused.value)
    assert f"{name} = {value!r}" in said
    assert str(path) in said
    assert "[state_store]" in said
    assert refused.value.hint


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_value_as_a_keyword(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match="keyword") as refused:
        StateStoreConfig.load(environ={"AIRFLOW_HOME": "/no/such/folder"}, **{name: value})
    assert repr(value) in str(refused.value)


@pytest.mark.parametrize(("name", "value"), [*BAD, ("nonsense", 1)])
def test_the_constructor_has_the_same_one_error(name: str, value: Any) -> None:
    with pytest.raises(ConfigError) as refused:
        StateStoreConfig(**{name: value})
    assert f"{name} " in str(refused.value)
    assert repr(value) in str(refused.value) or name == "nonsense"
    assert "pydantic" not in str(refused.value)
    good = StateStoreConfig(default_retention_days=3)
    assert pickle.loads(pickle.dumps(good)) == good == StateStoreConfig.model_validate(good.model_dump())  # noqa: S301


@given(
    days=st.integers(max_value=-1) | st.text(string.ascii_letters, min_size=1),
    batch=st.integers(max_value=-1),
    limit=st.integers(max_value=-1),
)
def test_all_mistakes_are_said_at_once(days: Any, batch: int, limit: int) -> None:
    environ = as_environment({"default_retention_days": days, "state_cleanup_batch_size": batch})
    with pytest.raises(ConfigError) as refused:
        StateStoreConfig.load(environ=environ | {"AIRFLOW_HOME": "/no"}, max_value_storage_bytes=limit, nonsense=1)
    said = str(refused.value)
    for part in (
        repr(str(days)),
        repr(str(batch)),
        repr(limit),
        "AIRFLOW__STATE_STORE__DEFAULT_RETENTION_DAYS",
        "AIRFLOW__STATE_STORE__STATE_CLEANUP_BATCH_SIZE",
        "given as a keyword",
        "nonsense",
    ):
        assert part in said


def test_an_overridden_mistake_is_none(tmp_path: Path) -> None:
    path = write_cfg(tmp_path, as_section({"default_retention_days": "soon"}))
    config = StateStoreConfig.load(path, environ={"AIRFLOW__STATE_STORE__DEFAULT_RETENTION_DAYS": "3"})
    assert config.default_retention_days == 3


def test_an_unknown_option_suggests_the_nearest(tmp_path: Path) -> None:
    path = write_cfg(tmp_path, "[state_store]\ndefault_retention_day = 3\n")
    with pytest.raises(ConfigError, match="did you mean default_retention_days"):
        StateStoreConfig.load(path, environ={})


@pytest.mark.parametrize("section", ["task_store", "asset_store", "task_state_store", "state-store", "Task_Store"])
def test_a_mistaken_section_is_pointed_out(tmp_path: Path, section: str) -> None:
    path = write_cfg(tmp_path, f"[{section}]\ndefault_retention_days = 3\n")
    with pytest.raises(ConfigError, match=r"rename it to \[state_store\]") as refused:
        StateStoreConfig.load(path, environ={})
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("section", ["TASK_STORE", "ASSET_STORE", "STATESTORE"])
def test_a_mistaken_section_in_the_environment(section: str) -> None:
    variable = f"AIRFLOW__{section}__DEFAULT_RETENTION_DAYS"
    with pytest.raises(ConfigError, match="AIRFLOW__STATE_STORE__DEFAULT_RETENTION_DAYS") as refused:
        StateStoreConfig.load(environ={variable: "3", "AIRFLOW_HOME": "/no"})
    assert variable in str(refused.value)


def test_a_missing_file_is_an_error_only_if_it_was_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file") as refused:
        StateStoreConfig.load(tmp_path / "none.cfg", environ={})
    assert str(tmp_path / "none.cfg") in str(refused.value)


@pytest.mark.parametrize(
    "content", [b"default_retention_days = 3\n", b"[state_store\nx = 1\n", b"\xff\xfe\x00", b"[a]\nx\n"]
)
def test_what_is_no_airflow_cfg_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "airflow.cfg"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="cannot be read") as refused:
        StateStoreConfig.load(path, environ={})
    assert str(path) in str(refused.value)


def test_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        StateStoreConfig.load(tmp_path, environ={})


def test_other_sections_and_interpolation_are_left_alone(tmp_path: Path) -> None:
    path = write_cfg(
        tmp_path,
        "[core]\nfernet_key = 100%{x}\n[logging]\nlog_format = %(asctime)s\n[state_store]\nclear_on_success = 1\n",
    )
    assert StateStoreConfig.load(path, environ={"AIRFLOW__CORE__PARALLELISM": "1"}).clear_on_success is True


def test_a_config_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        StateStoreConfig().default_retention_days = 1  # type: ignore[misc]


@given(days=st.integers(0, timedelta.max.days))
def test_the_default_retention_as_a_duration(days: int) -> None:
    retention = StateStoreConfig(default_retention_days=days).default_retention
    assert retention == (timedelta(days=days) if days else None)


@pytest.mark.parametrize("head", [b"\xef\xbb\xbf", b""])
@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_a_byte_order_mark_and_either_line_end(tmp_path: Path, head: bytes, end: bytes) -> None:
    path = tmp_path / "airflow.cfg"
    path.write_bytes(
        head + end.join([b"[state_store]", b"default_retention_days = 3", b"clear_on_success = True # on", b""])
    )
    config = StateStoreConfig.load(path, environ={})
    assert (config.default_retention_days, config.clear_on_success) == (3, True)


LATER = "max_keys_per_task"  # no option of Airflow's so far


def test_a_later_airflows_options_are_warned_of_and_ignored(tmp_path: Path) -> None:
    path = write_cfg(tmp_path, f"[state_store]\n{LATER} = 3\ndefault_retention_days = 7\nretention_days = 1\n")
    with pytest.warns(UnknownOptionWarning) as said:
        config = StateStoreConfig.load(path, environ={f"AIRFLOW__STATE_STORE__{LATER.upper()}": "%"})
    assert config == StateStoreConfig(default_retention_days=7)
    assert len(said) == 1
    text = str(said[0].message)
    assert "did you mean default_retention_days" in text
    assert text.count(f"{LATER} (") == 2  # the file's and the variable's, in one warning
    assert LATER.upper() in text
    assert str(path) in text
    assert said[0].filename == __file__
    with pytest.raises(ConfigError, match=LATER):
        StateStoreConfig.load(environ={"AIRFLOW_HOME": "/no"}, **{LATER: 3})


@pytest.mark.parametrize("slip", ["default_retention_day", "bakend", "clear_on_sucess", "max_value_storage_byte"])
def test_a_slip_of_the_pen_is_an_error(tmp_path: Path, slip: str) -> None:
    path = write_cfg(tmp_path, f"[state_store]\n{slip} = 1\n")
    with pytest.raises(ConfigError, match="did you mean"):
        StateStoreConfig.load(path, environ={})
    with pytest.raises(ConfigError, match="did you mean"):
        StateStoreConfig.load(environ={f"AIRFLOW__STATE_STORE__{slip.upper()}": "1", "AIRFLOW_HOME": "/no"})


def test_a_worker_option_in_our_section_is_pointed_out(tmp_path: Path) -> None:
    path = write_cfg(tmp_path, "[state_store]\nstate_store_backend = a.B\n")
    with pytest.raises(ConfigError, match=r"is an option of \[workers\]"):
        StateStoreConfig.load(path, environ={})


@pytest.mark.parametrize("section", ["statestor", "state_stores", "State Store", "STATE_STORE", "statstor"])
def test_a_section_that_is_nearly_ours_is_pointed_out(tmp_path: Path, section: str) -> None:
    with pytest.raises(ConfigError, match=r"rename it to \[state_store\]"):
        StateStoreConfig.load(write_cfg(tmp_path, f"[{section}]\nx = 3\n"), environ={})


def test_no_section_of_airflows_is_taken_for_ours(tmp_path: Path) -> None:
    sections = (
        "core database logging metrics traces secrets api workers sdk api_auth execution_api lineage operators email "
        "smtp sentry scheduler connection_test triggerer kerberos sensors dag_processor profiling callbacks date_store"
    )
    text = "".join(f"[{section}]\nx = 1\n" for section in sections.split())
    assert StateStoreConfig.load(write_cfg(tmp_path, text), environ={}) == StateStoreConfig()


def test_an_empty_variable_overrides_the_files_worker_backend(tmp_path: Path) -> None:
    path = write_cfg(tmp_path, "[workers]\nstate_backend = a.B\nstate_store_backend = a.C\n")
    environ = {"AIRFLOW__WORKERS__STATE_STORE_BACKEND": ""}
    assert StateStoreConfig.load(path, environ=environ).state_backend is None


def test_variables_are_upper_case_as_airflow_builds_them() -> None:
    environ = {
        "AIRFLOW__state_store__default_retention_days": "3",
        "AIRFLOW__statestore__x": "1",
        "AIRFLOW_HOME": "/no",
    }
    assert StateStoreConfig.load(environ=environ) == StateStoreConfig()


def test_a_default_sections_options_hold_where_ours_is(tmp_path: Path) -> None:
    path = write_cfg(tmp_path, "[DEFAULT]\ndefault_retention_days = 3\nbackend = x.Y\n[state_store]\nbackend = a.B\n")
    config = StateStoreConfig.load(path, environ={})
    assert (config.default_retention_days, config.backend) == (3, "a.B")


def test_an_option_is_interpolated_only_when_it_is_asked_for(tmp_path: Path) -> None:
    path = write_cfg(tmp_path, "[state_store]\nbackend = s3cret%40x.Y\n[database]\nsql_alchemy_conn = a%40b\n")
    with pytest.raises(ConfigError, match="%%") as refused:
        StateStoreConfig.load(path, environ={})
    for part in (str(path), "[state_store] backend"):
        assert part in str(refused.value)
    assert "s3cret" not in str(refused.value)
    assert StateStoreConfig.load(path, environ={}, backend="a.B").backend == "a.B"
    assert StateStoreConfig.load(path, environ={"AIRFLOW__STATE_STORE__BACKEND": "a.B"}).backend == "a.B"


def test_without_a_file_the_environment_alone_counts(tmp_path: Path) -> None:
    write_cfg(tmp_path, "[state_store]\ndefault_retention_days = 3\n[statestor]\n")
    environ = {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__STATE_STORE__CLEAR_ON_SUCCESS": "1"}
    config = StateStoreConfig.from_environment(environ=environ, max_value_storage_bytes=5)
    assert config == StateStoreConfig(clear_on_success=True, max_value_storage_bytes=5)


# --- classes by their paths ---


@pytest.fixture
def module() -> Iterator[types.ModuleType]:
    made = types.ModuleType("storekit_test_plugin")
    methods = {name: lambda self, *args, **kwargs: None for name in BaseStoreBackend.__abstractmethods__}
    made.Good = type("Good", (BaseStoreBackend,), methods)  # type: ignore[attr-defined]
    made.NotABackend = type("NotABackend", (), {})  # type: ignore[attr-defined]
    made.function = lambda: None  # type: ignore[attr-defined]
    hooks = [
        f"{side}serialize_{what}_state_store_{way}_ref"
        for what in ("task", "asset")
        for side, way in (("", "to"), ("de", "from"))
    ]
    names = {*BaseStoreBackend.__abstractmethods__, *hooks}
    made.Released = type("Released", (), {name: lambda self, *args, **kwargs: None for name in names})  # type: ignore[attr-defined]
    sys.modules[made.__name__] = made
    yield made
    del sys.modules[made.__name__]


def test_a_backend_is_found_by_its_path(module: Any) -> None:
    assert resolve_backend_class("storekit_test_plugin.Good", option="backend") is module.Good
    config = StateStoreConfig(backend="storekit_test_plugin.Good", state_backend="storekit_test_plugin.Good")
    assert config.resolve_backend() is module.Good
    assert config.custom_backend == "storekit_test_plugin.Good"
    assert type(config.make_worker_backend()) is module.Good


def test_a_released_worker_backend_is_adapted(module: Any) -> None:
    made = StateStoreConfig(state_backend="storekit_test_plugin.Released").make_worker_backend()
    assert isinstance(made, BaseStoreBackend)
    with pytest.raises(ConfigError, match="adapt_backend"):
        StateStoreConfig(backend="storekit_test_plugin.Released").resolve_backend()


@pytest.mark.parametrize(
    "path",
    [
        DEFAULT_BACKEND,
        "storekit.MetastoreStateBackend",
        "airflow.state.metastore.MetastoreBackend",
        "storekit.airflow.CleaningMetastoreBackend",
    ],
)
def test_every_name_of_the_metastore_is_the_metastore(path: str) -> None:
    config = StateStoreConfig(backend=path)
    assert config.custom_backend is None
    assert config.resolve_backend() is MetastoreStateBackend


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("Backend", "is not a dotted path"),
        ("no_such_module_at_all.Backend", "there is no module 'no_such_module_at_all'"),
        ("storekit_test_plugin.Goood", "did you mean Good"),
        ("storekit_test_plugin.NotABackend", "is not a subclass of BaseStoreBackend"),
        ("storekit_test_plugin.function", "is not a class but function"),
        ("storekit_test_plugin.deeper.Backend", "there is no module"),
        (".Backend", "is not a dotted path"),
        ("storekit..Backend", ""),
        (" ", "is not a dotted path"),
    ],
)
def test_a_path_that_leads_nowhere(module: Any, path: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        resolve_backend_class(path, option="[state_store] backend")
    assert said in str(refused.value)
    assert repr(path) in str(refused.value)
    assert "[state_store] backend" in str(refused.value)
    assert refused.value.hint


def test_a_module_that_fails_to_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "storekit_broken_a.py").write_text("import no_such_dependency\n")
    (tmp_path / "storekit_broken_b.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match="imports 'no_such_dependency', which is not installed"):
        resolve_backend_class("storekit_broken_a.Backend", option="backend")
    with pytest.raises(ConfigError, match="ZeroDivisionError"):
        resolve_backend_class("storekit_broken_b.Backend", option="backend")


def test_a_module_that_exits_does_not_end_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "storekit_broken_c.py").write_text("import sys\nsys.exit(3)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match="SystemExit: 3"):
        resolve_backend_class("storekit_broken_c.Backend", option="backend")


def test_a_worker_backend_that_cannot_be_made(module: Any) -> None:
    def refuse(self: object) -> None:
        raise RuntimeError("no bucket")

    module.Refusing = type("Refusing", (module.Good,), {"__init__": refuse})
    module.Exiting = type("Exiting", (module.Good,), {"__init__": lambda self: sys.exit(3)})
    for path, said in (
        ("storekit.BaseStoreBackend", "abstract"),
        ("storekit_test_plugin.Refusing", "RuntimeError: no bucket"),
        ("storekit_test_plugin.Exiting", "SystemExit: 3"),
    ):
        with pytest.raises(ConfigError, match=said) as refused:
            StateStoreConfig(state_backend=path).make_worker_backend()
        assert path in str(refused.value)
        assert refused.value.hint


# --- the metadata database ---


def test_the_database_in_airflows_order(tmp_path: Path) -> None:
    variable = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
    path = write_cfg(tmp_path, "[database]\nsql_alchemy_conn = sqlite:///file.db\n")
    command = f"{sys.executable} -c \"print('sqlite:///command.db')\""
    assert metadata_database_url(path, environ={variable: "sqlite:///env.db"}) == "sqlite:///env.db"
    assert metadata_database_url(path, environ={f"{variable}_CMD": command}) == "sqlite:///command.db"
    assert metadata_database_url(path, environ={}) == "sqlite:///file.db"
    commanded = write_cfg(tmp_path, f"[database]\nsql_alchemy_conn_cmd = {command}\n")
    assert metadata_database_url(commanded, environ={}) == "sqlite:///command.db"
    assert metadata_database_url(environ={"AIRFLOW_HOME": str(tmp_path / "x")}) == f"sqlite:///{tmp_path}/x/airflow.db"


@pytest.mark.parametrize("command", ["/no/such/command", f"{sys.executable} -c exit(3)", "'unclosed"])
def test_a_command_that_fails_is_named_without_its_text(command: str) -> None:
    with pytest.raises(ConfigError, match="AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_CMD failed"):
        metadata_database_url(environ={"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_CMD": command})


def test_a_secrets_backend_is_not_opened() -> None:
    with pytest.raises(ConfigError, match="secrets backend"):
        metadata_database_url(environ={"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_SECRET": "x", "AIRFLOW_HOME": "/no"})


URL = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
ASKED: list[tuple[str, dict[str, str], str | None]] = [
    ("[database]\nsql_alchemy_conn = postgresql://u:a%%40b@h/d\n", {}, "postgresql://u:a%40b@h/d"),
    ("[database]\nsql_alchemy_conn = postgresql://u:s3cret%40b@h/d\n", {}, None),
    ("[database]\nsql_alchemy_conn = %(missing)s\n", {}, None),
    ("[database]\nsql_alchemy_conn = %(host)s/d\nhost = x://h\n", {}, "x://h/d"),
    ("[database]\nsql_alchemy_conn = x://%(host)s/d\n[DEFAULT]\nhost = h\n", {}, "x://h/d"),
    ("[database]\nsql_alchemy_conn = x://$SK_USER:${SK_PASS}@h/$SK_NONE\n", {}, "x://me:pa/ss@h/$SK_NONE"),
    ("[database]\nsql_alchemy_conn = ~/x.db\n", {}, "/home/me/x.db"),
    ("[database]\nsql_alchemy_conn = $SK_TWICE\n", {}, "me"),
    ("[database]\nsql_alchemy_conn = x://file\n", {URL: "x://u:%40$SK_USER@h"}, "x://u:%40me@h"),
    ("[database]\nsql_alchemy_conn = %40\n[core]\nparallelism = %40\n", {URL: "x://env"}, "x://env"),
    ("[database]\nsql_alchemy_conn = x://file\n[core]\nfernet_key = 100%\n", {}, "x://file"),
    ("[database]\nsql_alchemy_conn_cmd = printf x://cmd%%%%40$SK_USER\n", {}, "x://cmd%40$SK_USER"),
    ("[database]\nsql_alchemy_conn = x://file\nsql_alchemy_conn_cmd = printf x://cmd\n", {}, "x://file"),
    ("[database]\nsql_alchemy_conn = x://file\n", {f"{URL}_CMD": "printf x://cmd$SK_USER"}, "x://cmd$SK_USER"),
    ("[core]\nsql_alchemy_conn = x://core\n", {}, "x://core"),
    ("", {}, "sqlite:////home/me/af/airflow.db"),
]
AROUND = {"SK_USER": "me", "SK_PASS": "pa/ss", "SK_TWICE": "${SK_USER}", "HOME": "/home/me", "AIRFLOW_HOME": "~/af"}


def ours(path: Path, environ: dict[str, str]) -> str | None:
    try:
        return metadata_database_url(path, environ=AROUND | environ)
    except ConfigError as error:
        refused = error
    assert f"[database] sql_alchemy_conn of {path}" in str(refused)
    assert "%%" in str(refused.hint)
    assert "s3cret" not in str(refused)
    assert refused.__suppress_context__  # the parser's own error quotes the value
    return None


@pytest.mark.parametrize(("text", "environ", "expected"), ASKED)
def test_the_url_is_interpolated_and_expanded(
    tmp_path: Path, text: str, environ: dict[str, str], expected: str | None
) -> None:
    assert ours(write_cfg(tmp_path, text), environ) == expected


THEIRS = """
import json, os, sys, warnings
warnings.simplefilter("ignore")
from airflow.configuration import AirflowConfigParser, expand_env_var
for path, environ in json.load(sys.stdin):
    os.environ.update(environ)
    try:
        parser = AirflowConfigParser()
        parser.read(path)
        value = parser.get("database", "sql_alchemy_conn")
    except Exception:
        value = None
    for name in environ:
        del os.environ[name]
    print("answer", json.dumps(value))
"""


def test_real_airflow_reads_the_same_urls(tmp_path: Path) -> None:
    """One start of Airflow, asked for every case above."""
    require("airflow")
    cases = []
    for number, (text, environ, _) in enumerate(ASKED):
        (tmp_path / str(number)).mkdir()
        cases.append((str(write_cfg(tmp_path / str(number), text)), environ))
    done = subprocess.run(
        [airflow_python(), "-c", THEIRS],
        input=json.dumps(cases),
        env={**os.environ, **AROUND, "HOME": str(tmp_path), "AIRFLOW_HOME": "~/af"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    theirs = [json.loads(line[7:]) for line in done.stdout.splitlines() if line.startswith("answer ")]
    mine = [ours(Path(path), environ | {"HOME": str(tmp_path)}) for path, environ in cases]
    assert theirs == mine


def test_the_paths_of_airflow_are_expanded(tmp_path: Path) -> None:
    path = write_cfg(tmp_path, "[state_store]\ndefault_retention_days = $SK_DAYS\n")
    for environ in (
        {"AIRFLOW_HOME": "$SK_FOLDER"},
        {"AIRFLOW_CONFIG": "${SK_FOLDER}/airflow.cfg"},
        {"HOME": str(tmp_path), "AIRFLOW_CONFIG": "~/airflow.cfg"},
    ):
        config = StateStoreConfig.load(environ={"SK_FOLDER": str(path.parent), "SK_DAYS": "4", **environ})
        assert config.default_retention_days == 4


@pytest.mark.parametrize("loop", ["$SK_LOOP/x", "${SK_LOOP}${SK_LOOP}", "$SK_LOOPS"])
def test_a_variable_that_leads_back_to_itself(loop: str) -> None:
    environ = {URL: "$SK_LOOP", "SK_LOOP": loop, "SK_LOOPS": "$SK_LOOP"}
    with pytest.raises(ConfigError, match=f"{URL} cannot be expanded"):
        metadata_database_url(environ=environ)


def test_an_empty_url_is_said_to_be_empty(tmp_path: Path) -> None:
    path = write_cfg(tmp_path, "[database]\nsql_alchemy_conn =\n")
    with pytest.raises(ConfigError, match="is empty"):
        metadata_database_url(path, environ={})
