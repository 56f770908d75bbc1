"""Selections: any filters, order and page are what Python's own filter, stable sort and slice give."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from contract_rows import HOSTILE, STATES, TICK, T, asset_row, instants, snapshot, task_row
from hypothesis import given, settings
from hypothesis import strategies as st

import storekit as sk
from storekit.engines.duckdb import DuckDBEngine
from storekit.engines.texts import NO_LIMIT
from storekit.errors import QueryError, SnapshotError
from storekit.frames import natural, ordering, selection
from storekit.frames.selection import SELECTION_GROUPS, SORT_COLUMNS, Selection

Row = dict[str, Any]

DAY = timedelta(days=1)
NATURAL = ("dag_id", "run_id", "task_id", "map_index", "region_id", "asset_name", "asset_uri", "key")
SEARCHED = ("dag_id", "run_id", "task_id", "key", "asset_name", "asset_uri")
FINISHED = {"success", "failed", "skipped", "upstream_failed", "removed"}
COLUMNS = [
    *("store", "dag_id", "run_id", "task_id", "map_index", "region_id", "asset_id", "asset_name", "asset_uri"),
    *("active", "key", "value_bytes", "updated_at", "expires_at", "never_expire", "writer", "task_state"),
    *("is_reference", "verdict", "reason", "margin", "dangers"),
]
DOTLESS = "\N{LATIN SMALL LETTER DOTLESS I}"
TEXTS = (
    *("straße", "STRASSE", "STRAẞE", "İstanbul", "istanbul", "ISTANBUL", DOTLESS, "ΣΑΣ", "σας", "Σ", "ÉCOLE", "école"),
    *("e\u0301", "100%", "%", "_", "a_b", "aXb", "\\", "*", "?", "'", '"', "ǅ", "Å", "å", "😀", "漢字", "\u202e"),
    *("orders", "Orders", "it's"),
)

# --- the oracle: plain Python over the rows that were put in -----------------------------------------------------


def simple_lower(text: str) -> str:
    # Python lowers İ to two characters; every other letter to one, if it is asked letter by letter.
    return "".join("i" if each == "İ" else each.lower() for each in text)


def shown(row: Row, now: datetime, airflow: bool) -> Row:
    expires_at, state = row["expires_at"], row["task_state"]
    if row["store"] == "asset":
        reason = "asset-row"
    elif row["never_expire"]:
        reason = "never-expire"
    elif expires_at is None:
        reason = "never-expire-or-retention-0" if row["never_expire"] is None else "no-expiry"
    else:
        reason = "expired" if expires_at < now else "not-yet-expired"
    gone, unfinished = reason == "expired", state is not None and state not in FINISHED
    margin = None if expires_at is None else expires_at - now
    marks = {
        "unfinished-task": gone and unfinished,
        "orphaned-object": gone and row["is_reference"],
        "inactive-asset": row["store"] == "asset" and not row["active"] and airflow,
        "expires-before-retry": reason == "not-yet-expired" and margin < DAY and unfinished,
    }
    extra = {
        "writer": (row["last_updated_by_kind"] or "not recorded") if row["store"] == "asset" else None,
        "verdict": "delete" if gone else "keep",
        "reason": reason,
        "margin": margin,
        "dangers": ", ".join(name for name, marked in marks.items() if marked) or None,
    }
    return {**row, **extra}


def meets(row: Row, filters: Row) -> bool:
    for name, wanted in filters.items():
        if name == "text":
            cells = [simple_lower(row[column]) for column in SEARCHED if row[column] is not None]
            if not any(simple_lower(wanted) in cell for cell in cells):
                return False
        elif name == "danger":
            if wanted not in (row["dangers"] or "").split(", "):
                return False
        elif name != "now" and row[name] != wanted:
            return False
    return True


def missing_last(row: Row, columns: Iterable[str]) -> tuple[Any, ...]:
    return tuple((row[name] is None, row[name]) for name in columns)


def in_order(rows: Iterable[Row], sort: str | None = None, descending: bool = False) -> list[Row]:
    natural = sorted(rows, key=lambda row: (row["store"] != "task", *missing_last(row, NATURAL)))
    if sort is None:
        return natural
    there = [row for row in natural if row[sort] is not None]
    # A reversed sort of Python's keeps the order of ties too.
    there = sorted(there, key=lambda row: row[sort], reverse=descending)
    return there + [row for row in natural if row[sort] is None]


def asked_of(rows: Iterable[Row], filters: Row, layout: str = "storekit") -> list[Row]:
    now = filters.get("now", T)
    told = [shown(row, now, layout.startswith("airflow-")) for row in rows]
    return [row for row in told if meets(row, filters)]


def cells(frame: pd.DataFrame) -> list[Row]:
    return pa.Table.from_pandas(frame, preserve_index=False).to_pylist()


def only(rows: Iterable[Row]) -> list[Row]:
    return [{name: row[name] for name in COLUMNS} for row in rows]


# --- what is drawn -----------------------------------------------------------------------------------------------


@st.composite
def stores(draw: st.DrawFn, *, max_size: int = 12) -> list[Row]:
    """Rows that share names, sizes and instants, so that filters meet several and sorting has ties."""
    words = draw(st.lists(st.sampled_from(TEXTS) | st.sampled_from(HOSTILE), min_size=1, max_size=3))
    word = st.sampled_from(words)
    instant = st.sampled_from(draw(st.lists(instants(), min_size=1, max_size=3)))
    rows = []
    for number in range(draw(st.integers(0, max_size))):
        common: Row = {
            "key": f"{draw(word)[:500]}{number}",
            "value_bytes": draw(st.sampled_from([0, 1, 9, 10, 2**40])),
            "updated_at": draw(instant),
            "is_reference": draw(st.booleans()),
        }
        if draw(st.integers(0, 3)) == 0:
            kind = draw(st.sampled_from(["task", "watcher", "api", None]))
            names = {"asset_id": draw(st.integers(1, 3)), "asset_name": draw(word), "asset_uri": draw(word)}
            rows.append(asset_row(**common, **names, active=draw(st.booleans()), last_updated_by_kind=kind))
        else:
            rows.append(
                task_row(
                    **common,
                    dag_id=draw(word),
                    run_id=draw(word),
                    task_id=draw(word),
                    map_index=draw(st.integers(-1, 1)),
                    region_id=draw(st.sampled_from([None, "00000000-0000-0000-0000-000000000000"])),
                    expires_at=draw(st.none() | instant | st.just(T + timedelta(hours=1))),
                    never_expire=draw(st.sampled_from([None, False, True])),
                    task_state=draw(st.none() | st.sampled_from(STATES)),
                )
            )
    return rows


FIXED = {
    "store": ["task", "asset"],
    "writer": ["task", "watcher", "api", "not recorded"],
    "verdict": ["delete", "keep"],
    "reason": list(sk.Reason),
    "danger": ["unfinished-task", "orphaned-object", "inactive-asset", "expires-before-retry"],
}


@st.composite
def stores_and_filters(draw: st.DrawFn) -> tuple[list[Row], Row]:
    """A store and some filters, their values mostly from its own rows."""
    rows = draw(stores())
    filters: Row = {}
    for name in draw(st.lists(st.sampled_from([*FIXED, *SEARCHED[:5], "text", "now"]), unique=True, max_size=3)):
        there = sorted({row[name] for row in rows if row.get(name) is not None}) if name in SEARCHED else []
        if name in FIXED:
            filters[name] = draw(st.sampled_from(FIXED[name]))
        elif name == "now":
            filters[name] = draw(instants())
        elif name == "text":
            word = draw(st.sampled_from([*(row["key"] for row in rows), *TEXTS]))
            start = draw(st.integers(0, len(word) - 1))
            piece = word[start : start + draw(st.integers(1, 4))]
            filters[name] = draw(st.sampled_from([piece, piece.swapcase()]))
        else:
            filters[name] = draw(st.sampled_from([*there, "no such"]))
    return rows, filters


sorts = st.none() | st.sampled_from(SORT_COLUMNS)


# An example is a snapshot, made and asked many times.
fewer = settings(max_examples=settings().max_examples // 3)

ROUTES = ("looked up", "from the ends", "by numbers", "streamed")


@contextmanager
def on(route: str) -> Iterator[None]:
    """Take one way to every page, in stores so small that they would all be sorted whole."""
    with pytest.MonkeyPatch.context() as patch:
        if route == "from the ends":
            patch.setattr(ordering, "FEW", 0)
            patch.setattr(ordering, "NEAR", 2)
        if route == "by numbers":
            patch.setattr(ordering, "FEW", 0)
            patch.setattr(ordering, "NEAR", 0)
        if route == "streamed":
            patch.setattr(selection, "PAGE", 0)
        yield


def call(rows: list[Row], filters: Row, **given: Any) -> Selection:
    return snapshot(rows, **given).select(filters.get("text"), **{k: v for k, v in filters.items() if k != "text"})


# --- rows, orders, pages -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", ROUTES)
@fewer
@given(
    asked=stores_and_filters(),
    layout=st.sampled_from(["storekit", "airflow-3.3"]),
    sort=sorts,
    descending=st.booleans(),
    limit=st.none() | st.integers(0, 14),
    offset=st.integers(0, 14),
)
def test_a_page_is_the_filter_the_stable_sort_and_the_slice(
    route: str,
    asked: tuple[list[Row], Row],
    layout: str,
    sort: str | None,
    descending: bool,
    limit: int | None,
    offset: int,
) -> None:
    rows, filters = asked
    descending = descending and sort is not None
    expected = in_order(asked_of(rows, filters, layout), sort, descending)
    chosen = call(rows, filters, layout=layout)
    stop = None if limit is None else offset + limit
    with on(route):
        page = chosen.rows(limit, offset, sort=sort, descending=descending)
    assert cells(page) == only(expected[offset:stop])
    assert len(chosen) == len(expected)
    assert chosen.value_bytes == sum(row["value_bytes"] for row in expected)


@pytest.mark.parametrize("route", ROUTES)
@fewer
@given(rows=stores(max_size=20), sort=sorts, descending=st.booleans(), size=st.integers(1, 7), draw=st.data())
def test_pages_in_any_sequence_are_all_rows_and_no_row_twice(
    route: str, rows: list[Row], sort: str | None, descending: bool, size: int, draw: st.DataObject
) -> None:
    descending = descending and sort is not None
    chosen = snapshot(rows).select()
    starts = list(range(0, len(rows), size))
    order = draw.draw(st.permutations(starts))
    with on(route):
        pages = {start: cells(chosen.rows(size, start, sort=sort, descending=descending)) for start in order}
    together = [row for start in starts for row in pages[start]]
    assert sorted(row["key"] for row in together) == sorted(row["key"] for row in rows)
    assert together == only(in_order(asked_of(rows, {}), sort, descending))


@fewer
@given(
    asked=stores_and_filters(),
    twice=st.integers(0, 12),
    sort=sorts,
    descending=st.booleans(),
    bits=st.sampled_from([0, 8, 63]),
    size=st.integers(1, 4),
)
def test_an_order_by_numbers_is_duckdbs(
    asked: tuple[list[Row], Row], twice: int, sort: str | None, descending: bool, bits: int, size: int
) -> None:
    rows, filters = asked
    chosen = call([*rows, *rows[:twice]], filters)
    by = ordering.sorted_by(sort, descending and sort is not None)
    order, engine, values = (*by, *natural.NATURAL), chosen._engine, chosen._values
    every = {**values, "size": NO_LIMIT}
    expected = engine.query("selected_order", every, order=order, allowed=ordering.ORDERABLE).column("row_number")
    stream: Callable[..., pa.RecordBatchReader] = DuckDBEngine.stream

    def cut(self: DuckDBEngine, name: str, *given: Any, **named: Any) -> pa.RecordBatchReader:
        assert name != "selected_order" or not len(expected)
        reader = stream(self, name, *given, **named)
        # Batches so small that those alike in a column are in several.
        cuts = (batch.slice(at, size) for batch in reader for at in range(0, batch.num_rows, size))
        return pa.RecordBatchReader.from_batches(reader.schema, cuts)

    with on("by numbers"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(DuckDBEngine, "stream", cut)
        patch.setattr(natural, "_BITS", bits)
        places = natural.NaturalOrder(engine, len(chosen._snapshot))
        found = ordering.RowOrder(engine, places, values, by, total=len(expected))
        assert found.numbers(0, len(expected)).tolist() == expected.to_pylist()


@pytest.mark.parametrize("route", ROUTES)
def test_rows_that_nothing_tells_apart_are_on_one_page_each(route: str) -> None:
    rows = [task_row(value_bytes=number, updated_at=T) for number in range(30)]
    chosen = snapshot(rows).select()
    for sort in (None, "dag_id", "margin"):
        with on(route):
            pages = [chosen.rows(4, start, sort=sort) for start in (28, 0, 12, 4, 24, 8, 16, 20)]
        assert sorted(pd.concat(pages)["value_bytes"]) == list(range(30))


@pytest.mark.parametrize("route", ROUTES)
def test_missing_values_are_last_from_either_end(route: str) -> None:
    rows = [task_row(key=str(number), expires_at=T + number * DAY if number < 5 else None) for number in range(8)]
    chosen = snapshot(rows).select()
    for descending, keys in ((False, "01234567"), (True, "43210567")):
        with on(route):
            pages = [chosen.rows(2, start, sort="expires_at", descending=descending) for start in (6, 0, 4, 2)]
        assert ["".join(page["key"]) for page in pages] == [keys[6:], keys[:2], keys[4:6], keys[2:4]]


def test_what_lies_under_missing_values_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = snapshot([task_row(key=str(number)) for number in range(8)]).select()
    stream: Callable[..., pa.RecordBatchReader] = DuckDBEngine.stream

    def littered(self: DuckDBEngine, name: str, *given: Any, **named: Any) -> pa.RecordBatchReader:
        reader = stream(self, name, *given, **named)
        if name != "selected_column":
            return reader
        under = pa.array(range(8, 0, -1), pa.int64()).buffers()[1]
        missing = pa.Array.from_buffers(pa.int64(), 8, [pa.py_buffer(b"\0"), under])
        numbers = pa.array(range(7, -1, -1), pa.int64())
        return pa.table({"row_number": numbers, "margin": missing}).to_reader()

    monkeypatch.setattr(DuckDBEngine, "stream", littered)
    with on("by numbers"):
        assert "".join(chosen.rows(sort="margin")["key"]) == "01234567"


@fewer
@given(asked=stores_and_filters(), sort=sorts, limit=st.none() | st.integers(0, 14), offset=st.integers(0, 14))
def test_a_stream_is_the_same_rows(
    asked: tuple[list[Row], Row], sort: str | None, limit: int | None, offset: int
) -> None:
    chosen = call(*asked)
    stream = chosen.batches(limit, offset, sort=sort, descending=sort is not None)
    assert stream.schema.names == COLUMNS
    assert stream.read_all().to_pylist() == cells(chosen.rows(limit, offset, sort=sort, descending=sort is not None))


@fewer
@given(rows=stores(), seed=st.randoms(use_true_random=False), sort=sorts)
def test_the_order_does_not_depend_on_how_rows_came_in(rows: list[Row], seed: Any, sort: str | None) -> None:
    shuffled = list(rows)
    seed.shuffle(shuffled)
    one, other = snapshot(rows).select(), snapshot(shuffled).select()
    pd.testing.assert_frame_equal(one.rows(sort=sort), other.rows(sort=sort))


def test_a_page_is_streamed_if_it_is_large() -> None:
    rows = [task_row(key=f"{number:06}") for number in range(selection.PAGE + 2)]
    whole = snapshot(rows).select().rows()
    assert list(whole["key"]) == [row["key"] for row in rows]
    assert whole.index.equals(pd.RangeIndex(len(rows)))


# --- which way is taken ------------------------------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int | None, bool]]:
    """What is asked of the engine: the text, its size, and whether it was turned round."""
    said: list[tuple[str, int | None, bool]] = []
    stream: Callable[..., Any] = DuckDBEngine.stream

    def spied(self: DuckDBEngine, name: str, values: Any = None, **given: Any) -> Any:
        said.append((name, (values or {}).get("size"), given.get("backwards", False)))
        return stream(self, name, values, **given)

    monkeypatch.setattr(DuckDBEngine, "stream", spied)
    monkeypatch.setattr(ordering, "FEW", 10)
    monkeypatch.setattr(ordering, "NEAR", 4)
    return said


def test_near_the_ends_nothing_is_sorted_whole_and_elsewhere_once(asked: list[Any]) -> None:
    taken = snapshot([task_row(key=f"{number:02}") for number in range(20)])
    asked.clear()
    chosen = taken.select()
    repr(chosen)
    assert asked == []  # all rows: the snapshot knows how many
    page = ("numbered_rows", None, False)
    for start, stop, expected in (
        (0, 2, [("selected_order", 4, False), page]),
        (2, 4, [page]),
        (18, 20, [("selected_order", 4, True), page]),
        (16, 18, [page]),
        (16, 99, [page]),
        (3, 5, [("natural_tail", None, False), ("natural_codes", None, False), page]),
        (10, 12, [page]),
        (0, 2, [page]),
        (20, 30, []),
    ):
        asked.clear()
        keys = list(chosen.rows(stop - start, start)["key"])
        assert keys == [f"{number:02}" for number in range(start, min(stop, 20))]
        assert asked == expected


def test_few_rows_are_sorted_whole_at_once(asked: list[Any]) -> None:
    chosen = snapshot([task_row(key=f"{number:02}") for number in range(10)]).select("0")
    asked.clear()
    assert list(chosen.rows(1)["key"]) == ["00"]
    assert list(chosen.rows(1, 9)["key"]) == ["09"]
    assert [name for name, *_ in asked] == ["selected_totals", "selected_order", "numbered_rows", "numbered_rows"]
    assert len(chosen) == 10
    assert len(asked) == 4


def test_two_orders_are_kept_and_no_more(asked: list[Any]) -> None:
    chosen = snapshot([task_row(key=f"{number:02}", value_bytes=number) for number in range(10)]).select()

    def sorts_for(sort: str | None) -> int:
        asked.clear()
        chosen.rows(1, 5, sort=sort)
        return sum(name == "selected_order" for name, *_ in asked)

    assert [sorts_for(sort) for sort in (None, "key", None, "key", "value_bytes", "key", None, "key")] == [
        *(1, 1, 0, 0, 1, 0, 1, 0)
    ]


# --- totals, groups, distributions -------------------------------------------------------------------------------


@fewer
@given(asked=stores_and_filters(), columns=st.lists(st.sampled_from(SELECTION_GROUPS), min_size=1, max_size=3))
def test_groups_agree_with_dictionaries(asked: tuple[list[Row], Row], columns: list[str]) -> None:
    columns = list(dict.fromkeys(columns))
    groups: dict[Any, list[Row]] = defaultdict(list)
    for row in asked_of(*asked):
        groups[tuple(row[name] for name in columns)].append(row)
    expected = [
        {
            **dict(zip(columns, group, strict=True)),
            "rows": len(found),
            "value_bytes": sum(row["value_bytes"] for row in found),
            "newest_at": max(row["updated_at"] for row in found),
        }
        for group, found in groups.items()
    ]
    expected.sort(key=lambda line: (-line["value_bytes"], *missing_last(line, columns)))
    chosen = call(*asked)
    assert cells(chosen.by(*columns)) == expected
    assert cells(chosen.by(*columns, limit=2)) == expected[:2]


@fewer
@given(asked=stores_and_filters())
def test_sizes_and_ages_count_every_row_once(asked: tuple[list[Row], Row]) -> None:
    expected, chosen = asked_of(*asked), call(*asked)
    sizes, ages = cells(chosen.sizes()), cells(chosen.ages())
    for lines in (sizes, ages):
        assert sum(line["rows"] for line in lines) == len(expected)
        assert sum(line["value_bytes"] for line in lines) == chosen.value_bytes
    for line in sizes:
        there = [row for row in expected if line["from_bytes"] <= row["value_bytes"] <= line["to_bytes"]]
        assert (line["rows"], line["value_bytes"]) == (len(there), sum(row["value_bytes"] for row in there))
    for line in ages:
        first, end = line["from_age"], line["to_age"]
        there = [
            row
            for row in expected
            if (first is None or T - row["updated_at"] >= first) and (end is None or T - row["updated_at"] < end)
        ]
        assert (line["rows"], line["value_bytes"]) == (len(there), sum(row["value_bytes"] for row in there))


def test_bounds_are_where_they_are_said_to_be() -> None:
    sizes = [0, 1, 9, 10, 99, 100, 10**18, 2**62]
    rows = [task_row(key=str(number), value_bytes=size) for number, size in enumerate(sizes)]
    frame = snapshot(rows).select().sizes()
    assert list(zip(frame["from_bytes"], frame["to_bytes"], frame["rows"], strict=True)) == [
        (0, 0, 1),
        (1, 9, 2),
        (10, 99, 2),
        (100, 999, 1),
        (10**18, 2**63 - 1, 2),
    ]
    ages = [-TICK, 0 * DAY, DAY - TICK, DAY, 7 * DAY - TICK, 7 * DAY, 30 * DAY, 90 * DAY, 365 * DAY - TICK, 365 * DAY]
    rows = [task_row(key=str(number), updated_at=T - age) for number, age in enumerate(ages)]
    frame = snapshot(rows).select(now=T + 40 * DAY).ages()
    bounds = [None if pd.isna(each) else each // DAY for each in [*frame["from_age"], frame["to_age"].iloc[-1]]]
    assert bounds == [None, 0, 1, 7, 30, 90, 365, None]
    assert list(frame["rows"]) == [1, 2, 2, 1, 1, 2, 1]
    assert list(frame["to_age"][:-1]) == [0 * DAY, *frame["from_age"][2:]]


@fewer
@given(rows=stores(), now=instants())
def test_it_agrees_with_the_preview(rows: list[Row], now: datetime) -> None:
    taken = snapshot(rows, layout="airflow-3.3")
    preview = taken.preview(now)
    for verdict in ("delete", "keep"):
        chosen = taken.select(verdict=verdict, now=now)
        theirs = preview.rows(verdict=verdict)
        pd.testing.assert_frame_equal(chosen.rows()[list(theirs.columns)], theirs)
    assert len(taken.select(verdict="delete", now=now)) == preview.deleted
    assert taken.select(verdict="keep", now=now).value_bytes == preview.kept_bytes
    counted = {row["reason"]: (row["rows"], row["value_bytes"]) for row in cells(preview.reasons)}
    assert {row["reason"]: (row["rows"], row["value_bytes"]) for row in cells(taken.select(now=now).by("reason"))} == (
        counted
    )
    for row in cells(preview.dangers()):
        endangered = taken.select(danger=row["danger"], now=now)
        assert (len(endangered), endangered.value_bytes) == (row["rows"], row["value_bytes"])
        theirs = preview.danger_rows(row["danger"])
        assert list(endangered.rows()["key"]) == list(theirs["key"])


# --- searching ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("STRASSE", {"STRASSE"}),
        ("straße", {"straße", "STRAẞE"}),
        ("ẞ", {"straße", "STRAẞE"}),
        ("istanbul", {"İstanbul", "istanbul", "ISTANBUL"}),
        ("İSTANBUL", {"İstanbul", "istanbul", "ISTANBUL"}),
        (DOTLESS, {DOTLESS}),
        ("σας", {"σας"}),
        ("\u03c3\u03b1\u03c3", {"ΣΑΣ"}),
        ("École", {"ÉCOLE", "école"}),
        ("ecole", set()),
        ("é", {"ÉCOLE", "école"}),
        ("e\u0301", {"e\u0301"}),
        ("å", {"Å", "å"}),
        ("%", {"100%", "%"}),
        ("_", {"_", "a_b"}),
        ("A_B", {"a_b"}),
        ("\\", {"\\"}),
        ("*", {"*"}),
        ("'", {"'", "it's"}),
        ("😀", {"😀"}),
        ("漢", {"漢字"}),
        ("\u202e", {"\u202e"}),
        ("'; DROP TABLE rows; --", set()),
        ("$text", set()),
        ("", set(TEXTS)),
    ],
)
def test_a_text_is_found_letter_by_letter_and_is_no_pattern(text: str, found: set[str]) -> None:
    rows = [task_row(dag_id="-", run_id="-", task_id="-", key=each) for each in TEXTS]
    taken = snapshot(rows)
    assert set(taken.select(text).rows()["key"]) == found
    assert len(taken) == len(TEXTS)


@pytest.mark.parametrize("column", SEARCHED)
def test_each_name_is_searched_and_what_is_missing_is_not_found(column: str) -> None:
    make = asset_row if column.startswith("asset") else task_row
    rows = [make(**{"key": "other", column: "xNeedLex"}), task_row(key="a"), asset_row(key="b")]
    chosen = snapshot(rows).select("needle")
    assert list(chosen.rows()[column]) == ["xNeedLex"]
    assert len(snapshot(rows).select("null")) == len(snapshot(rows).select("None")) == 0


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("column", ["dag_id", "run_id", "task_id", "key", "asset_name"])
def test_a_filter_is_exact_whatever_the_name(column: str, name: str) -> None:
    make = asset_row if column == "asset_name" else task_row
    taken = snapshot([make(**{column: name}), make(**{column: name + " "}), make(**{column: "other"})])
    assert list(taken.select(**{column: name}).rows()[column]) == [name]
    assert name in set(taken.select(name).rows()[column])


# --- instants, types, mistakes -----------------------------------------------------------------------------------


def test_now_is_the_snapshots_unless_given() -> None:
    taken = snapshot([task_row(expires_at=T)])
    assert taken.select().now == T
    assert len(taken.select(verdict="delete")) == 0
    later = taken.select(verdict="delete", now="2026-11-22T11:00:00+01:00")
    assert (later.now, len(later)) == (T, 0)
    later = taken.select(verdict="delete", now=T + TICK)
    assert list(later.rows()["margin"]) == [-TICK]


def test_dtypes_are_the_documented_ones_with_rows_or_without() -> None:
    instant, span = "datetime64[us, UTC]", "timedelta64[us]"
    texts = ("store", "dag_id", "run_id", "task_id", "region_id", "asset_name", "asset_uri", "key", "writer")
    for rows in ([task_row(expires_at=T), asset_row()], []):
        chosen = snapshot(rows).select()
        for frame in (chosen.rows(), chosen.rows(0), chosen.rows(5, 99)):
            assert list(frame.columns) == COLUMNS
            assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {
                **dict.fromkeys((*texts, "task_state", "verdict", "reason", "dangers"), "str"),
                **dict.fromkeys(["map_index", "asset_id"], "Int64"),
                **dict.fromkeys(["active", "never_expire"], "boolean"),
                "value_bytes": "int64",
                "updated_at": instant,
                "expires_at": instant,
                "is_reference": "bool",
                "margin": span,
            }
        counts = {"rows": "int64", "value_bytes": "int64"}
        for frame, expected in (
            (
                chosen.by("dag_id", "map_index", "active", "writer"),
                {"dag_id": "str", "map_index": "Int64", "active": "boolean", "writer": "str", **counts}
                | {"newest_at": instant},
            ),
            (chosen.sizes(), {"from_bytes": "int64", "to_bytes": "int64", **counts}),
            (chosen.ages(), {"from_age": span, "to_age": span, **counts}),
        ):
            assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == expected


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"text": 3}, "text=3"),
        ({"text": "\ud800"}, "surrogate"),
        ({"dag_id": 3}, "dag_id=3"),
        ({"key": b"k"}, "key=b'k'"),
        ({"store": "tasks"}, "'tasks'"),
        ({"store": ["task"]}, r"\['task'\]"),
        ({"writer": "nobody"}, "'nobody'"),
        ({"writer": ""}, "''"),
        ({"verdict": "deleted"}, "'deleted'"),
        ({"reason": "old"}, "'old'"),
        ({"danger": "fire"}, "'fire'"),
        ({"danger": "db-clean"}, "db-clean"),
        ({"danger": sk.Danger.DB_CLEAN}, "db-clean"),
        ({"now": "2026-11-22"}, "no time zone"),
        ({"now": 3}, "now=3"),
    ],
)
def test_what_cannot_be_a_filter_is_refused_with_a_remedy(given: dict[str, Any], said: str) -> None:
    with pytest.raises(QueryError, match=said) as caught:
        snapshot([task_row()]).select(**given)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda chosen: chosen.rows(-1), "limit=-1"),
        (lambda chosen: chosen.rows(2.5), "limit=2.5"),
        (lambda chosen: chosen.rows(1, None), "offset=None"),
        (lambda chosen: chosen.rows(sort="dangers"), "'dangers'"),
        (lambda chosen: chosen.rows(sort="row_number"), "'row_number'"),
        (lambda chosen: chosen.rows(sort='key"; DROP TABLE rows; --'), "DROP"),
        (lambda chosen: chosen.rows(sort=["key"]), "key"),
        (lambda chosen: chosen.rows(descending=True), "descending=True"),
        (lambda chosen: chosen.batches(sort="value"), "'value'"),
        (lambda chosen: chosen.batches(True), "limit=True"),
        (lambda chosen: chosen.by(), "no column"),
        (lambda chosen: chosen.by("value_bytes"), "'value_bytes'"),
        (lambda chosen: chosen.by("key", "key"), "twice"),
        (lambda chosen: chosen.by("key", limit=-1), "limit=-1"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_a_remedy(ask: Callable[[Selection], Any], said: str) -> None:
    with pytest.raises(QueryError, match=said) as caught:
        ask(snapshot([task_row()]).select())
    assert caught.value.hint


def test_a_closed_snapshot_says_so() -> None:
    taken = snapshot([task_row()])
    chosen = taken.select("k")
    taken.close()
    with pytest.raises(SnapshotError, match="closed"):
        len(chosen)


# --- looking at it -----------------------------------------------------------------------------------------------


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_it_shows_its_filters_its_totals_and_its_first_rows() -> None:
    rows = [task_row(key=f"key-{number:02}", value_bytes=100, expires_at=T - TICK) for number in range(12)]
    chosen = snapshot([*rows, asset_row()]).select("KEY", verdict="delete")
    assert dict(chosen.filters) == {"text": "KEY", "verdict": "delete"}
    text = repr(chosen)
    for piece in ("'KEY'", "'delete'", "12 of 13", "1.2 kB", "2026-11-22 10:00:00 UTC"):
        assert piece in text
    page = Page(chosen._repr_html_())
    assert "The first 10 of 12 rows" in page.texts
    assert "key-09" in page.texts
    assert "key-10" not in page.texts
    assert "orders" in Page(snapshot([asset_row()]).select()._repr_html_()).texts
    assert "table" in Page(snapshot([]).select()._repr_html_()).tags


def test_hostile_names_are_shown_as_text() -> None:
    for name in HOSTILE:
        for row in (task_row(**dict.fromkeys(SEARCHED[:4], name)), asset_row(asset_name=name, key=name)):
            chosen = snapshot([row]).select(name, key=name)
            shown_as = chosen._repr_html_()
            page = Page(shown_as)
            assert page.tags <= {"div", "style", "p", "table", "thead", "tbody", "tr", "th", "td", "code"}
            assert page.attributes <= {"class", "scope", "title", "tabindex"}
            for text in (shown_as, repr(chosen)):
                assert not set(text) & set("\x00\x07\x1b\r\t\u202e\u200b\ufeff")


def test_it_is_public_and_loads_on_use() -> None:
    assert sk.Selection is Selection
    assert snapshot([], taken_at=datetime(2026, 1, 1, tzinfo=UTC)).select().now == datetime(2026, 1, 1, tzinfo=UTC)
