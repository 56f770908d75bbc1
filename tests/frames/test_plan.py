"""Plans: the rows that a preview shows as deleted, kept in a file that tells when it was touched."""

from __future__ import annotations

import html
import itertools
import json
import os
import resource
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from contract_rows import HOSTILE, SCHEMA, TICK, T, instants, many_rows, snapshot, task_row
from hypothesis import given
from hypothesis import strategies as st

from storekit.errors import PlanError, QueryError, SnapshotError
from storekit.frames import plan as plan_module
from storekit.frames import planfile
from storekit.frames.display import plain
from storekit.frames.plan import PLAN, Plan, PlanInfo, open_plan
from storekit.frames.planview import plan_text
from storekit.frames.snapshot import Snapshot

KEY = ("dag_id", "run_id", "task_id", "map_index", "region_id", "key")
Row = dict[str, Any]


def expired(**given: Any) -> Row:
    return task_row(**{"expires_at": T - TICK, "never_expire": False, **given})


def saved(rows: Sequence[Row], path: Path, **given: Any) -> Path:
    return snapshot(rows, **given).plan().save(path)


def in_order(rows: Sequence[Row]) -> list[Row]:
    """By natural key: texts by their bytes, nulls last."""

    def rank(row: Row) -> list[Any]:
        return [
            (cell is None, cell.encode() if isinstance(cell, str) else cell or 0) for cell in map(row.__getitem__, KEY)
        ]

    return [{name: row[name] for name in PLAN.names} for row in sorted(rows, key=rank)]


MIXED = [
    expired(key="b", value_bytes=100),
    expired(key="a", value_bytes=5, map_index=3),
    expired(dag_id="ml", key="model", value_bytes=300, updated_at=T - timedelta(days=40)),
    expired(dag_id="ml", key="later", expires_at=T + timedelta(hours=2)),
    task_row(key="kept"),
]
EXPIRED = MIXED[:3]

texts = st.sampled_from(HOSTILE) | st.text(st.characters(min_codepoint=1, exclude_categories=["Cs"]), max_size=20)


@st.composite
def doomed(draw: st.DrawFn, *, min_size: int = 0) -> list[Row]:
    """Expired rows with distinct natural keys, of hostile texts."""
    drawn = st.fixed_dictionaries(
        {
            **dict.fromkeys(("dag_id", "run_id", "task_id", "key"), texts),
            "map_index": st.integers(-1, 3),
            "region_id": st.none() | st.sampled_from(["", "00000000-0000-0000-0000-000000000000"]),
            "value_bytes": st.integers(0, 2**40),
            "updated_at": instants(),
            "expires_at": instants().filter(lambda at: at < T),
        }
    )
    rows = draw(st.lists(drawn, min_size=min_size, max_size=8, unique_by=lambda row: tuple(map(row.get, KEY))))
    return [expired(**row) for row in rows]


# --- what it holds ---------------------------------------------------------------------------------------------


@given(rows=many_rows(), now=instants())
def test_a_plan_is_what_the_preview_deletes(rows: list[Row], now: datetime) -> None:
    taken = snapshot(rows)
    plan, preview = taken.plan(now), taken.preview(now)
    # The oracle is the rule itself, in Python.
    doomed = [
        row for row in rows if row["expires_at"] is not None and row["expires_at"] < now and not row["never_expire"]
    ]
    assert plan.batches().read_all().to_pylist() == in_order(doomed)
    shown = preview.batches().read_all().select(PLAN.names).to_pylist()
    assert plan.batches().read_all().to_pylist() == shown
    assert (len(plan), plan.value_bytes, bool(plan)) == (len(doomed), preview.deleted_bytes, bool(doomed))
    assert plan.info.now == now
    plan.verify()


