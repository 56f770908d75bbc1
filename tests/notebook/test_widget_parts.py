"""The parts in Python: what their traits take, what a change sends, and that script and style are shipped."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from traitlets import TraitError

from storekit.notebook import parts
from storekit.notebook.parts import Code, Confirm, Facet, Notice, Part, Retention, Table, Tabs, Work

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(parts.__file__).parent
ALL = [Code, Confirm, Facet, Notice, Retention, Table, Tabs, Work]


@pytest.mark.parametrize("kind", ALL)
def test_each_has_its_script_and_the_style(kind: type[Part]) -> None:
    esm = str(kind._esm)
    own = (FOLDER / f"{kind.__name__.lower()}.js").read_text(encoding="utf-8")
    assert esm.endswith(own)
    assert "export default" in own
    assert esm.startswith((FOLDER / "common.js").read_text(encoding="utf-8"))
    assert str(kind._css) == (FOLDER / "parts.css").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted([*FOLDER.glob("*.js"), *FOLDER.glob("*.css")]), ids=lambda path: path.name)
def test_scripts_make_no_markup_and_fetch_nothing(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "srcdoc"):
        assert word not in text
    for word in ("http:", "https:", "//cdn", "fetch(", "XMLHttpRequest", "@import", "url(", "import "):
        assert word not in text.replace("import no neighbour", "")


def test_script_and_style_are_in_the_wheel(tmp_path: Path) -> None:
    builder = pytest.importorskip(
        "hatchling.builders.wheel", reason="no hatchling; bring it with `pip install hatchling`"
    )
    (wheel,) = builder.WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = {path.relative_to(ROOT).as_posix() for path in FOLDER.iterdir() if path.suffix in {".js", ".css", ".py"}}
    assert {"storekit/notebook/parts/table.js", "storekit/notebook/parts/parts.css"} <= shipped
    assert shipped <= names


@pytest.mark.parametrize("kind", ALL)
def test_an_unknown_keyword_is_refused(kind: type[Part]) -> None:
    with pytest.raises(TypeError, match=rf"{kind.__name__} has no 'colour_of'; it has "):
        kind(colour_of="red")
    with pytest.raises(TypeError, match="has no '_esm'"):
        kind().put(_esm="")


def test_put_is_one_message_with_what_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(columns=[{"name": "a"}], rows=[["x"]], caption="same")
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(type(table), "_send", lambda self, message, buffers=None: sent.append(message))
    monkeypatch.setattr(table.comm, "kernel", object(), raising=False)  # else there is nobody to send to
    table.put(caption="same", rows=[["y"]], page=3)
    assert [message["state"] for message in sent] == [{"rows": [["y"]], "page": 3}]


def test_put_checks_together_and_sets_nothing_if_one_is_refused() -> None:
    table = Table(columns=[{"name": "a"}], rows=[["x"]])
    table.put(rows=[["1", "2"]], columns=[{"name": "a"}, {"name": "b"}])  # neither alone would fit
    assert table.rows == [["1", "2"]]
    with pytest.raises(TraitError, match=r"rows\[0\] has 1 texts for 2 columns"):
        table.put(caption="new", rows=[["only"]])
    assert (table.caption, table.rows) == ("", [["1", "2"]])


# Table


texts = st.text(max_size=5)


@given(width=st.integers(0, 4), data=st.data())
def test_rows_have_one_text_per_column(width: int, data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.lists(texts, max_size=5), max_size=4))
    table = Table(columns=[{"name": str(at)} for at in range(width)])
    fits = True
    for row in rows:
        fits = fits and len(row) == width
    if fits:
        table.rows = rows
        assert table.rows == rows
    else:
        with pytest.raises(TraitError, match="columns"):
            table.rows = rows
        assert table.rows == []


def test_columns_are_filled_in_and_checked() -> None:
    table = Table(columns=[{"name": "n"}, {"name": "m", "label": "M", "numeric": True, "sortable": True}])
    assert table.columns == [
        {"name": "n", "label": "n", "numeric": False, "sortable": False, "short": False},
        {"name": "m", "label": "M", "numeric": True, "sortable": True, "short": False},
    ]
    for columns, message in [
        ([{"label": "x"}], "has no 'name'"),
        ([{"name": 1}], "name is 1, which is no str"),
        ([{"name": "a", "numeric": 1}], "numeric is 1, which is no bool"),
        ([{"name": "a", "width": 3}], "has 'width'; it may have name, label, numeric, sortable, short"),
        ([{"name": "a"}, {"name": "a"}], "one name twice"),
    ]:
        with pytest.raises(TraitError, match=message):
            table.columns = columns


@pytest.mark.parametrize(
    ("name", "value"),
    [("page", -1), ("pages", -1), ("selected", -2), ("page_size", 0), ("page_sizes", [10, 0]), ("marks", ["gone"])],
)
def test_a_table_refuses(name: str, value: object) -> None:
    with pytest.raises(TraitError):
        Table(**{name: value})


# Facet


@given(share=st.floats() | st.integers(-2, 2))
def test_a_share_is_from_nothing_to_all(share: float) -> None:
    items = [{"value": "v", "text": "v", "share": share}]
    if share >= 0 and share <= 1:
        assert Facet(items=items).items[0]["share"] == share
    else:
        with pytest.raises(TraitError, match="share"):
            Facet(items=items)


def test_a_facets_items_are_filled_in_and_checked() -> None:
    item = {"value": "v", "text": "shown"}
    assert Facet(items=[item]).items == [{**item, "rows": "", "size": "", "share": 0.0, "missing": False}]
    for items in ([{"value": "v"}], [item, item], [{**item, "rows": 3}], [{**item, "share": True}]):
        with pytest.raises(TraitError):
            Facet(items=items)


def test_a_chosen_value_is_spelled_until_the_caller_spells_it() -> None:
    facet = Facet()
    facet.selected = "a\u202eb"
    assert facet.selected_text == "a\\u202eb"
    facet.selected_text = "(no map index)"
    assert facet.selected_text == "(no map index)"
    facet.selected = None
    assert facet.selected_text == ""


# Retention


@given(value=st.integers(-5, 120), most=st.integers(-5, 120))
def test_a_retention_is_within_its_bounds(value: int, most: int) -> None:
    if 0 <= value <= most and most >= 1:
        part = Retention(value=value, hard_maximum=most)
        assert (part.value, part.hard_maximum) == (value, most)
        with pytest.raises(TraitError):
            part.value = most + 1
    else:
        with pytest.raises(TraitError):
            Retention(value=value, hard_maximum=most)


def test_bounds_and_value_change_together() -> None:
    part = Retention(value=50, hard_maximum=60)
    with pytest.raises(TraitError, match="value is 50 days, above hard_maximum, which is 40"):
        part.hard_maximum = 40
    part.put(hard_maximum=40, value=30)
    assert (part.value, part.hard_maximum) == (30, 40)
    with pytest.raises(TraitError):
        part.value = 1.5


@pytest.mark.parametrize("colour", ["red", "#12345", "#1234567", "#12345g", "#123456\n", "url(x)", "var(--x)"])
def test_a_colour_is_six_digits(colour: str) -> None:
    assert Retention(colour="#a0B1c2").colour == "#a0B1c2"
    with pytest.raises(TraitError, match="#rrggbb"):
        Retention(colour=colour)


# Confirm


@given(
    expected=st.sampled_from(["", "a", "delete 3 rows"]),
    shots=st.lists(st.tuples(st.sampled_from(["", "a", "A", "delete 3 rows"]), st.integers(0, 3)), max_size=6),
    disabled=st.booleans(),
)
def test_each_right_click_is_called_once_and_no_other(
    expected: str, shots: list[tuple[str, int]], disabled: bool
) -> None:
    part = Confirm(expected=expected, disabled=disabled)
    calls: list[str] = []
    part.on_fire(calls.append)
    wanted: list[str] = []
    held, seen = 0, None
    for typed, count in shots:
        part.fired = {"typed": typed, "about": "", "count": count}
        if (typed, count) != seen and count > held and typed == expected and expected and not disabled:
            wanted.append(typed)
        held, seen = count, (typed, count)
    assert calls == wanted


@pytest.mark.parametrize(
    "shot",
    [
        {"typed": "a", "about": ""},
        {"about": "", "count": 9},
        {"typed": "a", "count": 9},
        {"typed": "a", "about": "", "count": "9"},
        {"typed": ["a"], "about": "", "count": 9},
        {"typed": "a", "about": "", "count": True},
    ],
)
def test_what_is_no_click_is_refused(shot: dict[str, Any]) -> None:
    part = Confirm(expected="a")
    calls: list[str] = []
    part.on_fire(calls.append)
    with pytest.raises(TraitError, match="fired"):
        part.fired = shot
    assert calls == []


def test_on_fire_ends() -> None:
    part = Confirm(expected="a")
    calls: list[str] = []
    end = part.on_fire(calls.append)
    part.fired = {"typed": "a", "about": "", "count": 10}
    part.fired = {}
    end()
    part.fired = {"typed": "a", "about": "", "count": 11}
    assert calls == ["a"]


def test_a_click_on_its_way_when_another_thing_came_confirms_nothing() -> None:
    part = Confirm(expected="delete 3 rows", about="these")
    calls: list[str] = []
    part.on_fire(calls.append)
    part.about = "others"
    part.fired = {"typed": "delete 3 rows", "about": "these", "count": 1}
    assert calls == []
    part.fired = {"typed": "delete 3 rows", "about": "others", "count": 2}
    assert calls == ["delete 3 rows"]


def test_typing_or_arming_fires_nothing() -> None:
    part = Confirm(expected="a")
    calls: list[str] = []
    part.on_fire(calls.append)
    part.put(typed="a", armed=True)
    assert calls == []


@pytest.mark.parametrize("expected", ["a\u202eb", "a\u200bb", "line\n", " a", "a "])
def test_what_cannot_be_typed_is_not_asked_for(expected: str) -> None:
    with pytest.raises(TraitError, match="cannot be typed"):
        Confirm(expected=expected)


# The rest


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Notice, {"kind": "fatal"}),
        (Work, {"done": -1}),
        (Work, {"total": -1}),
        (Tabs, {"selected": -1}),
        (Code, {"text": 3}),
    ],
)
def test_what_is_refused(kind: type[Part], values: dict[str, Any]) -> None:
    with pytest.raises(TraitError):
        kind(**values)
