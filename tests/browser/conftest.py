"""One server and one browser for the tests here; windows and kernels for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from parts import chromium, require
from playwright.sync_api import expect, sync_playwright

from browser.guard import Guard
from browser.lab import Lab
from browser.server import LabServer

FLAGS = [
    "--no-sandbox",  # Chromium refuses to run as root with it
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
]


@pytest.fixture(scope="package")
def opened_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The server and the browser; closed before other tests run, for Playwright's loop would be in theirs."""
    require("chromium")
    expect.set_options(timeout=20_000)  # a busy machine is no failure
    home = tmp_path_factory.mktemp("lab")
    with Guard() as guard, LabServer(home) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS, proxy=guard.proxy)
        yield Lab(server, browser, guard)
        browser.close()
        assert guard.take() == [], "the browser asked for what is not on 127.0.0.1 after its tests"


@pytest.fixture
def lab(opened_lab: Lab) -> Iterator[Lab]:
    """JupyterLab in a browser. The test fails if any page asked for anything that is not on 127.0.0.1."""
    yield opened_lab
    opened_lab.close_pages()
    assert opened_lab.guard.take() == [], "the browser asked for what is not on 127.0.0.1"
