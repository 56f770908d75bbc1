"""Archives: what was deleted, written before it is gone, and read again only if it is what was written."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from contract_rows import HOSTILE, TICK, T, instants
from hypothesis import given
from hypothesis import strategies as st

from storekit.errors import ArchiveError
from storekit.frames import archive as archive_module
from storekit.frames import archived as archived_module
from storekit.frames.archive import ARCHIVE, ArchiveOrigin, ArchiveWriter, PartInfo
from storekit.frames.archived import Archive, open_archive
from storekit.frames.contract import TASKS

Row = dict[str, Any]
Parts = Sequence[Sequence[Row]]


def origin(**given: Any) -> ArchiveOrigin:
    return ArchiveOrigin(
        **{
            "layout": "storekit",
            "database": "sqlite:///airflow.db",
            "database_id": "1" * 64,
            "dialect": "sqlite",
            "now": T,
            "started_at": T + timedelta(seconds=5),
            "plan_sha256": "a" * 64,
            **given,
        }
    )


def row(**given: Any) -> Row:
    value = given.pop("value", '"x"')
    return {
        "dag_id": "etl",
        "run_id": "run",
        "task_id": "load",
        "map_index": -1,
        "region_id": None,
        "key": "k",
        "value": value,
        "value_bytes": len(value.encode()),
        "updated_at": T - timedelta(days=1),
        "expires_at": T - TICK,
        "never_expire": False,
        **given,
    }


def batch(rows: Sequence[Row]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(list(rows), schema=ARCHIVE)


def written(path: Path, parts: Parts, *, finish: bool = True, **given: Any) -> ArchiveWriter:
    writer = ArchiveWriter(path, origin(**given))
    for rows in parts:
        part = writer.begin()
        part.write(batch(rows))
        part.seal()
    if finish:
        writer.finish()
    return writer


def contents(archive: Archive) -> list[Row]:
    rows: list[Row] = archive.batches().read_all().to_pylist()
    return rows


def by_key(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda each: str(each["key"]))


def files(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


texts = st.sampled_from(HOSTILE) | st.text(st.characters(min_codepoint=1, exclude_categories=["Cs"]), max_size=20)
rows = st.builds(
    row,
    dag_id=texts,
    run_id=texts,
    task_id=texts,
    map_index=st.integers(-1, 2**31),
    region_id=st.none() | texts,
    key=texts,
    value=texts | st.just("") | st.just("é" * 5000),
    updated_at=instants(),
    expires_at=st.none() | instants(),
    never_expire=st.none() | st.booleans(),
)
PARTS = [[row(key="a"), row(key="b", value="é" * 20)], [row(key="c", never_expire=None)], [row(key="d")]]
WHOLE = [each for part in PARTS for each in part]


# --- what it holds ---------------------------------------------------------------------------------------------


@given(
    parts=st.lists(st.lists(st.lists(rows, max_size=4), max_size=3), max_size=4),
    fates=st.lists(st.sampled_from(["seal", "discard", "seal then discard"]), min_size=4, max_size=4),
    finish=st.booleans(),
)
def test_written_and_opened_it_is_equal(
    parts: list[list[list[Row]]], fates: list[str], finish: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("archive") / "gone.parquet"
    writer, kept = ArchiveWriter(path, origin()), []
    for batches, fate in zip(parts, fates, strict=False):
        part = writer.begin()
        for each in batches:
            part.write(batch(each))
        flat = [each for rows in batches for each in rows]
        assert (part.rows, part.value_bytes) == (len(flat), sum(each["value_bytes"] for each in flat))
        if fate != "discard":
            part.seal()
        if fate != "seal":
            part.discard()
        elif flat:
            kept.append(flat)
    whole = [each for flat in kept for each in flat]
    size = sum(each["value_bytes"] for each in whole)
    assert (writer.rows, writer.value_bytes) == (len(whole), size)
    if finish:
        writer.finish()
    elif not kept:
        with pytest.raises(ArchiveError, match="is no archive"):
            open_archive(path)
        writer.abandon_if_empty()
        assert not path.exists()
        return
    opened = open_archive(path)
    assert contents(opened) == contents(opened) == whole
    assert (opened.rows, len(opened), opened.value_bytes, opened.complete) == (len(whole), len(whole), size, finish)
    assert [part.rows for part in opened.parts] == [len(flat) for flat in kept]
    assert opened.origin == origin()
    assert opened.batches().schema == TASKS.schema(values=True)


def test_everyone_reads_it_as_one_table(tmp_path: Path) -> None:
    path = tmp_path / "gone.parquet"
    parts = [*PARTS, [row(key=text, dag_id=text, value=text) for text in HOSTILE]]
    writer = written(path, parts, finish=False)
    writer.begin().write(batch([row(key="cut off")]))  # and then the process died: a hidden leftover
    whole = [each for part in parts for each in part]
    for finish in (False, True):
        if finish:
            part = writer._begun[-1]
            part.discard()
            writer.finish()
        opened = open_archive(path)
        assert contents(opened) == whole
        expected = opened.batches().read_all().to_pandas()
        pd.testing.assert_frame_equal(pd.read_parquet(path), expected)
        found = duckdb.sql("FROM read_parquet($glob)", params={"glob": f"{path}/*.parquet"}).to_arrow_table()
        assert by_key(found.cast(ARCHIVE).to_pylist()) == by_key(whole)
        assert pl.read_parquet(f"{path}/*.parquet")["key"].to_list() == [each["key"] for each in whole]
        assert pa.table(opened).to_pylist() == whole
    assert files(path) == ["_archive.json", *(f"part-00000{number}.parquet" for number in range(1, 5))]


def test_it_is_for_this_user_alone(tmp_path: Path) -> None:
    # It holds values, which may be secrets.
    path = tmp_path / "gone.parquet"
    written(path, PARTS)
    for each in (path, *path.iterdir()):
        assert each.stat().st_mode & 0o077 == 0


def test_large_values_come_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archived_module, "_BATCH_BYTES", 10_000)
    monkeypatch.setattr(archived_module, "_BATCH_ROWS", 30)
    large = [row(key=str(number), value=f"{number:04}" * 1000) for number in range(20)]
    small = [row(key=str(number)) for number in range(100)]
    written(tmp_path / "gone", [large, small])
    sizes = [each.num_rows for each in open_archive(tmp_path / "gone").batches()]
    assert sizes == [2] * 10 + [30, 30, 30, 10]


# --- writing ---------------------------------------------------------------------------------------------------


def test_an_archive_is_never_written_over_anything(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    before = files(tmp_path)
    for name in before:
        with pytest.raises(ArchiveError, match=f"{name} exists") as caught:
            ArchiveWriter(tmp_path / name, origin())
        assert caught.value.hint
    for path in (tmp_path / "no" / "where", tmp_path / "file" / "x", tmp_path / ("x" * 300), tmp_path / "nul\0"):
        with pytest.raises(ArchiveError, match="cannot be made") as caught:
            ArchiveWriter(path, origin())
        assert caught.value.hint
    with pytest.raises(ArchiveError):
        ArchiveWriter("", origin())
    assert files(tmp_path) == before
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("failing", ["mkdir", "flush"])
def test_a_folder_that_cannot_be_made_leaves_nothing(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(*((Path, "mkdir") if failing == "mkdir" else (archive_module, "flush")), refuse)
    with pytest.raises(ArchiveError, match=r"gone cannot be made: .*Permission denied"):
        ArchiveWriter(tmp_path / "gone", origin())
    assert files(tmp_path) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_parent_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ArchiveError, match="Permission denied"):
        ArchiveWriter(tmp_path / "gone", origin())


def test_rows_that_break_the_contract_are_refused(tmp_path: Path) -> None:
    part = ArchiveWriter(tmp_path / "gone", origin()).begin()
    with pytest.raises(ArchiveError, match="are not an archive's"):
        part.write(batch(PARTS[0]).select(["key"]))
    wrong = batch(PARTS[0]).set_column(3, "map_index", pa.array([1, 2], pa.int32()))
    with pytest.raises(ArchiveError, match="of other types"):
        part.write(wrong)
    loose = pa.schema([field.with_nullable(True) for field in ARCHIVE], metadata={"from": "elsewhere"})
    with pytest.raises(ArchiveError, match="value is null in 1 rows"):
        part.write(pa.RecordBatch.from_pylist([row() | {"value": None}], schema=loose))
    part.write(pa.RecordBatch.from_pylist([row()], schema=loose))
    part.seal()
    assert contents(open_archive(tmp_path / "gone")) == [row()]


def test_nothing_of_no_rows_is_written(tmp_path: Path) -> None:
    writer = ArchiveWriter(tmp_path / "gone", origin())
    part = writer.begin()
    part.write(batch([]))
    part.seal()
    part.discard()
    assert files(tmp_path / "gone") == []
    writer.finish()
    opened = open_archive(tmp_path / "gone")
    assert (opened.rows, opened.complete, opened.parts, contents(opened)) == (0, True, (), [])
    writer.abandon_if_empty()  # it is finished: an archive of nothing, but an archive
    assert open_archive(tmp_path / "gone").complete


def test_a_part_is_whole_before_it_has_its_name(tmp_path: Path) -> None:
    path = tmp_path / "gone"
    part = ArchiveWriter(path, origin()).begin()
    part.write(batch(PARTS[0]))
    (name,) = files(path)
    assert (name[0], name.endswith(".partial")) == (".", True)
    part.seal()
    assert files(path) == ["part-000001.parquet"]
    part.discard()
    part.discard()
    assert files(path) == []


def test_calls_out_of_turn_are_refused(tmp_path: Path) -> None:
    writer = ArchiveWriter(tmp_path / "gone", origin())
    sealed, discarded, still_open = writer.begin(), writer.begin(), writer.begin()
    sealed.write(batch(PARTS[0]))
    sealed.seal()
    discarded.discard()
    for part in (sealed, discarded):
        with pytest.raises(ArchiveError, match="is sealed or discarded"):
            part.write(batch(PARTS[0]))
        with pytest.raises(ArchiveError, match="is sealed or discarded"):
            part.seal()
    with pytest.raises(ArchiveError, match="part 3 is still open"):
        writer.finish()
    still_open.discard()
    writer.finish()
    for call in (writer.begin, writer.finish):
        with pytest.raises(ArchiveError):
            call()
    assert open_archive(tmp_path / "gone").rows == 2


def test_only_an_archive_of_nothing_is_abandoned(tmp_path: Path) -> None:
    path = tmp_path / "gone"
    writer = ArchiveWriter(path, origin())
    writer.begin().write(batch(PARTS[0]))
    writer.abandon_if_empty()
    assert files(tmp_path) == []
    writer.abandon_if_empty()
    writer = written(path, PARTS, finish=False)
    writer.abandon_if_empty()
    assert len(files(path)) == 3
    shutil.rmtree(path)
    writer = ArchiveWriter(path, origin())
    (path / "mine").write_text("mine")
    writer.abandon_if_empty()
    assert files(path) == ["mine"]


# --- a disk that fails -----------------------------------------------------------------------------------------


def noise(number: int) -> Row:
    """A row that no compression makes small."""
    return row(key=str(number), value=os.urandom(2000).hex())


def fill(folder: Path) -> None:
    """Archive until the disk is full, and check that what was sealed before is all there."""
    writer = ArchiveWriter(folder / "gone.parquet", origin())
    first = writer.begin()
    first.write(batch([noise(0)]))
    first.seal()
    part = writer.begin()
    with pytest.raises(ArchiveError, match=r"part-000002.parquet cannot be written: .*(No space|too large)") as caught:
        all(part.write(batch([noise(number)])) is None for number in range(1, 1000))
    assert "must not be deleted; make room" in str(caught.value.hint)
    with pytest.raises(ArchiveError, match="a write before this failed"):
        part.seal()  # not what is there of it
    part.discard()
    assert files(folder / "gone.parquet") == ["part-000001.parquet"]
    opened = open_archive(folder / "gone.parquet")
    assert (opened.rows, opened.complete) == (1, False)
    assert len(contents(opened)) == 1
    writer.finish()  # there is room again
    assert open_archive(folder / "gone.parquet").complete


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 kB."""
    mount = shutil.which("mount")
    if sys.platform != "linux" or mount is None or os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root on Linux")
    refused = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(tmp_path)], check=False, capture_output=True
    )
    if refused.returncode:
        pytest.skip(f"mounting a small file system is refused: {refused.stderr.decode().strip()}")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_disk(tiny: Path) -> None:
    fill(tiny)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Real failures of real writes, for whoever may not mount: the system refuses files beyond a size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    with files_of_at_most(100_000):
        fill(tmp_path)