@given(rows=doomed(), now=st.just(T) | instants().filter(lambda at: at >= T))
def test_saved_and_opened_it_is_equal(rows: list[Row], now: datetime, tmp_path_factory: pytest.TempPathFactory) -> None:
    made = snapshot(rows, custom_backend="my.Backend", database_id="ab", layout="x").plan(now)
    opened = open_plan(made.save(tmp_path_factory.mktemp("plan") / "plan.parquet"))
    assert opened.info == made.info
    assert opened.equals(made)
    assert made.equals(opened)
    for each in (made, opened, opened):
        table = each.batches().read_all()
        assert table.schema == PLAN
        assert table.to_pylist() == in_order(rows)
    pd.testing.assert_frame_equal(opened.rows(), made.rows())
    again = open_plan(opened.save(tmp_path_factory.mktemp("plan") / "again.parquet"))
    assert again.equals(made)


def test_a_snapshot_made_twice_gives_the_same_plan() -> None:
    assert snapshot(MIXED).plan().equals(snapshot(list(reversed(MIXED))).plan())
    assert not snapshot(MIXED).plan().equals(snapshot(MIXED).plan(T + TICK))
    assert not snapshot(MIXED).plan().equals(snapshot(MIXED[1:]).plan())
    assert not snapshot(MIXED).plan().equals(snapshot(MIXED, database_id="x").plan())


def test_frames_have_their_dtypes_whatever_is_in_them(tmp_path: Path) -> None:
    rows = ["str", "str", "str", "int64", "str", "str", "datetime64[us, UTC]", "datetime64[us, UTC]", "int64"]
    for held in ([], MIXED):
        made = snapshot(held).plan()
        for plan in (made, open_plan(made.save(tmp_path / f"{len(held)}"))):
            assert [str(dtype) for dtype in plan.rows().dtypes] == rows
            assert list(plan.rows()) == PLAN.names
            assert [str(dtype) for dtype in plan.by("map_index", "region_id").dtypes] == [
                "int64",
                "str",
                "int64",
                "int64",
            ]
            assert pa.table(plan).schema == PLAN
            assert pl.DataFrame(plan).height == len(plan)


@given(rows=doomed(), columns=st.lists(st.sampled_from(KEY), min_size=1, max_size=3, unique=True))
def test_groups_are_sums_over_the_rows(
    rows: list[Row], columns: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    expected: dict[tuple[Any, ...], tuple[int, int]] = {}
    for row in rows:
        group = tuple(row[name] for name in columns)
        count, size = expected.get(group, (0, 0))
        expected[group] = (count + 1, size + row["value_bytes"])
    made = snapshot(rows).plan()
    for plan in (made, open_plan(made.save(tmp_path_factory.mktemp("plan") / "p"))):
        frame = plan.by(*columns)
        found = {
            tuple(None if pd.isna(cell) else cell for cell in row[:-2]): (row[-2], row[-1])
            for row in frame.itertuples(index=False, name=None)
        }
        assert found == expected
        assert len(frame) == len(expected)
        assert list(frame["value_bytes"]) == sorted(frame["value_bytes"], reverse=True)


def test_many_groups_are_merged_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "_MERGE_ROWS", 2)
    rows = [expired(key=str(number), dag_id=f"d{number % 3}", value_bytes=number) for number in range(10)]
    table = pa.Table.from_pylist(in_order(rows), schema=PLAN)

    class Small:
        name = "small"

        def batches(self, **_: Any) -> Iterator[pa.RecordBatch]:
            yield from table.to_batches(max_chunksize=1)

    frame = Plan(snapshot(rows).plan().info, Small()).by("dag_id")
    assert frame.to_dict("list") == {"dag_id": ["d0", "d2", "d1"], "rows": [4, 3, 3], "value_bytes": [18, 15, 12]}


def test_pages_are_parts_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planfile, "_BATCH_ROWS", 3)
    rows = [expired(key=f"{number:02}") for number in range(20)]
    made = snapshot(rows).plan()
    path = tmp_path / "plan.parquet"
    # Row groups of 7, so that pages begin and end in all of their places.
    writer = planfile.SealedWriter(path, PLAN)
    for batch in made.batches().read_all().to_batches(max_chunksize=7):
        writer.write(batch)
    writer.seal(planfile.METADATA_KEY, made.info.model_dump(mode="json"))
    for plan in (made, open_plan(path)):
        for limit, offset in itertools.product([None, 0, 1, 3, 7, 20, 100], [0, 1, 6, 7, 8, 19, 20, 50]):
            end = None if limit is None else offset + limit
            expected = [row["key"] for row in rows][offset:end]
            assert list(plan.rows(limit, offset)["key"]) == expected, (limit, offset)


