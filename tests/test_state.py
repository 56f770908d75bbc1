"""The contract's own words: scopes, NEVER_EXPIRE, keys, and references that nothing is mistaken for."""

from __future__ import annotations

import copy
import json
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from storekit.errors import InvalidKeyError, InvalidValueError, StorekitError
from storekit.state import (
    MAX_KEY_LENGTH,
    NEVER_EXPIRE,
    REFERENCE_KEY,
    AssetScope,
    AssetWriter,
    BaseStoreBackend,
    NeverExpire,
    TaskScope,
    WriterKind,
    check_key,
)
from storekit.state.references import Inline, Reference, is_reserved, read_stored, store_reference
from storekit.testing import HOSTILE_KEYS, bad_keys, json_values, keys

# --- NEVER_EXPIRE ---


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_never_expire_survives_pickling(protocol: int) -> None:
    assert pickle.loads(pickle.dumps(NEVER_EXPIRE, protocol)) is NEVER_EXPIRE  # noqa: S301
    held = {"retention": [NEVER_EXPIRE]}
    assert pickle.loads(pickle.dumps(held, protocol))["retention"][0] is NEVER_EXPIRE  # noqa: S301


def test_never_expire_survives_copies_and_threads() -> None:
    assert copy.copy(NEVER_EXPIRE) is NEVER_EXPIRE
    assert copy.deepcopy([NEVER_EXPIRE])[0] is NEVER_EXPIRE
    assert NeverExpire("never expire") is NEVER_EXPIRE
    seen: list[Any] = []
    barrier = threading.Barrier(8)

    def look() -> None:
        barrier.wait()
        from storekit.state import NEVER_EXPIRE as THERE

        seen.append(THERE)

    with ThreadPoolExecutor(8) as pool:
        for _ in range(8):
            pool.submit(look)
    assert len(seen) == 8
    assert all(each is NEVER_EXPIRE for each in seen)


def test_never_expire_says_its_name_and_equals_nothing_else() -> None:
    assert repr(NEVER_EXPIRE) == "NEVER_EXPIRE"
    assert NEVER_EXPIRE not in (None, 0, "never expire", False)


# --- scopes ---


def test_a_task_that_is_not_mapped_has_index_minus_one() -> None:
    assert TaskScope("d", "r", "t").map_index == -1
    assert TaskScope("d", "r", "t") == TaskScope("d", "r", "t", -1)
    assert len({TaskScope("d", "r", "t"), TaskScope("d", "r", "t", 0)}) == 2


@pytest.mark.parametrize("field", ["dag_id", "run_id", "task_id"])
@pytest.mark.parametrize("bad", ["", None, 1, b"x", ["x"]])
def test_a_scope_names_the_field_that_is_wrong(field: str, bad: Any) -> None:
    fields = {"dag_id": "d", "run_id": "r", "task_id": "t"} | {field: bad}
    with pytest.raises(ValueError, match=f"TaskScope.{field}") as refused:
        TaskScope(**fields)
    assert repr(bad) in str(refused.value)


@pytest.mark.parametrize("bad", [-2, True, False, "0", 1.0, None])
def test_a_map_index_is_an_integer_of_at_least_minus_one(bad: Any) -> None:
    with pytest.raises(ValueError, match=r"TaskScope\.map_index"):
        TaskScope("d", "r", "t", bad)


def test_scopes_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        TaskScope("d", "r", "t").dag_id = "other"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        AssetScope(name="a").name = "other"  # type: ignore[misc]


def test_an_asset_scope_needs_something() -> None:
    with pytest.raises(ValueError, match="at least one of asset_id, name and uri"):
        AssetScope()
    assert AssetScope(asset_id=0).asset_id == 0


@pytest.mark.parametrize(
    "bad", [{"name": ""}, {"uri": ""}, {"name": 1}, {"uri": b"x"}, {"asset_id": "1"}, {"asset_id": True}]
)
def test_an_asset_scope_names_the_field_that_is_wrong(bad: dict[str, Any]) -> None:
    (field,) = bad
    with pytest.raises(ValueError, match=f"AssetScope.{field}"):
        AssetScope(**bad)


# --- writers ---


def test_a_task_writer_has_all_four_fields_and_others_none() -> None:
    writer = AssetWriter.task(TaskScope("d", "r", "t", 3))
    assert (writer.kind, writer.dag_id, writer.run_id, writer.task_id, writer.map_index) == (
        WriterKind.TASK,
        "d",
        "r",
        "t",
        3,
    )
    assert AssetWriter(WriterKind.API).dag_id is None
    assert AssetWriter("watcher").kind is WriterKind.WATCHER  # type: ignore[arg-type]


