"""The hash over rows: the same however the rows are cut, another for every other content."""

from __future__ import annotations

import itertools
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from contract_rows import HOSTILE
from hypothesis import example, given
from hypothesis import strategies as st

from storekit.frames import content
from storekit.frames.content import ContentHash, SealedWriter, sealed_hash, sealed_object, write_whole

AT = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema([("a", pa.string()), ("b", pa.string()), ("n", pa.int64()), ("at", AT), ("flag", pa.bool_())])
ZERO = datetime(1970, 1, 1, tzinfo=UTC)

texts = st.none() | st.sampled_from(["", "a", "ab", "b", *HOSTILE]) | st.text(max_size=5)
cells = st.fixed_dictionaries(
    {
        "a": texts,
        "b": texts,
        "n": st.none() | st.integers(-(2**63), 2**63 - 1) | st.just(0),
        "at": st.none() | st.datetimes(timezones=st.just(UTC)) | st.just(ZERO),
        "flag": st.none() | st.booleans(),
    }
)
tables = st.lists(cells, max_size=40)


def batch(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(rows, schema=SCHEMA)


def hashed(*batches: pa.RecordBatch, schema: pa.Schema = SCHEMA) -> str:
    told = ContentHash(schema)
    for each in batches:
        told.update(each)
    return told.hexdigest()


@given(rows=tables, cuts=st.lists(st.integers(0, 40), max_size=6), ahead=tables)
def test_it_is_the_same_however_the_rows_are_cut(
    rows: list[dict[str, Any]], cuts: list[int], ahead: list[dict[str, Any]]
) -> None:
    whole = hashed(batch(rows))
    # Slices of a longer batch: their buffers hold other rows before, at an offset that is no multiple of eight.
    longer = batch([*ahead, *rows, *ahead])
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    parts = [longer.slice(len(ahead) + a, b - a) for a, b in itertools.pairwise(bounds)]
    assert hashed(*parts) == whole
    assert hashed(*(batch(part.to_pylist()) for part in parts)) == whole
    assert hashed(*(pa.concat_batches([part, batch([])]) for part in parts), batch([])) == whole


@given(rows=st.lists(cells, min_size=1, max_size=8), other=cells, data=st.data())
def test_every_other_cell_is_another_hash(
    rows: list[dict[str, Any]], other: dict[str, Any], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(rows) - 1))
    name = data.draw(st.sampled_from(SCHEMA.names))
    edited = [dict(row) for row in rows]
    edited[place][name] = other[name]
    assert (hashed(batch(edited)) == hashed(batch(rows))) == (edited == rows)


@given(one=tables, two=tables)
@example(one=[{"a": "ab", "b": "c"}], two=[{"a": "a", "b": "bc"}])
@example(one=[{"a": "ab"}, {"a": "c"}], two=[{"a": "a"}, {"a": "bc"}])
@example(one=[{"a": None}], two=[{"a": ""}])
@example(one=[{"n": None}], two=[{"n": 0}])
@example(one=[{"at": None}], two=[{"at": ZERO}])
@example(one=[{"flag": None}], two=[{"flag": False}])
@example(one=[{"a": None}, {"a": "x"}], two=[{"a": "x"}, {"a": None}])
@example(one=[], two=[{}])
@example(one=[{"n": 1}, {"n": 2}], two=[{"n": 2}, {"n": 1}])
def test_other_rows_are_another_hash(one: list[dict[str, Any]], two: list[dict[str, Any]]) -> None:
    def named(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{name: row.get(name) for name in SCHEMA.names} for row in rows]

    assert (hashed(batch(named(one))) == hashed(batch(named(two)))) == (named(one) == named(two))