@pytest.mark.parametrize("given", [{"limit": -1}, {"offset": -1}, {"limit": 1.5}, {"limit": True}])
def test_pages_that_are_none_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(QueryError):
        snapshot(MIXED).plan().rows(**given)


@pytest.mark.parametrize("columns", [(), ("nope",), ("key", "key"), ("value_bytes",), ("store",)])
def test_columns_to_group_by_come_from_the_natural_key(columns: tuple[str, ...]) -> None:
    with pytest.raises(QueryError) as caught:
        snapshot(MIXED).plan().by(*columns)
    assert caught.value.hint


def test_an_instant_is_aware() -> None:
    with pytest.raises(QueryError, match="no time zone"):
        snapshot(MIXED).plan("2026-11-22T10:00:00")
    assert snapshot(MIXED).plan().info.now == T
    assert len(snapshot(MIXED).plan("2026-11-22T13:00:01+01:00")) == 4


def test_rows_that_no_plan_can_tell_apart_are_refused() -> None:
    twice = [expired(key="\x1bk", value_bytes=1), expired(key="\x1bk", value_bytes=2)]
    with pytest.raises(PlanError, match=r"names one row twice: .*key='\\x1bk'") as caught:
        snapshot(twice).plan()
    assert caught.value.hint
    assert len(snapshot([expired(), task_row()]).plan()) == 1  # the other one is kept


def test_sizes_beyond_64_bits_are_counted_exactly() -> None:
    rows = [expired(key=str(number), value_bytes=2**61 + number) for number in range(3)]
    assert snapshot(rows).plan().value_bytes == 3 * 2**61 + 3


def test_a_plan_of_a_closed_snapshot_says_so_and_a_saved_one_lives_on(tmp_path: Path) -> None:
    taken = snapshot(MIXED)
    plan = taken.plan()
    path = plan.save(tmp_path / "plan.parquet")
    taken.close()
    asks = [taken.plan, plan.rows, plan.verify, lambda: plan.by("key"), lambda: plan.save(tmp_path / "again")]
    for ask in (*asks, lambda: plan.batches().read_all()):
        with pytest.raises(SnapshotError, match="this snapshot is closed"):
            ask()
    assert "delete 3 rows" in repr(plan)
    assert len(open_plan(path).rows()) == 3
    assert [each.name for each in tmp_path.iterdir()] == ["plan.parquet"]


# --- the file --------------------------------------------------------------------------------------------------


def edit(path: Path, table: pa.Table, said: dict[str, Any] | None) -> Path:
    """Write a plan's file anew as another program could, with the metadata that it had, or other."""
    metadata = None if said is None else {planfile.METADATA_KEY: json.dumps(said)}
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.write_table(table)
        if metadata:
            writer.add_key_value_metadata(metadata)
    return path


def contents(path: Path) -> tuple[pa.Table, dict[str, Any]]:
    with pq.ParquetFile(path) as file:
        return file.read(), json.loads(file.metadata.metadata[planfile.METADATA_KEY.encode()])


@given(rows=doomed(min_size=1), data=st.data())
def test_every_edited_cell_is_found(rows: list[Row], data: st.DataObject, tmp_path_factory: Any) -> None:
    path = saved(rows, tmp_path_factory.mktemp("plan") / "plan.parquet")
    table, said = contents(path)
    assert open_plan(edit(path, table, said)).info.rows == len(rows)  # untouched, if re-written
    cells = table.to_pylist()
    place = data.draw(st.integers(0, len(cells) - 1))
    name = data.draw(st.sampled_from(PLAN.names))
    old = cells[place][name]
    cells[place][name] = data.draw(
        {
            pa.string(): texts | (st.none() if name == "region_id" else st.nothing()),
            pa.int64(): st.integers(-1, 2**63 - 1),
        }.get(PLAN.field(name).type, instants())
    )
    edit(path, pa.Table.from_pylist(cells, schema=PLAN), said)
    if cells[place][name] == old:
        open_plan(path).verify()
        return
    with pytest.raises(PlanError) as caught:
        open_plan(path)
    assert "plan.parquet" in str(caught.value)
    assert caught.value.hint