@given(
    kind=st.sampled_from(list(WriterKind)),
    fields=st.tuples(
        st.none() | st.just("d"), st.none() | st.just("r"), st.none() | st.just("t"), st.none() | st.just(-1)
    ),
)
def test_a_writer_is_whole_or_refused(kind: WriterKind, fields: tuple[Any, ...]) -> None:
    given_fields = sum(field is not None for field in fields)
    allowed = given_fields == 4 if kind is WriterKind.TASK else given_fields == 0
    if allowed:
        assert AssetWriter(kind, *fields).kind is kind
    else:
        with pytest.raises(ValueError, match="a writer of kind"):
            AssetWriter(kind, *fields)


# --- keys ---


@given(key=keys())
def test_a_key_is_returned_as_it_is(key: str) -> None:
    assert check_key(key) is key


@given(key=bad_keys())
def test_a_bad_key_is_refused_with_what_to_do(key: Any) -> None:
    with pytest.raises(InvalidKeyError) as refused:
        check_key(key)
    assert refused.value.hint
    assert isinstance(refused.value, ValueError | StorekitError)
    str(refused.value).encode()  # a message that cannot be printed is no message


def test_the_bound_of_a_key_is_inclusive() -> None:
    assert len(check_key("é" * MAX_KEY_LENGTH)) == 512
    with pytest.raises(InvalidKeyError, match="has 513 characters; the most is 512"):
        check_key("é" * (MAX_KEY_LENGTH + 1))


# --- references ---

REFS = (
    st.text()
    | st.sampled_from(
        [
            "",
            "123",
            "null",
            "true",
            "NaN",
            "-Infinity",
            '"a"',
            "[]",
            "{}",
            " 1 ",
            '{"' + REFERENCE_KEY + '":"x"}',
            '{"' + REFERENCE_KEY + '":1}',
            '{"' + REFERENCE_KEY + '":"x","more":1}',
            "s3://bucket/key",
            "[" * 3000,
            "9" * 5000,
            "\ufeff1",
            *HOSTILE_KEYS,
        ]
    )
    | json_values().map(json.dumps)
)


@given(ref=REFS, form=st.sampled_from(["bare", "wrapped"]))
@example(ref="[" * 200_000, form="bare")
def test_a_reference_is_read_back_as_that_reference(ref: str, form: Any) -> None:
    assert read_stored(store_reference(ref, form)) == Reference(ref)


@given(ref=REFS)
def test_a_bare_reference_is_bare_unless_it_could_be_taken_for_a_value(ref: str) -> None:
    stored = store_reference(ref, "bare")
    assert stored in (ref, json.dumps({REFERENCE_KEY: ref}))
    try:
        json.loads(ref)
    except ValueError:
        assert stored == ref
    except RecursionError:
        pass
    else:
        assert stored != ref


def test_a_text_too_deep_for_json_is_refused_with_what_to_do() -> None:
    with pytest.raises(InvalidValueError, match="nested too deeply"):
        read_stored("[" * 200_000)


@given(ref=REFS)
def test_a_wrapped_reference_is_what_released_airflow_writes(ref: str) -> None:
    assert json.loads(store_reference(ref, "wrapped")) == {"__airflow_state_ref__": ref}


@given(value=json_values())
def test_a_value_is_never_taken_for_a_reference(value: Any) -> None:
    assert not is_reserved(value)
    assert read_stored(json.dumps(value)) == Inline(value)


@given(value=st.none() | json_values(), extra=st.dictionaries(st.text(), st.integers(), max_size=2))
def test_the_reserved_shape_is_known_whatever_it_holds(value: Any, extra: dict[str, int]) -> None:
    assert is_reserved({**extra, REFERENCE_KEY: value})


# --- the abstract backend ---


def test_the_eight_methods_are_abstract_and_nothing_else() -> None:
    assert BaseStoreBackend.__abstractmethods__ == {
        "get", "set", "delete", "clear", "aget", "aset", "adelete", "aclear",
    }  # fmt: skip


def passthrough() -> BaseStoreBackend:
    methods = {name: lambda self, *args, **kwargs: None for name in BaseStoreBackend.__abstractmethods__}
    return type("PassThrough", (BaseStoreBackend,), methods)()


@given(value=json_values())
def test_the_default_hooks_keep_the_value_inline(value: Any) -> None:
    backend = passthrough()
    task = backend.serialize_task_store_to_ref(value=value, key="k", ti_id="ti")
    assert (json.loads(task), backend.deserialize_task_store_from_ref(task)) == (value, value)
    asset = backend.serialize_asset_store_to_ref(value=value, key="k", asset_ref="a")
    assert (json.loads(asset), backend.deserialize_asset_store_from_ref(asset)) == (value, value)


def test_a_backend_is_not_cleaned_unless_it_says_so() -> None:
    assert not BaseStoreBackend.cleaned_by_storekit
    assert passthrough().cleanup() is None