@given(rows=st.lists(cells, min_size=2, max_size=8, unique_by=repr), data=st.data())
def test_another_order_is_another_hash(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    moved = data.draw(st.permutations(rows))
    assert (hashed(batch(moved)) == hashed(batch(rows))) == (moved == rows)


def test_what_hides_under_a_null_or_in_padding_is_not_hashed() -> None:
    schema = pa.schema([("a", pa.string()), ("n", pa.int64()), ("flag", pa.bool_())])
    seen = pa.RecordBatch.from_pylist([{"a": "x", "n": 1, "flag": True}, {}], schema=schema)

    def dirty(text: bytes, number: int, bits: int) -> pa.RecordBatch:
        valid = pa.py_buffer(bytes([0b01 | bits]))  # the upper bits are padding
        offsets = pa.py_buffer(b"".join(each.to_bytes(4, "little") for each in (0, 1, 1 + len(text))))
        numbers = pa.py_buffer((1).to_bytes(8, "little") + number.to_bytes(8, "little"))
        return pa.RecordBatch.from_arrays(
            [
                pa.Array.from_buffers(pa.string(), 2, [valid, offsets, pa.py_buffer(b"x" + text)]),
                pa.Array.from_buffers(pa.int64(), 2, [valid, numbers]),
                pa.Array.from_buffers(pa.bool_(), 2, [valid, pa.py_buffer(bytes([0b11 | bits]))]),
            ],
            schema=schema,
        )

    for each in (dirty(b"", 0, 0), dirty(b"hidden", 77, 0b11111100)):
        assert each.to_pylist() == seen.to_pylist()
        assert hashed(each, schema=schema) == hashed(seen, schema=schema)
    # A bitmap that says "all there" is no other content than no bitmap.
    full = pa.Array.from_buffers(pa.int64(), 1, [pa.py_buffer(b"\xff"), pa.py_buffer((5).to_bytes(8, "little"))])
    one = pa.schema([("n", pa.int64())])
    assert hashed(pa.RecordBatch.from_arrays([full], schema=one), schema=one) == hashed(
        pa.RecordBatch.from_pylist([{"n": 5}], schema=one), schema=one
    )


def test_names_and_types_are_hashed_but_not_what_may_be_null() -> None:
    plain = pa.schema([("a", pa.int64()), ("b", pa.int64())])
    strict = pa.schema([field.with_nullable(False) for field in plain], metadata={"x": "y"})
    empty = {hashed(schema=plain), hashed(schema=strict)}
    assert len(empty) == 1
    others = [
        pa.schema([("a", pa.int64())]),
        pa.schema([("b", pa.int64()), ("a", pa.int64())]),
        pa.schema([("a", AT), ("b", pa.int64())]),
        pa.schema([("a", pa.timestamp("us")), ("b", pa.int64())]),
        pa.schema([("aint64", pa.int64()), ("b", pa.int64())]),
    ]
    assert len({hashed(schema=other) for other in others} | empty) == len(others) + 1


def test_other_columns_and_types_are_refused() -> None:
    with pytest.raises(TypeError, match="x is double"):
        ContentHash(pa.schema([("x", pa.float64())]))
    told = ContentHash(SCHEMA)
    with pytest.raises(TypeError, match="has the columns"):
        told.update(pa.RecordBatch.from_pylist([{"a": "x"}], schema=pa.schema([("a", pa.string())])))
    assert told.hexdigest() == hashed()


# --- sealed files ----------------------------------------------------------------------------------------------

ROWS = batch([{"a": "x", "n": 1}, {"b": "y", "at": ZERO + timedelta(days=1)}])


def test_a_sealed_file_says_what_it_was_sealed_with(tmp_path: Path) -> None:
    writer = SealedWriter(tmp_path / "é %20?.parquet", SCHEMA)
    writer.write(ROWS)
    assert [path.name[0] for path in tmp_path.iterdir()] == ["."]  # hidden until it is whole
    assert writer.content() == hashed(ROWS)
    writer.seal("storekit.test", {"é": [1, {"b": None}]})
    writer.discard()  # which spares what has its name
    (path,) = tmp_path.iterdir()
    assert path.stat().st_mode & 0o077 == 0
    with pq.ParquetFile(path) as file:
        assert sealed_object(file, "storekit.test") == {"é": [1, {"b": None}]}
        assert sealed_object(file, "storekit.other") is None
        assert file.read().to_pylist() == ROWS.to_pylist()


def test_a_discarded_file_is_gone(tmp_path: Path) -> None:
    writer = SealedWriter(tmp_path / "x.parquet", SCHEMA)
    writer.write(ROWS)
    writer.discard()
    writer.discard()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("links", [True, False])
def test_a_name_that_was_taken_meanwhile_is_not_replaced(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: Any) -> None:
        raise PermissionError(1, "this file system knows no links")

    if not links:
        monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / "x.parquet"
    for replace in (False, True):
        writer = SealedWriter(path, SCHEMA)
        path.write_text("mine")
        if replace:
            writer.seal("k", {}, replace=True)
            assert path.read_bytes()[:4] == b"PAR1"
        else:
            with pytest.raises(FileExistsError):
                writer.seal("k", {})
            assert path.read_text() == "mine"
        writer.discard()
    with pytest.raises(FileExistsError):
        write_whole(path, "other")
    write_whole(tmp_path / "new", "text é")
    assert (tmp_path / "new").read_text(encoding="utf-8") == "text é"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["new", "x.parquet"]


def test_after_a_failed_write_nothing_is_sealed(tmp_path: Path) -> None:
    writer = SealedWriter(tmp_path / "x.parquet", SCHEMA)
    writer.write(ROWS)
    with pytest.raises(ValueError, match="schema"):
        writer.write(ROWS.select(["a"]))
    with pytest.raises(OSError, match="a write before this failed"):
        writer.seal("k", {})
    writer.discard()
    assert not list(tmp_path.iterdir())


def test_file_and_folder_are_flushed_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A name that points at what was never written is worse than no name.
    said: list[str] = []
    fsync, name = os.fsync, content._name

    def noted(descriptor: int) -> None:
        said.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")  # noqa: PTH112
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(content, "_name", lambda *given, **more: (said.append("name"), name(*given, **more)))
    writer = SealedWriter(tmp_path / "x.parquet", SCHEMA)
    writer.write(ROWS)
    writer.seal("k", {})
    write_whole(tmp_path / "y", "text")
    assert said == ["file", "name", "folder"] * 2


def test_the_seal_is_over_every_field_but_itself() -> None:
    said = {"a": 1, "b": {"c": "x"}, "sha256": "old"}
    assert sealed_hash(said, "0") == sealed_hash({"b": {"c": "x"}, "a": 1}, "0")
    others = [sealed_hash({**said, "a": 2}, "0"), sealed_hash({**said, "b": {"c": "y"}}, "0"), sealed_hash(said, "1")]
    assert len({sealed_hash(said, "0"), *others}) == 4