@given(rows=doomed(min_size=2), data=st.data())
def test_rows_in_another_order_more_or_fewer_are_refused(
    rows: list[Row], data: st.DataObject, tmp_path_factory: Any
) -> None:
    path = saved(rows, tmp_path_factory.mktemp("plan") / "plan.parquet")
    table, said = contents(path)
    count = table.num_rows
    taken = data.draw(st.permutations(range(count)) | st.lists(st.integers(0, count - 1), max_size=count + 2))
    edit(path, table.take(pa.array(taken, pa.int64())), said)
    if list(taken) == list(range(count)):
        open_plan(path)
        return
    with pytest.raises(PlanError):
        open_plan(path)


def test_every_edited_field_is_found(tmp_path: Path) -> None:
    path = saved(MIXED, tmp_path / "plan.parquet", database_id="ab")
    table, said = contents(path)
    assert set(said) == set(PlanInfo.model_fields)
    others = {
        "now": "2026-11-22T10:00:00.000001+00:00",
        "taken_at": "2026-11-22T09:00:00.000000+00:00",
        "has_never_expire": False,
        "rows": 2,
        "value_bytes": 4,
        "custom_backend": "x",
        "format_version": None,
    }
    for name, value in said.items():
        other = others.get(name, f"{value}x" if name != "sha256" else "0" * 64)
        assert other != value
        for edited in ({**said, name: other}, {each: said[each] for each in said if each != name}):
            edit(path, table, edited)
            if edited.get(name, PlanInfo.model_fields[name].default) == value:
                open_plan(path)  # what is left out and has this default says the same
                continue
            with pytest.raises(PlanError, match=r"the plan was changed since it was made|not expired at its instant"):
                open_plan(path)
    edit(path, table, {**said, "extra": 1})
    with pytest.raises(PlanError, match="extra"):
        open_plan(path)
    edit(path, table, {**said, "format_version": 2})
    with pytest.raises(PlanError, match="has format 2") as caught:
        open_plan(path)
    assert "upgrade" in str(caught.value.hint)


def sealed_anew(path: Path, table: pa.Table, said: dict[str, Any]) -> Path:
    """A forger's file: its hash is right."""
    content = planfile.ContentHash(PLAN)
    for batch in table.to_batches():
        content.update(batch)
    said = {**said, "rows": table.num_rows, "value_bytes": sum(table["value_bytes"].to_pylist())}
    return edit(path, table, {**said, "sha256": planfile.sealed_hash(said, content.hexdigest())})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [*rows, rows[-1]], "names one row twice"),
        (lambda rows: [*rows, {**rows[-1], "updated_at": T}], "names one row twice"),
        (lambda rows: rows[::-1], "out of its place"),
        (lambda rows: [{**rows[0], "expires_at": T}, *rows[1:]], "have not expired at its instant"),
        (lambda rows: [{**rows[0], "value_bytes": -1}, *rows[1:]], "negative size"),
    ],
)
def test_rows_that_no_preview_shows_are_refused_whatever_their_hash(change: Any, message: str, tmp_path: Path) -> None:
    path = saved(MIXED, tmp_path / "plan.parquet")
    table, said = contents(path)
    assert len(open_plan(sealed_anew(path, table, said))) == 3
    sealed_anew(path, pa.Table.from_pylist(change(table.to_pylist()), schema=PLAN), said)
    with pytest.raises(PlanError, match=message):
        open_plan(path)


