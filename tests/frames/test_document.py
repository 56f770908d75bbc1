"""The report as one file: whole, offline, and inert whatever the store holds."""

from __future__ import annotations

import base64
import re
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from contract_rows import HOSTILE, T, asset_row, many_rows, snapshot, task_row
from hypothesis import HealthCheck, given, settings

import storekit as sk
from storekit.errors import QueryError

DAY = timedelta(days=1)


class Page(HTMLParser):
    """What a browser would see: elements, addresses, text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def page(path: Path) -> Page:
    read = Page(path.read_text(encoding="utf-8"))
    assert not {"script", "iframe", "object", "embed", "form", "link", "base", "svg"} & set(read.tags)
    for _, name, value in read.attributes:
        assert not name.startswith("on")
        if name in {"src", "href"}:
            assert value.startswith(("data:image/svg+xml;base64,", "#"))
    for _, name, value in read.attributes:
        if name == "src":
            drawn = Page(base64.b64decode(value.partition(",")[2]).decode())
            assert not {"script", "image", "foreignobject", "a", "style"} & set(drawn.tags)
    return read


def test_it_holds_all_parts_and_their_numbers(tmp_path: Path) -> None:
    rows = [
        task_row(key=f"k{number}", value_bytes=100, updated_at=T - number * DAY, expires_at=T - number * DAY + 30 * DAY)
        for number in range(60)
    ]
    taken = snapshot([*rows, asset_row()])
    path = sk.report(taken, tmp_path / "store.html")
    read = page(path)
    said = " ".join(read.texts)
    for title in ("Contents", "What cleanup would delete", "Policies from now on", "Bytes against risk"):
        assert title in read.texts
    assert "60 task rows, 1 asset row, 6.0 kB of values" in said
    assert f"{taken.preview().deleted}" in read.texts
    assert "a shorter retention deletes nothing more today" in said
    for sentence in taken.simulate(sk.Policy(), mode="as-if", future=False).assumptions:
        assert read.texts.count(sentence) == 1, "what holds for all parts is said once"
    assert "30 days" in read.texts
    ids = {value for _, name, value in read.attributes if name == "id"}
    links = {value[1:] for tag, name, value in read.attributes if tag == "a" and name == "href"}
    assert links <= ids
    assert len(links) == 6


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(many_rows())
def test_any_store_makes_an_inert_page(tmp_path: Path, rows: list[dict[str, object]]) -> None:
    page(sk.report(snapshot(rows), tmp_path / "any.html", overwrite=True))


def test_hostile_names_are_shown_as_text(tmp_path: Path) -> None:
    rows = [task_row(dag_id=name, key=f"{number}{name}"[:512]) for number, name in enumerate(HOSTILE)]
    path = sk.report(
        snapshot(rows), tmp_path / "hostile.html", policies=[sk.Policy(name="<img src=x onerror=alert(1)>")]
    )
    read = page(path)
    assert "<script>alert(1)</script>" in read.texts
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e]", path.read_text(encoding="utf-8"))


def test_a_file_is_replaced_only_if_asked_and_is_whole_or_absent(tmp_path: Path) -> None:
    taken = snapshot([task_row()])
    path = sk.report(taken, tmp_path / "store.html")
    before = path.read_bytes()
    with pytest.raises(QueryError, match="exists"):
        sk.report(taken, path)
    with pytest.raises(QueryError, match="before the snapshot"):
        sk.report(taken, tmp_path / "early.html", now=T - DAY)
    with pytest.raises(QueryError, match="no policy"):
        sk.report(taken, tmp_path / "none.html", policies=[])
    assert [each.name for each in tmp_path.iterdir()] == ["store.html"]
    assert path.read_bytes() == before
    assert sk.report(taken, path, overwrite=True) == path


def test_an_empty_store_has_a_report(tmp_path: Path) -> None:
    assert "The store is empty." in page(sk.report(snapshot([]), tmp_path / "empty.html")).texts


def test_the_command_line_writes_it(tmp_path: Path) -> None:
    from storekit.cli import main

    snapshot([task_row()]).save(tmp_path / "saved")
    assert main(["report", str(tmp_path / "saved"), str(tmp_path / "store.html"), "--days", "14"]) == 0
    assert "14 days" in " ".join(page(tmp_path / "store.html").texts)
    assert main(["report", str(tmp_path / "saved"), str(tmp_path / "store.html")]) == 1  # it is there
