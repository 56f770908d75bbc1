"""The documentation site builds without a warning, names everything public, and fetches nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import zlib
from html.parser import HTMLParser
from pathlib import Path

import pytest

import storekit
from storekit import testing
from storekit.frames.contract import ASSETS, ROWS, TASKS, Table

for part in ("sphinx", "myst_parser", "furo"):
    pytest.importorskip(part, reason="the documentation site: pip install -e '.[test]'")

DOCS = Path(__file__).resolve().parent.parent / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; built once, however many workers share the tests of this module."""
    root = tmp_path_factory.getbasetemp()
    folder = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "site"
    try:
        folder.mkdir()
    except FileExistsError:
        for _ in range(6000):
            if (folder / "warnings").exists():
                break
            time.sleep(0.1)
    else:
        options = ["-q", "-W", "--keep-going", "-d", str(folder / "doctrees")]
        done = subprocess.run(
            [sys.executable, "-m", "sphinx", *options, str(DOCS), str(folder / "html")],
            capture_output=True,
            text=True,
            check=False,
        )
        (folder / "said").write_text(
            done.stderr or f"it ended with {done.returncode}" if done.returncode else "", encoding="utf-8"
        )
        (folder / "said").rename(folder / "warnings")
    warnings = (folder / "warnings").read_text(encoding="utf-8")
    assert not warnings, warnings
    return folder / "html"


def inventory(site: Path) -> dict[str, str]:
    """Every Python name that the site describes, and where: read from the file that other sites would link by."""
    _, _, packed = (site / "objects.inv").read_bytes().partition(b"using zlib.\n")
    found = {}
    for line in zlib.decompress(packed).decode().splitlines():
        name, role, _, place, _ = line.split(" ", 4)
        if role.startswith("py:"):
            found[name] = place.replace("$", name)
    return found


class Page(HTMLParser):
    """What a browser would load of itself, the ids, and the first column of each table."""

    ATTRIBUTES = frozenset({"src", "srcset", "poster", "data", "background"})
    LOADING_LINKS = frozenset(
        {"stylesheet", "preload", "modulepreload", "prefetch", "preconnect", "dns-prefetch", "icon"}
    )

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.styles: list[str] = []
        self.ids: set[str] = set()
        self.tables: list[list[str]] = []
        self.under: list[str] = []
        self.cells = 0
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.ids.add(given["id"])
        self.styles.append(given.get("style", ""))
        self.loads += [given[name] for name in self.ATTRIBUTES & given.keys()]
        if tag == "link" and self.LOADING_LINKS & set(given.get("rel", "").split()):
            self.loads.append(given["href"])
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.cells = 0
        if tag == "td":
            self.cells += 1
            if self.cells == 1 and self.tables:
                self.tables[-1].append("")
        if tag in {"style", "td"}:
            self.under.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.under and self.under[-1] == tag:
            self.under.pop()

    def handle_data(self, data: str) -> None:
        if self.under == ["style"]:
            self.styles.append(data)
        if self.under == ["td"] and self.cells == 1:
            self.tables[-1][-1] += data.strip()


def elsewhere(page: Page) -> list[str]:
    return [*filter(from_another_host, page.loads), *loaded_by_css("\n".join(page.styles))]


def from_another_host(place: str) -> bool:
    return re.search(r"(^|[\s,])([a-z]+:)?//", place, re.IGNORECASE) is not None


def loaded_by_css(text: str) -> list[str]:
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    places = re.findall(r"""(?:url\(\s*|@import\s+)["']?([^"')\s]+)""", text)
    return [place for place in places if not place.startswith("data:") and from_another_host(place)]


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    described = inventory(site)
    missing = [name for name in storekit.__all__ if f"storekit.{name}" not in described]
    assert not missing, f"add them to a page of docs/api: {missing}"
    pages = {place.partition("#")[0] for place in described.values()}
    ids = {page: Page(site / page).ids for page in pages}
    for name in storekit.__all__:
        page, _, anchor = described[f"storekit.{name}"].partition("#")
        assert page.startswith("api/")
        assert anchor in ids[page]


def test_every_error_and_all_of_the_testing_kit_is_in_the_reference(site: Path) -> None:
    described = inventory(site)
    assert {f"storekit.errors.{name}" for name in storekit.errors.__all__} - {"storekit.errors.StorekitError"} <= set(
        described
    )
    kit = {name.rpartition(".")[2] for name in described if name.startswith("storekit.testing.")}
    assert set(testing.__all__) <= kit


def test_nothing_private_or_inherited_from_elsewhere_is_in_the_reference(site: Path) -> None:
    described = set(inventory(site))
    private = [name for name in described if re.search(r"\._(?!_version__$)", name)]
    noise = [name for name in described if name.rpartition(".")[2] in {"model_dump", "model_config", "with_traceback"}]
    assert (private, noise) == ([], [])


@pytest.mark.parametrize("table", [TASKS, ASSETS, ROWS], ids=lambda table: table.name)
def test_every_column_is_in_the_reference(site: Path, table: Table) -> None:
    names = [column.name for column in table.columns]
    assert names in Page(site / "api" / "tables.html").tables


def test_the_site_loads_nothing_from_another_host(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 15
    assert {page.name: found for page in pages if (found := elsewhere(Page(page)))} == {}
    sheets = sorted(site.rglob("*.css"))
    assert sheets
    assert {each.name: found for each in sheets if (found := loaded_by_css(each.read_text(encoding="utf-8")))} == {}


@pytest.mark.parametrize(
    "markup",
    [
        '<script src="https://cdn.example/x.js"></script>',
        '<link rel="stylesheet" href="//cdn.example/x.css">',
        '<link rel="preload" as="font" href="http://cdn.example/x.woff2">',
        '<img src="https://cdn.example/x.png">',
        '<img srcset="local.png 1x, https://cdn.example/x.png 2x">',
        "<style>@import 'https://cdn.example/x.css';</style>",
        "<style>@font-face { src: url(https://cdn.example/x.woff2) }</style>",
        '<p style="background: url(//cdn.example/x.png)">',
    ],
)
def test_what_comes_from_another_host_is_seen(markup: str, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(f"<body>{markup}</body>", encoding="utf-8")
    assert elsewhere(Page(tmp_path / "page.html"))


@pytest.mark.parametrize(
    "markup",
    [
        '<a href="https://elsewhere.example/">a link that one may follow</a>',
        '<script src="_static/x.js?v=1"></script>',
        "<style>p { background: url(data:image/svg+xml;base64,//8=) }</style>",
    ],
)
def test_what_does_not_is_let_through(markup: str, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(f"<body>{markup}</body>", encoding="utf-8")
    assert not elsewhere(Page(tmp_path / "page.html"))


def test_the_contents_name_every_page() -> None:
    contents = (DOCS / "index.md").read_text(encoding="utf-8")
    for page in sorted(DOCS.glob("*.md")):
        if page.stem != "index":
            assert f"({page.name})" in contents, "the table of contents is for readers on a code host too"