def test_nulls_are_refused_where_none_may_stand(tmp_path: Path) -> None:
    path = saved(MIXED, tmp_path / "plan.parquet")
    table, said = contents(path)
    loose = pa.schema([field.with_nullable(True) for field in PLAN])
    for field in PLAN:
        rows = table.to_pylist()
        rows[1][field.name] = None
        edit(path, pa.Table.from_pylist(rows, schema=loose), said)
        if field.name == "region_id":
            open_plan(path)
        else:
            with pytest.raises(PlanError, match=f"{field.name} is missing in 1 rows"):
                open_plan(path)


def test_the_order_is_that_of_bytes_with_nulls_last(tmp_path: Path) -> None:
    keys = ["", "A", "B", "a", "aa", "a\u0301", "z", "\x7f", "é", "\uffff", "\U0001f980"]
    rows = [expired(key=key, region_id=region) for region in ("", "x", None) for key in keys]
    plan = open_plan(saved(rows[::-1], tmp_path / "plan"))
    assert [(row["region_id"], row["key"]) for row in plan.batches().read_all().to_pylist()] == [
        (region, key) for region in ("", "x", None) for key in keys
    ]


def test_order_is_checked_across_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planfile, "_BATCH_ROWS", 1)
    path = saved(MIXED, tmp_path / "plan.parquet")
    table, said = contents(path)
    rows = table.to_pylist()
    sealed_anew(path, pa.Table.from_pylist([rows[0], rows[1], rows[1], rows[2]], schema=PLAN), said)
    with pytest.raises(PlanError, match="names one row twice"):
        open_plan(path)


def test_what_is_no_plan_is_refused(tmp_path: Path) -> None:
    path = saved(MIXED, tmp_path / "plan.parquet")
    table, said = contents(path)

    def refused(message: str, at: Path = path) -> None:
        with pytest.raises(PlanError, match=message) as caught:
            open_plan(at)
        assert caught.value.hint

    refused("there is no", tmp_path / "nowhere")
    refused("cannot be read|not Parquet", tmp_path)
    pd.read_parquet(path).to_parquet(path)
    refused("holds no plan; was it edited or re-written by another program")
    pq.write_table(table.replace_schema_metadata(None), path)
    refused("holds no plan")
    for junk in ("[1]", "null", "{", '"text"', "[" * 100_000):
        with pq.ParquetWriter(path, PLAN) as writer:
            writer.add_key_value_metadata({planfile.METADATA_KEY: junk})
        refused("holds no plan")
    edit(path, table.select(table.schema.names[::-1]), said)
    refused("its columns are value_bytes")
    edit(path, table.set_column(3, "map_index", table["map_index"].cast(pa.int32())), said)
    refused("of other types")
    path.write_bytes(b"")
    refused("not Parquet")
    path.write_text("key,dag_id\n" * 100)
    refused("not Parquet")


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    rows = [expired(key=str(number)) for number in range(500)]
    path = saved(rows, tmp_path / "plan.parquet")
    whole = path.read_bytes()
    for cut in range(0, len(whole), 97):
        path.write_bytes(whole[:cut])
        with pytest.raises(PlanError):
            open_plan(path)
    expected = open_plan_rows(whole, path)
    for place in range(0, len(whole), 53):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            found = open_plan_rows(None, path)
        except PlanError:
            continue
        assert found == expected  # a byte that says nothing, such as a statistic


def open_plan_rows(whole: bytes | None, path: Path) -> list[Row]:
    if whole is not None:
        path.write_bytes(whole)
    return open_plan(path).batches().read_all().to_pylist()


def test_a_file_that_changes_after_it_was_opened_is_noticed(tmp_path: Path) -> None:
    path = saved(MIXED, tmp_path / "plan.parquet")
    opened = open_plan(path)
    table, said = contents(path)
    edit(path, table.set_column(8, PLAN.field("value_bytes"), pc.add(table["value_bytes"], 1)), said)
    for ask in (opened.verify, lambda: opened.batches().read_all(), lambda: opened.save(tmp_path / "again")):
        with pytest.raises(PlanError, match="the plan was changed since it was made"):
            ask()
    snapshot(MIXED[:1]).plan().save(path, overwrite=True)
    for ask in (opened.verify, opened.rows, lambda: opened.by("key")):
        with pytest.raises(PlanError, match="is another plan by now"):
            ask()
    path.unlink()
    with pytest.raises(PlanError, match="there is no"):
        opened.rows()
    assert not list(tmp_path.iterdir())


