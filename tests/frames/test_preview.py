"""Previews: their numbers agree with each other, their order is total, and what they show is safe."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections import defaultdict
from datetime import UTC, datetime, timedelta, timezone
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from contract_rows import HOSTILE, TICK, T, asset_row, instants, many_rows, snapshot, task_row
from hypothesis import given
from hypothesis import strategies as st

from storekit.errors import QueryError
from storekit.frames.display import escape, human_bytes, human_margin, plain, shorten
from storekit.frames.preview import GROUP_COLUMNS, Preview

MIXED = [
    task_row(key="old", value_bytes=100, expires_at=T - timedelta(days=3, hours=4), never_expire=False),
    task_row(key="older", dag_id="ml", value_bytes=300, expires_at=T - timedelta(days=9), never_expire=False),
    task_row(key="now", value_bytes=7, expires_at=T, never_expire=False),
    task_row(key="later", value_bytes=20, expires_at=T + timedelta(hours=2), never_expire=False),
    task_row(key="flagged", value_bytes=3, expires_at=T - TICK, never_expire=True),
    asset_row(value_bytes=50),
]


def is_expired(row: dict[str, Any], now: datetime) -> bool:
    expires_at = row["expires_at"]
    return row["store"] == "task" and expires_at is not None and not row["never_expire"] and expires_at < now


# --- numbers ---------------------------------------------------------------------------------------------------


@given(rows=many_rows(), now=instants())
def test_kept_and_deleted_are_all_in_rows_and_bytes(rows: list[dict[str, Any]], now: datetime) -> None:
    taken = snapshot(rows)
    preview = taken.preview(now)
    dead = [row for row in rows if is_expired(row, now)]
    size = sum(row["value_bytes"] for row in rows)
    assert (preview.deleted, preview.deleted_bytes) == (len(dead), sum(row["value_bytes"] for row in dead))
    assert preview.deleted + preview.kept == len(rows) == len(taken)
    assert preview.deleted_bytes + preview.kept_bytes == size == taken.value_bytes
    for table in (preview.by("dag_id"), preview.by("store", "key"), preview.by(*GROUP_COLUMNS)):
        totals = table[["deleted", "deleted_bytes", "kept", "kept_bytes"]].sum()
        assert list(totals) == [preview.deleted, preview.deleted_bytes, preview.kept, preview.kept_bytes]
    assert preview.reasons["rows"].sum() == len(rows)
    assert preview.reasons["value_bytes"].sum() == size


@given(rows=many_rows(), one=instants(), other=instants())
def test_a_later_now_never_deletes_less(rows: list[dict[str, Any]], one: datetime, other: datetime) -> None:
    taken, (first, second) = snapshot(rows), sorted([one, other])
    before, after = taken.preview(first), taken.preview(second)
    assert set(before.rows()["key"]) <= set(after.rows()["key"])
    assert before.deleted <= after.deleted
    assert before.deleted_bytes <= after.deleted_bytes


@given(rows=many_rows(), now=instants())
def test_the_rows_are_those_that_were_counted(rows: list[dict[str, Any]], now: datetime) -> None:
    preview = snapshot(rows).preview(now)
    assert sorted(preview.rows()["key"]) == sorted(row["key"] for row in rows if is_expired(row, now))
    assert len(preview.rows()) == preview.deleted
    assert len(preview.rows(verdict="keep")) == preview.kept
    assert sorted(preview.rows(verdict=None)["key"]) == sorted(row["key"] for row in rows)


def test_by_counts_per_group_largest_first() -> None:
    rows = snapshot(MIXED).preview().by("dag_id")
    table = [tuple(row) for row in rows.astype(object).where(rows.notna(), None).itertuples(index=False)]
    assert table == [
        ("ml", 1, 300, 0, 0, None),
        ("etl", 1, 100, 3, 30, T),
        (None, 0, 0, 1, 50, None),
    ]
    assert list(snapshot(MIXED).preview().by("key", "store").columns[:3]) == ["key", "store", "deleted"]


@given(rows=many_rows())
def test_by_agrees_with_dictionaries(rows: list[dict[str, Any]]) -> None:
    expected: dict[Any, list[Any]] = defaultdict(lambda: [0, 0, 0, 0, None])
    for row in rows:
        sums = expected[row["dag_id"], row["map_index"], row["region_id"]]
        gone = is_expired(row, T)
        sums[0 if gone else 2] += 1
        sums[1 if gone else 3] += row["value_bytes"]
        expires_at = row["expires_at"]
        if row["store"] == "task" and not gone and expires_at is not None and not row["never_expire"]:
            sums[4] = min(expires_at, sums[4] or expires_at)
    frame = snapshot(rows).preview().by("dag_id", "map_index", "region_id")
    found = {tuple(row[:3]): list(row[3:]) for row in _cells(frame)}
    assert found == expected
    order = [(-row[4], row[0] is None, row[0], row[1] or 0, row[2] is None, row[2]) for row in _cells(frame)]
    assert [key[:3] for key in order] == sorted(key[:3] for key in order)


def _cells(frame: pd.DataFrame) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in pa.Table.from_pandas(frame, preserve_index=False).to_pylist()]


def test_dtypes_are_the_documented_ones_with_rows_or_without() -> None:
    instant, span = "datetime64[us, UTC]", "timedelta64[us]"
    for preview in (snapshot(MIXED).preview(), snapshot([]).preview()):
        assert {name: str(dtype) for name, dtype in preview.rows().dtypes.items()} == {
            **dict.fromkeys(["store", "dag_id", "run_id", "task_id"], "str"),
            "map_index": "Int64",
            **dict.fromkeys(["region_id", "asset_name", "asset_uri", "key"], "str"),
            "value_bytes": "int64",
            **dict.fromkeys(["updated_at", "expires_at"], instant),
            **dict.fromkeys(["verdict", "reason"], "str"),
            "margin": span,
        }
        assert {name: str(dtype) for name, dtype in preview.reasons.dtypes.items()} == {
            **dict.fromkeys(["verdict", "reason"], "str"),
            **dict.fromkeys(["rows", "value_bytes"], "int64"),
            **dict.fromkeys(["soonest_margin", "latest_margin"], span),
        }
        assert {name: str(dtype) for name, dtype in preview.by("dag_id", "map_index", "active").dtypes.items()} == {
            "dag_id": "str",
            "map_index": "Int64",
            "active": "boolean",
            **dict.fromkeys(["deleted", "deleted_bytes", "kept", "kept_bytes"], "int64"),
            "next_expiry": instant,
        }


def test_reasons_put_deletions_first_and_tell_the_margins() -> None:
    reasons = snapshot([*MIXED, task_row(key="soon", expires_at=T + TICK)]).preview().reasons
    assert list(reasons["reason"]) == ["expired", "not-yet-expired", "asset-row", "never-expire"]
    assert list(reasons["rows"]) == [2, 3, 1, 1]
    assert reasons["soonest_margin"][0] == timedelta(days=-9)
    assert reasons["latest_margin"][1] == timedelta(hours=2)
    assert pd.isna(reasons["soonest_margin"][2])
    assert reasons["latest_margin"][3] == -TICK


# --- order and pages -------------------------------------------------------------------------------------------


@given(rows=many_rows(), seed=st.randoms(use_true_random=False))
def test_the_order_does_not_depend_on_how_rows_came_in(rows: list[dict[str, Any]], seed: Any) -> None:
    shuffled = list(rows)
    seed.shuffle(shuffled)
    one, other = snapshot(rows).preview(), snapshot(shuffled).preview()
    pd.testing.assert_frame_equal(one.rows(verdict=None), other.rows(verdict=None))
    pd.testing.assert_frame_equal(one.by("dag_id", "map_index"), other.by("dag_id", "map_index"))


def test_pages_are_cut_from_one_order() -> None:
    rows = [task_row(key=f"{number:04}", map_index=number % 3, expires_at=T - TICK) for number in range(500)]
    preview = snapshot([*rows, asset_row()]).preview()
    whole = preview.rows(verdict=None)
    pages = [preview.rows(100, offset, None) for offset in range(0, 600, 100)]
    pd.testing.assert_frame_equal(pd.concat(pages, ignore_index=True), whole)
    assert list(whole["store"]) == ["task"] * 500 + ["asset"]
    assert whole["map_index"][:500].is_monotonic_increasing
    assert len(preview.rows(0)) == 0
    assert len(preview.rows(10, offset=495)) == 5


def test_batches_stream_what_rows_returns() -> None:
    rows = [task_row(key=str(number), expires_at=T - TICK) for number in range(70_000)]
    preview = snapshot(rows).preview()
    batches = list(preview.batches())
    assert len(batches) > 1
    assert sum(batch.num_rows for batch in batches) == 70_000
    assert max(batch.num_rows for batch in batches) <= 32_768
    assert pa.Table.from_batches(batches)["key"].to_pylist() == sorted(row["key"] for row in rows)


# --- instants and mistakes -------------------------------------------------------------------------------------


def test_anything_that_reads_arrow_gets_the_rows_to_delete() -> None:
    preview = snapshot([task_row(expires_at=T - TICK), task_row(key="kept"), asset_row()]).preview()
    truth = preview.batches().read_all()
    assert truth.num_rows == 1
    assert pa.table(preview).equals(truth)
    assert pa.schema(preview) == truth.schema
    assert pl.DataFrame(preview)["key"].to_list() == truth["key"].to_pylist()


def test_now_is_the_snapshots_unless_given() -> None:
    taken = snapshot(MIXED, taken_at=T)
    assert taken.preview().now == T
    for now in (
        T + TICK,
        (T + TICK).astimezone(timezone(timedelta(hours=5, minutes=45))),
        "2026-11-22T10:00:00.000001Z",
        "2026-11-22 12:00:00.000001+02:00",
        pd.Timestamp("2026-11-22T10:00:00.000001999Z"),
    ):
        preview = taken.preview(now)
        assert (preview.now, preview.now.tzinfo) == (T + TICK, UTC)
        assert preview.deleted == 3


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ("2026-11-22T10:00:00", "no time zone"),
        ("2026-11-22", "no time zone"),
        (datetime(2026, 11, 22), "no time zone"),  # noqa: DTZ001
        ("tomorrow", "not an instant"),
        (1_790_000_000, "not an instant"),
        (pd.NaT, "not an instant"),
        ("0001-01-01T00:00:00+05:00", "not an instant"),
    ],
)
def test_an_instant_that_is_none_is_said(now: Any, said: str) -> None:
    with pytest.raises(QueryError, match=said) as caught:
        snapshot(MIXED).preview(now)
    assert "tzinfo=UTC" in str(caught.value.hint)


@pytest.mark.parametrize(
    "columns",
    [(), ("nope",), ("dag_id", "dag_id"), ("value_bytes",), ("dag_id; DROP TABLE rows",), ('dag_id" FROM rows--',)],
)
def test_columns_to_group_by_come_from_the_contract(columns: tuple[str, ...]) -> None:
    with pytest.raises(QueryError) as caught:
        snapshot(MIXED).preview().by(*columns)
    assert caught.value.hint


@pytest.mark.parametrize("given", [{"limit": -1}, {"offset": -1}, {"limit": 1.5}, {"limit": True}, {"verdict": "dead"}])
def test_pages_that_are_none_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(QueryError):
        snapshot(MIXED).preview().rows(**given)


# --- notes -----------------------------------------------------------------------------------------------------


def test_notes_say_what_the_numbers_cannot() -> None:
    def notes(rows: list[dict[str, Any]], now: datetime | None = None, **given: Any) -> str:
        return "\n".join(snapshot(rows, **given).preview(now).notes)

    assert notes(MIXED[:1]) == ""
    untold = notes([task_row(), task_row(key="b")], layout="airflow-3.3", has_never_expire=False)
    assert untold.startswith("2 rows without expiry cannot be told apart: the layout airflow-3.3 has no flag")
    assert notes([task_row(never_expire=False)]) == ""
    skipped = notes(MIXED[:1], custom_backend="acme.\x1bRedis")
    assert skipped.startswith("Cleanup is skipped: [state_store] backend is acme.\\x1bRedis,")
    assert notes([asset_row()]).startswith("1 asset row is never deleted by time")
    assert "before the snapshot" in notes(MIXED[:1], T - TICK)
    assert "after the snapshot" in notes(MIXED[:1], T + TICK)


# --- exports ---------------------------------------------------------------------------------------------------

HOSTILE_ROWS = [
    task_row(key=key, dag_id=key, value_bytes=number, expires_at=T - TICK * (number + 1), map_index=number)
    for number, key in enumerate(HOSTILE)
]


def test_hostile_keys_survive_every_export(tmp_path: Path) -> None:
    preview = snapshot(HOSTILE_ROWS).preview()
    expected = {(row["key"], row["dag_id"], row["value_bytes"], row["map_index"]) for row in HOSTILE_ROWS}

    def rows(records: Any) -> set[tuple[Any, ...]]:
        found = [(row["key"], row["dag_id"], int(row["value_bytes"]), int(row["map_index"])) for row in records]
        assert len(found) == len(HOSTILE_ROWS)
        return set(found)

    assert rows(preview.rows().to_dict("records")) == expected
    document = json.loads(str(preview.to_json()))
    assert rows(document["rows"]) == expected
    assert rows(csv.DictReader(io.StringIO(str(preview.to_csv()), newline=""))) == expected
    assert rows(pq.read_table(preview.to_parquet(tmp_path / "rows.parquet")).to_pylist()) == expected
    json_file, csv_file = preview.to_json(tmp_path / "rows.json"), preview.to_csv(tmp_path / "rows.csv")
    assert Path(json_file).read_bytes().decode() == preview.to_json()
    assert Path(csv_file).read_bytes().decode() == preview.to_csv()
    assert len(list(tmp_path.iterdir())) == 3


def test_json_holds_the_numbers_exactly() -> None:
    document = json.loads(str(snapshot(MIXED).preview().to_json(verdict=None)))
    assert document["now"] == document["taken_at"] == "2026-11-22T10:00:00.000000Z"
    assert (document["deleted"], document["kept"]) == (2, 4)
    assert (document["deleted_bytes"], document["kept_bytes"]) == (400, 80)
    margins = {row["key"]: row["margin_us"] for row in document["rows"]}
    assert margins["flagged"] == -1
    assert margins["old"] == -(3 * 24 + 4) * 3600 * 1_000_000
    assert margins["k"] is None
    assert document["reasons"][0]["soonest_margin_us"] == -9 * 86_400 * 1_000_000
    assert document["rows"][0]["updated_at"] == "2026-11-21T10:00:00.000000Z"
    assert json.loads(str(snapshot([]).preview().to_json()))["rows"] == []


@given(rows=many_rows(), now=instants())
def test_exports_agree(rows: list[dict[str, Any]], now: datetime) -> None:
    preview = snapshot(rows).preview(now)
    in_json = json.loads(str(preview.to_json(verdict=None)))["rows"]
    in_csv = list(csv.DictReader(io.StringIO(str(preview.to_csv(verdict=None)), newline="")))
    for one, other, whole in zip(in_json, in_csv, preview.batches(verdict=None).read_all().to_pylist(), strict=True):
        assert one["key"] == other["key"] == whole["key"]
        assert ("" if one["margin_us"] is None else str(one["margin_us"])) == other["margin_us"]
        margin = whole["margin"]
        assert one["margin_us"] == (None if margin is None else margin // timedelta(microseconds=1))


@pytest.mark.parametrize("method", ["to_json", "to_csv", "to_parquet"])
def test_a_file_is_replaced_only_when_asked(method: str, tmp_path: Path) -> None:
    preview = snapshot(MIXED).preview()
    path = tmp_path / "out"
    path.write_text("mine")
    with pytest.raises(QueryError, match=r"out exists\n"):
        getattr(preview, method)(path)
    assert path.read_text() == "mine"
    assert getattr(preview, method)(path, overwrite=True) == path
    assert path.read_bytes() != b"mine"
    with pytest.raises(QueryError, match="is a directory"):
        getattr(preview, method)(tmp_path, overwrite=True)
    with pytest.raises(QueryError, match="cannot write in"):
        getattr(preview, method)(tmp_path / "no" / "where")
    with pytest.raises(QueryError, match="no verdict"):
        getattr(preview, method)(tmp_path / "new", verdict="dead")
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


# --- what is shown ---------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Collects what a browser would: tags, attributes, text."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


KNOWN_TAGS = {"div", "style", "p", "span", "table", "thead", "tbody", "tr", "th", "td", "code", "em"}


@pytest.mark.parametrize("key", HOSTILE)
def test_html_shows_hostile_keys_and_runs_none(key: str) -> None:
    row = task_row(key=key, dag_id=key, run_id=key, task_id=key, expires_at=T - TICK)
    page = snapshot([row], database=f"sqlite:///{key}", layout=key).preview()._repr_html_()
    parsed = Page(page)
    assert {tag for tag, _ in parsed.tags} <= KNOWN_TAGS
    assert {name for _, attrs in parsed.tags for name in attrs} <= {"class", "style", "title", "scope", "tabindex"}
    titles = [attrs["title"] for tag, attrs in parsed.tags if tag == "code"]
    assert titles == [plain(key)] * 5  # by Dag; then key, Dag, run, task
    assert html.unescape(escape(key)) == plain(key)
    assert not re.search(r"https?:|url\(|@import|<svg|<script", page)


def test_html_takes_its_colours_from_the_page() -> None:
    page = snapshot(MIXED).preview()._repr_html_()
    style = re.search("<style>(.*?)</style>", page, re.S)
    assert style
    assert all(rule.strip().startswith(".sk-box.sk-box") for rule in re.findall(r"([^{}]+)\{", style[1]))
    for name, value in re.findall(r"(color|background):([^;}]+)", style[1]):
        assert value in ("inherit", "transparent", "#e5484d") or "currentColor" in value, (name, value)


def test_html_shows_numbers_bars_and_margins() -> None:
    page = snapshot(MIXED).preview()._repr_html_()
    assert ">2</div>" in page
    assert "400 B" in page
    bars = re.findall('style="width:([^"]+)"', page)
    assert bars == ["33.3%", "100.0%", "33.3%", "0.0%"]  # 2 of 6 rows; then each Dag's bytes against the largest
    assert "3 d 4 h ago" in page
    assert "asset rows" in page
    empty = snapshot([]).preview()._repr_html_()
    assert "nan" not in page + empty
    Page(empty)
    many = snapshot([task_row(dag_id=f"d{number}", expires_at=T - TICK) for number in range(25)]).preview()
    assert "and 15 more" in many._repr_html_()
    assert "The first 10 of 25 rows" in many._repr_html_()


def test_text_is_for_a_terminal() -> None:
    shown = repr(snapshot(MIXED, layout="x\x1b[31m").preview())
    assert "\x1b" not in shown
    assert "x\\x1b[31m" in shown
    assert re.search(r"keep +4 rows +80 B$", shown, re.M)
    # A lone reason stands beside the total, several below it: no number is there twice.
    assert re.findall(r".*400 B.*", shown) == [next(line for line in shown.splitlines() if "expired:" in line)]
    assert re.search(r"^  delete +2 rows +400 B  expired: ", shown, re.M)
    assert re.search(r"^ +\d rows? +\d+ B  not expired yet$", shown, re.M)
    assert isinstance(snapshot(MIXED).preview(), Preview)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31m", "a\\x1b[31m"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\u2066x\u2069", "\\u2066x\\u2069"),
        ("a\u200bb\ufeff", "a\\u200bb\\ufeff"),
        ("a\u200db", "a\\u200db"),
        ("line\nfeed\r\t\x00\x7f\x9b", "line\\x0afeed\\x0d\\x09\\x00\\x7f\\x9b"),
        ("\u2028\u2029\u0085", "\\u2028\\u2029\\x85"),
        ("\U000e0041", "\\U000e0041"),
        ("👩\u200d🚀 ❤\ufe0f\u200d🔥 漢字 e\u0301 ß ü", "👩\u200d🚀 ❤\ufe0f\u200d🔥 漢字 e\u0301 ß ü"),
        ("plain \\ 'text'", "plain \\ 'text'"),
    ],
)
def test_what_hides_is_spelled(text: str, shown: str) -> None:
    assert plain(text) == shown


@given(text=st.text())
def test_no_control_character_passes(text: str) -> None:
    shown = plain(text)
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)
    assert html.unescape(escape(text)) == shown
    assert not re.search("[<>\"']", escape(text))


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1234, "1.2 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (34_500_000, "34.5 MB"),
        (2**63 - 1, "9.2 EB"),
        (10**24, "1000000.0 EB"),
        (-1500, "-1.5 kB"),
    ],
)
def test_sizes(size: int, shown: str) -> None:
    assert human_bytes(size) == shown


@pytest.mark.parametrize(
    ("margin", "shown"),
    [
        (None, "no expiry"),
        (pd.NaT, "no expiry"),
        (timedelta(0), "now"),
        (TICK, "in less than 1 s"),
        (-TICK, "less than 1 s ago"),
        (timedelta(hours=2), "in 2 h"),
        (-timedelta(days=3, hours=4, minutes=59), "3 d 4 h ago"),
        (timedelta(days=1, minutes=5), "in 1 d"),
        (timedelta(minutes=59, seconds=59, microseconds=999_999), "in 59 min 59 s"),
        (timedelta(days=400), "in 1 y 35 d"),
        (timedelta.max, "in 2,739,726 y 9 d"),
        (pd.Timedelta(hours=-1), "1 h ago"),
    ],
)
def test_margins(margin: timedelta | None, shown: str) -> None:
    assert human_margin(margin) == shown


def test_a_cut_never_parts_a_mark_from_its_letter() -> None:
    assert shorten("abc", 3) == "abc"
    assert shorten("abcd", 3) == "ab…"
    assert shorten("abe\u0301d", 4) == "ab…"