def test_a_disk_that_fills_up_while_closing(tmp_path: Path) -> None:
    writer = ArchiveWriter(tmp_path / "gone", origin())
    part = writer.begin()
    part.write(batch(PARTS[0]))
    (partial,) = (tmp_path / "gone").iterdir()
    with files_of_at_most(partial.stat().st_size + 10), pytest.raises(ArchiveError, match="cannot be written"):
        part.seal()  # the footer does not fit
    assert (part.info, writer.rows) == (None, 0)
    part.discard()
    assert files(tmp_path / "gone") == []


@pytest.mark.parametrize("call", ["fsync", "link", "flush"])
def test_a_failure_on_the_way_to_the_name(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    writer = written(tmp_path / "gone", PARTS[:1], finish=False)
    part = writer.begin()
    part.write(batch(PARTS[1]))
    with monkeypatch.context() as patch:
        if call == "flush":
            patch.setattr("storekit.frames.content.flush", fail)
        else:
            patch.setattr(os, call, fail)
            # Without links the name is given by a rename.
            patch.setattr(Path, "replace", fail)
        with pytest.raises(ArchiveError, match="No space left"):
            part.seal()
        assert part.info is None
        part.discard()
        with pytest.raises(ArchiveError, match="No space left") as caught:
            writer.finish()
    assert "reads as cut off" in str(caught.value.hint)
    (tmp_path / "gone" / "_archive.json").unlink(missing_ok=True)  # its name may have come before the failure
    assert files(tmp_path / "gone") == ["part-000001.parquet"]
    assert contents(open_archive(tmp_path / "gone")) == PARTS[0]


def test_a_process_that_is_killed_leaves_what_it_sealed(tmp_path: Path) -> None:
    program = """
import os, sys, signal
sys.path[:0] = sys.argv[2:]
from test_archive import PARTS, ArchiveWriter, batch, origin
from pathlib import Path
writer = ArchiveWriter(Path(sys.argv[1]), origin())
part = writer.begin(); part.write(batch(PARTS[0])); part.seal()
part = writer.begin(); part.write(batch(PARTS[1]))
os.kill(os.getpid(), signal.SIGKILL)
"""
    here = Path(__file__).parent
    command = [sys.executable, "-c", program, str(tmp_path / "gone"), str(here), str(here.parent)]
    assert subprocess.run(command, check=False).returncode == -9
    opened = open_archive(tmp_path / "gone")
    assert (contents(opened), opened.complete) == (PARTS[0], False)
    assert len(files(tmp_path / "gone")) == 2  # the leftover is ignored


# --- reading ---------------------------------------------------------------------------------------------------


def rewrite(path: Path, table: pa.Table, said: dict[str, Any] | None) -> None:
    """Write a part anew as another program could, with the metadata that it had, or other."""
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.write_table(table)
        if said is not None:
            writer.add_key_value_metadata({archive_module.METADATA_KEY: json.dumps(said)})


def part_of(path: Path) -> tuple[pa.Table, dict[str, Any]]:
    with pq.ParquetFile(path) as file:
        return file.read(), json.loads(file.metadata.metadata[archive_module.METADATA_KEY.encode()])


@given(part=st.lists(rows, min_size=1, max_size=4), other=rows, finish=st.booleans(), data=st.data())
def test_every_edited_cell_is_found(
    part: list[Row], other: Row, finish: bool, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("archive") / "gone"
    written(path, [PARTS[0], part], finish=finish)
    table, said = part_of(path / "part-000002.parquet")
    rewrite(path / "part-000002.parquet", table, said)
    assert contents(open_archive(path)) == [*PARTS[0], *part]  # re-written, but the same
    cells = table.to_pylist()
    place, name = data.draw(st.integers(0, len(cells) - 1)), data.draw(st.sampled_from(ARCHIVE.names))
    same = cells[place][name] == other[name]
    cells[place][name] = other[name]
    rewrite(path / "part-000002.parquet", pa.Table.from_pylist(cells, schema=ARCHIVE), said)
    if same:
        assert contents(open_archive(path)) == [*PARTS[0], *part]
        return
    found: list[Row] = []
    with pytest.raises(ArchiveError, match="changed since it was written") as caught:
        found.extend(each for part in open_archive(path).batches() for each in part.to_pylist())
    assert found == PARTS[0]  # nothing of the part itself was handed out
    assert caught.value.hint


@given(part=st.lists(rows, min_size=2, max_size=4), data=st.data())
def test_another_order_more_or_fewer_rows_are_found(
    part: list[Row], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("archive") / "gone"
    written(path, [part])
    table, said = part_of(path / "part-000001.parquet")
    places = range(len(part))
    taken = data.draw(st.permutations(places) | st.lists(st.sampled_from(places), max_size=6))
    rewrite(path / "part-000001.parquet", table.take(pa.array(taken, pa.int64())), said)
    opened = open_archive(path)
    if [part[place] for place in taken] == part:
        assert contents(opened) == part
        return
    with pytest.raises(ArchiveError, match="changed since it was written"):
        contents(opened)


@pytest.mark.parametrize("finish", [True, False])
def test_every_edited_field_is_found(finish: bool, tmp_path: Path) -> None:
    path = tmp_path / "gone"
    written(path, PARTS[:1], finish=finish)
    table, said = part_of(path / "part-000001.parquet")
    assert set(said) == set(PartInfo.model_fields)
    assert set(said["origin"]) == set(ArchiveOrigin.model_fields)
    edits: list[dict[str, Any]] = [
        {**said, "rows": 3},
        {**said, "value_bytes": 3},
        {**said, "part": 2},
        {**said, "sha256": "0" * 64},
        {**said, "extra": 1},
        {"origin": said["origin"]},
    ]
    others = {"now": "2026-11-22T10:00:01Z", "started_at": "2026-11-22T10:00:01Z", "format_version": 0}
    edits += [{**said, "origin": {**said["origin"], name: others.get(name, "b" * 64)}} for name in said["origin"]]
    for edited in edits:
        rewrite(path / "part-000001.parquet", table, edited)
        with pytest.raises(ArchiveError) as caught:
            contents(open_archive(path))
        assert caught.value.hint
    rewrite(path / "part-000001.parquet", table, {**said, "origin": {**said["origin"], "format_version": 2}})
    with pytest.raises(ArchiveError, match="has format 2"):
        open_archive(path)


def test_parts_that_are_missing_foreign_or_moved_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "gone"

    def refused(message: str) -> None:
        with pytest.raises(ArchiveError, match=message) as caught:
            contents(open_archive(path))
        assert caught.value.hint
        shutil.rmtree(path)

    def fresh(**given: Any) -> None:
        written(path, PARTS, **given)

    fresh()
    (path / "part-000002.parquet").unlink()
    refused("part-000002.parquet is missing")
    for finish in (True, False):
        fresh(finish=finish)
        (path / "part-000003.parquet").rename(path / "part-000009.parquet")
        refused("it says that it is part-000003.parquet")
        fresh(finish=finish)
        shutil.copy(path / "part-000001.parquet", path / "part-000004.parquet")
        refused("it says that it is part-000001.parquet")
        fresh(finish=finish)
        pd.DataFrame({"a": [1]}).to_parquet(path / "mine.parquet")
        refused("mine.parquet is not of this archive: it was not written by a cleanup")
        fresh(finish=finish)
        pd.read_parquet(path / "part-000001.parquet").to_parquet(path / "part-000001.parquet")
        refused("edited or re-written since")
        fresh(finish=finish)
        (path / "part-000002.parquet").write_bytes(b"")
        refused("part-000002.parquet is damaged")
        fresh(finish=finish)
        (path / "part-000004.parquet").mkdir()
        refused("part-000004.parquet is damaged")
        fresh(finish=finish)
        written(tmp_path / "other", PARTS, started_at=T + timedelta(days=1), finish=False)
        shutil.move(tmp_path / "other" / "part-000002.parquet", path / "part-000002.parquet")
        shutil.rmtree(tmp_path / "other")
        refused(r"is not of this archive: it is of the cleanup of .* began at 2026-11-23 10:00:00 UTC")
    fresh()
    written(tmp_path / "other", [PARTS[0], PARTS[2]], finish=False)  # of the same origin, but other rows
    shutil.move(tmp_path / "other" / "part-000002.parquet", path / "part-000002.parquet")
    refused("not the part that _archive.json names")
    fresh()
    written(tmp_path / "more", [*PARTS, PARTS[0]], finish=False)
    shutil.move(tmp_path / "more" / "part-000004.parquet", path / "part-000004.parquet")
    refused("_archive.json does not name it")


def test_what_readers_skip_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "gone"
    written(path, PARTS)
    for name in (".part-000009.parquet.0badf00d.partial", "_notes.parquet", ".hidden.parquet", "README.txt"):
        (path / name).write_text("x")
    assert contents(open_archive(path)) == WHOLE


@pytest.mark.parametrize(
    "change",
    [
        {"complete": False},
        {"parts": 2},
        {"rows": 5},
        {"value_bytes": 5},
        {"kind": "x"},
        {"extra": 1},
        {"contents": {}},
        {"contents": None},
        {"origin": {}},
    ],
)
def test_an_edited_manifest_is_found(change: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "gone"
    written(path, PARTS)
    manifest = path / "_archive.json"
    said = json.loads(manifest.read_text())
    assert (said["complete"], said["parts"], said["rows"]) == (True, 3, 4)
    manifest.write_text(json.dumps({**said, **change}))
    with pytest.raises(ArchiveError):
        open_archive(path)
    for junk in ("", "{", "[]", "null", "[" * 100_000, '"x"'):
        manifest.write_text(junk)
        with pytest.raises(ArchiveError, match=r"_archive.json is damaged"):
            open_archive(path)
    manifest.write_text(json.dumps({**said, "origin": {**said["origin"], "layout": "x"}}))
    with pytest.raises(ArchiveError, match="is not of this archive"):
        open_archive(path)
    manifest.unlink()
    assert not open_archive(path).complete


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "README.txt").write_text("x")
    for name in ("nowhere", "file", "empty", "other"):
        with pytest.raises(ArchiveError, match="is no archive") as caught:
            open_archive(tmp_path / name)
        assert caught.value.hint


def test_a_damaged_part_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gone"
    part = [row(key=str(number), value=str(number) * 50) for number in range(100)]
    written(path, [part])
    file = path / "part-000001.parquet"
    whole = file.read_bytes()
    for place in range(0, len(whole), 71):
        for damaged in (whole[:place], whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :]):
            file.write_bytes(damaged)
            try:
                found = contents(open_archive(path))
            except ArchiveError:
                continue
            assert found == part  # a byte that says nothing, such as a statistic
            assert len(damaged) == len(whole)


def test_a_part_that_changes_after_it_was_opened_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "gone"
    written(path, PARTS)
    opened = open_archive(path)
    table, said = part_of(path / "part-000002.parquet")
    rewrite(path / "part-000002.parquet", table, {**said, "rows": 7})
    with pytest.raises(ArchiveError, match="another part by now"):
        contents(opened)
    (path / "part-000002.parquet").unlink()
    with pytest.raises(ArchiveError, match="damaged"):
        contents(opened)


def test_parts_come_in_the_order_of_their_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = ArchiveWriter(tmp_path / "gone", origin())
    for number in (9, 99_999, 999_999, 1_000_000):
        writer._begun += [None] * (number - 1 - len(writer._begun))  # type: ignore[list-item]
        part = writer.begin()
        part.write(batch([row(key=str(number))]))
        part.seal()
    assert [each["key"] for each in contents(open_archive(tmp_path / "gone"))] == ["9", "99999", "999999", "1000000"]


# --- what is shown ---------------------------------------------------------------------------------------------


def test_it_says_what_it_is(tmp_path: Path) -> None:
    written(tmp_path / "gone", PARTS)
    opened = open_archive(tmp_path / "gone")
    shown = repr(opened)
    for said in (
        "rows           4 in 3 parts",
        "2026-11-22 10:00:00 UTC",
        "sha256 aaaaaaaaaaaa…",
        "complete       yes",
    ):
        assert said in shown
    (tmp_path / "gone" / "_archive.json").unlink()
    assert "no: the cleanup was cut off" in repr(open_archive(tmp_path / "gone"))
    for number, key in enumerate(HOSTILE):
        written(tmp_path / str(number), PARTS[:1], database=f"sqlite:///{key}", layout=key, plan_sha256=None)
        opened = open_archive(tmp_path / str(number))
        assert opened.origin.layout == key
        page = opened._repr_html_()
        assert not any(ord(each) < 32 and each != "\n" for each in repr(opened))
        assert not any(each in page for each in ("\x1b", "\u202e", "<script", "<img"))


def test_an_instant_of_the_origin_is_aware() -> None:
    with pytest.raises(ValueError, match="timezone"):
        origin(now=datetime(2026, 11, 22))  # noqa: DTZ001
    assert origin(now="2026-11-22T11:00:00+01:00").now == T.astimezone(UTC)
    assert origin().model_dump(mode="json")["now"] == "2026-11-22T10:00:00.000000+00:00"