def test_it_is_read_from_where_it_was_whatever_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert saved(MIXED, Path("plan.parquet")) == Path("plan.parquet")
    opened = open_plan("plan.parquet")
    monkeypatch.chdir("/")
    assert len(opened.rows()) == 3


# --- saving ----------------------------------------------------------------------------------------------------


def test_only_a_plan_is_replaced_and_only_when_asked(tmp_path: Path) -> None:
    one, other = snapshot(MIXED).plan(), snapshot(MIXED[:1]).plan()
    path = one.save(tmp_path / "plan.parquet")
    with pytest.raises(PlanError, match=r"plan.parquet exists"):
        other.save(path)
    assert open_plan(path).equals(one)
    other.save(str(path), overwrite=True)
    assert open_plan(path).equals(other)
    opened = open_plan(path)
    opened.save(path, overwrite=True)  # onto itself
    assert open_plan(path).equals(other)
    path.write_text("mine")
    with pytest.raises(PlanError, match="something else than a saved plan"):
        one.save(path, overwrite=True)
    assert path.read_text() == "mine"
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    for overwrite in (False, True):
        with pytest.raises(PlanError):
            one.save(link, overwrite=overwrite)
    with pytest.raises(PlanError, match="is a folder"):
        one.save(tmp_path, overwrite=True)
    with pytest.raises(PlanError, match="does not exist"):
        one.save(tmp_path / "no" / "where")
    with pytest.raises(PlanError, match="cannot be written"):
        one.save(tmp_path / ("x" * 300))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["link", "plan.parquet"]


def test_a_save_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(MIXED, tmp_path / "plan.parquet")
    before = path.read_bytes()
    plan = snapshot([expired(key=f"{number}{os.urandom(200).hex()}"[:512]) for number in range(2000)]).plan()
    # A real failure of a real write: the system refuses a file of more than so many bytes.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(PlanError, match=r"cannot be written.*too large") as caught:
            plan.save(path, overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "nothing was replaced" in str(caught.value.hint)
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(PlanError, match="No space left"):
        plan.save(path, overwrite=True)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["plan.parquet"]


def test_it_streams(tmp_path: Path) -> None:
    # No batch is the whole: what is held does not grow with the plan.
    rows = [expired(key=f"{number:06}") for number in range(50_000)]
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    made = snapshot_from(table).plan()
    for plan in (made, open_plan(made.save(tmp_path / "plan.parquet"))):
        sizes = [batch.num_rows for batch in plan.batches()]
        assert sum(sizes) == 50_000
        assert max(sizes) <= 32_768
    with pq.ParquetFile(tmp_path / "plan.parquet") as file:
        assert file.num_row_groups > 1


def snapshot_from(table: pa.Table) -> Snapshot:
    return Snapshot.from_reader(table.to_reader(), snapshot([]).info)


def test_threads_can_read_one_plan_at_once(tmp_path: Path) -> None:
    opened = open_plan(saved([expired(key=str(number)) for number in range(3000)], tmp_path / "plan.parquet"))
    failed: list[BaseException] = []

    def read() -> None:
        try:
            for _ in range(5):
                opened.verify()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


# --- for which database ----------------------------------------------------------------------------------------


def test_it_is_for_one_database_and_one_layout() -> None:
    here = {"layout": "storekit", "database_id": "1" * 64, "database": "sqlite:///airflow.db"}
    known, unknown = snapshot(MIXED, database_id="1" * 64).plan(), snapshot(MIXED).plan()
    for plan in (known, unknown):
        plan.check_for(**here)
    known.check_for(**{**here, "database": "sqlite:////srv/airflow.db"})  # the id decides
    unknown.check_for(**{**here, "database_id": "2" * 64})  # there is none to compare
    with pytest.raises(PlanError, match=r"is for sqlite:///airflow.db, and this is postgresql://h\\x1b/d") as caught:
        known.check_for(**{**here, "database_id": "2" * 64, "database": "postgresql://h\x1b/d"})
    assert caught.value.hint
    with pytest.raises(
        PlanError, match=r"airflow.db \(111111111111\), and this is sqlite:///airflow.db \(222222222222\)"
    ):
        known.check_for(**{**here, "database_id": "2" * 64})
    with pytest.raises(PlanError, match=r"this is sqlite:///other.db"):
        unknown.check_for(**{**here, "database": "sqlite:///other.db"})
    for plan in (known, unknown):
        with pytest.raises(PlanError, match=r"layout storekit, and .* has airflow-3.4 now"):
            plan.check_for(**{**here, "layout": "airflow-3.4"})


# --- what is shown ---------------------------------------------------------------------------------------------


def test_it_says_what_where_when_and_what_next(tmp_path: Path) -> None:
    plan = snapshot(MIXED, custom_backend="my.\x1bBackend").plan()
    shown = repr(plan)
    assert shown.splitlines()[0] == "storekit plan: delete 3 rows, 405 B"
    for said in (
        "sqlite:///airflow.db (layout storekit)",
        "as of          2026-11-22 10:00:00 UTC",
        f"sha256 {plan.info.sha256[:12]}…",
        "store.cleanup(plan, archive=",
        "my.\\x1bBackend (cleanup is skipped)",
    ):
        assert said in shown
    assert "delete 1 row," in repr(snapshot(MIXED[:1]).plan())
    assert "nothing to delete" in repr(snapshot([]).plan())
    assert repr(snapshot([]).plan()).startswith(plan_text(snapshot([]).plan()))
    text = plan_text(plan, 2)
    assert shown.startswith(text.partition("\n\n")[0])
    assert "rows, the first 2 of 3" in text
    assert "by Dag\n" in text
    lines = [line.split() for line in text.splitlines()]
    assert ["etl", "2", "105", "B"] in lines
    assert ["b", "etl", "run", "load", "100", "B", "2026-11-22", "09:59:59.999999", "UTC"] in lines
    assert ["a", "etl", "run", "load[3]", "5", "B", "2026-11-22", "09:59:59.999999", "UTC"] in lines
    assert "rows, all" not in plan_text(plan, 2)
    assert "load[3]" in plan_text(open_plan(plan.save(tmp_path / "p")))


@pytest.mark.parametrize("key", HOSTILE)
def test_hostile_texts_are_spelled_and_escaped(key: str) -> None:
    row = expired(key=key, dag_id=key, run_id=key, task_id=key)
    plan = snapshot([row], database=f"sqlite:///{key}", layout=key).plan()
    for text in (repr(plan), plan_text(plan)):
        assert not any(ord(each) < 32 and each != "\n" for each in text)
        assert "\u202e" not in text
    page = plan._repr_html_()
    assert "<script" not in page
    assert "<img" not in page
    assert "\x1b" not in page
    assert plain(key)[:39] in html.unescape(page)
    assert page.count("<code>") == page.count("</code>") == 9


def test_html_shows_numbers_first() -> None:
    page = snapshot([expired(key=str(number)) for number in range(25)]).plan()._repr_html_()
    order = [page.index(each) for each in (">25</div>", "database", "By Dag", "Rows, the first 10 of 25")]
    assert order == sorted(order)
    assert "nothing to delete" in snapshot([]).plan()._repr_html_()


def test_the_schema_is_what_is_documented() -> None:
    at = pa.timestamp("us", tz="UTC")
    assert [(field.name, field.type, field.nullable) for field in PLAN] == [
        ("dag_id", pa.string(), False),
        ("run_id", pa.string(), False),
        ("task_id", pa.string(), False),
        ("map_index", pa.int64(), False),
        ("region_id", pa.string(), True),
        ("key", pa.string(), False),
        ("updated_at", at, False),
        ("expires_at", at, False),
        ("value_bytes", pa.int64(), False),
    ]
    info = snapshot([], taken_at=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)).plan().info
    assert info.model_dump(mode="json")["taken_at"] == "2026-01-02T03:04:05.000006+00:00"
