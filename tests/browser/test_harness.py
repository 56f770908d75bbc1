"""The ground the notebooks are tested on: what it says went well did, and what goes wrong is seen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from browser.axe import axe
from browser.guard import leaves
from browser.lab import OUTPUTS, Lab

SLIDER = """
import ipywidgets
slider = ipywidgets.IntSlider(description="Days", max=90, value=7)
name = ipywidgets.Text(description="Name")
said = ipywidgets.HTML()
def say(_):
    said.value = f"<p>{slider.value} days of {name.value or 'nobody'}</p>"
slider.observe(say, "value")
name.observe(say, "value")
ipywidgets.VBox([slider, name, said])
"""

# Ten pixels square.
PIXELS = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAoAAAAKCAYAAACNMs+9AAAA"
    "FUlEQVR42mP8z8BQz0AEYBxVSF+FABJADveWkH6oAAAAAElFTkSuQmCC"
)
FALLBACK = f"""
import ipywidgets
class Box(ipywidgets.VBox):
    def _repr_mimebundle_(self, **_):
        table = "<table><tr><th>rows</th></tr><tr><td>1234</td></tr></table>"
        picture = '<img alt="picture" src="{PIXELS}"><svg id="inline"></svg>'
        return super()._repr_mimebundle_() | {{"text/html": table + picture}}
Box([ipywidgets.Label("alive")])
"""

MODEL_NOT_FOUND = "model not found"


def test_the_keyboard_reaches_the_kernel_and_its_answer_the_page(lab: Lab, tmp_path: Path) -> None:
    lab.write("slider", [SLIDER])
    page = lab.open("slider")
    lab.run_all(page)
    slider = page.get_by_role("slider")
    for _ in range(3):
        slider.press("ArrowRight")
    expect(lab.output(page, 0)).to_contain_text("10 days of nobody")
    page.get_by_label("Name").fill("ana")
    expect(lab.output(page, 0)).to_contain_text("10 days of ana")
    assert lab.errors(page) == []
    assert lab.screenshot(page, tmp_path / "slider.png", OUTPUTS).read_bytes()[:4] == b"\x89PNG"


def test_a_cell_that_raises_says_which_and_what(lab: Lab) -> None:
    lab.write("raising", ["1 + 1", "raise ValueError('no such shelf')", "2 + 2"])
    page = lab.open("raising")
    with pytest.raises(AssertionError, match=r"(?s)cell 2:.*ValueError.*no such shelf"):
        lab.run_all(page)


def test_cells_can_be_run_twice(lab: Lab) -> None:
    lab.write("twice", ["runs = globals().get('runs', 0) + 1", "print('run', runs)"])
    page = lab.open("twice")
    for run in (1, 2):
        lab.run_all(page)
        expect(lab.output(page, 1)).to_contain_text(f"run {run}")


def test_a_callback_that_raises_is_not_lost(lab: Lab) -> None:
    button = (
        "import ipywidgets\nbutton = ipywidgets.Button(description='Break')\nbutton.on_click(lambda _: 1 / 0)\nbutton"
    )
    lab.write("breaking", [button])
    page = lab.open("breaking")
    lab.run_all(page)
    assert lab.errors(page) == []
    page.get_by_role("button", name="Break").click()
    page.wait_for_function("() => window.storekitRaised.length > 0")
    assert "ZeroDivisionError" in "\n".join(lab.errors(page))


def test_what_jupyterlab_asks_a_kernel_without_widgets_is_no_error_and_a_comm_that_is_lost_is(lab: Lab) -> None:
    told = "import ipywidgets\nfrom comm import get_comm_manager\nbox = ipywidgets.IntText(description='Days')\nbox"
    lab.write("comms", ["1", told, "get_comm_manager().comms.pop(box.comm.comm_id)\n'lost'"])
    page = lab.open("comms")
    # Said again here, since the page itself may have said it before anybody listened.
    page.evaluate(
        """() => { const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
        const comm = kernel.createComm('jupyter.widget.control');
        comm.open(); comm.send({method: 'request_states'}); }"""
    )
    lab.run_all(page)
    assert lab.errors(page) == []
    page.get_by_label("Days").fill("3")
    page.get_by_label("Days").press("Enter")
    page.wait_for_function("() => window.storekitRaised.length > 0")
    assert lab.errors(page)[0].startswith("No such comm: ")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_theme_is_lab_s_own(lab: Lab, theme: str) -> None:
    lab.write("theme", ["1"])
    page = lab.open("theme", theme)  # type: ignore[arg-type]
    background = page.evaluate("getComputedStyle(document.body).getPropertyValue('--jp-layout-color0').trim()")
    brightness = sum(
        page.evaluate(
            """colour => { const c = document.createElement('canvas').getContext('2d'); c.fillStyle = colour;
        c.fillRect(0, 0, 1, 1); return Array.from(c.getImageData(0, 0, 1, 1).data.slice(0, 3)); }""",
            background,
        )
    )
    assert (brightness > 600) if theme == "light" else (brightness < 150)


@pytest.mark.parametrize(
    "script",
    [
        "fetch('https://example.com/page').catch(() => 0)",
        "new Promise(done => { const s = new WebSocket('wss://example.com/live'); s.onerror = () => done(0); })",
        "new Promise(done => { const i = new Image(); i.onerror = () => done(0); i.src = 'http://192.0.2.7/a.png'; })",
        "fetch('http://localhost:9/').catch(() => 0)",
        """new Promise(done => {
        const code = "fetch('https://example.com/w').catch(() => 0).then(() => postMessage(0))";
        new Worker(URL.createObjectURL(new Blob([code]))).onmessage = () => done(0); })""",
    ],
    ids=["fetch", "socket", "image", "another name of this machine", "worker"],
)
def test_what_leaves_is_seen(lab: Lab, tmp_path: Path, script: str) -> None:
    page = _static(lab, tmp_path, "<p>calm</p>")
    assert lab.guard.take() == []
    page.evaluate(f"async () => {{ await {script}; }}")
    seen = " ".join(lab.guard.take())
    assert any(host in seen for host in ("example.com", "192.0.2.7", "localhost"))


def test_the_proxy_alone_sees_what_a_page_hides(lab: Lab, tmp_path: Path) -> None:
    page = _static(lab, tmp_path, "<p>calm</p>")
    page.context.remove_listener("request", lab.guard._request)
    page.evaluate("async () => { await fetch('https://example.com/').catch(() => 0); }")
    seen = lab.guard.take()
    assert seen
    assert set(seen) == {"CONNECT example.com:443"}


def test_which_addresses_leave() -> None:
    stay = ["data:,x", "blob:http://127.0.0.1/x", "file:///tmp/x", "http://127.0.0.1:8888/lab", "ws://127.0.0.1:1/x"]
    leave = ["https://127.0.0.1.example.com/", "http://user@example.com/#127.0.0.1", "//example.com", "wss://[::1]/"]
    assert [leaves(url) for url in stay] == [False] * len(stay)
    assert [leaves(url) for url in leave] == [True] * len(leave)


def test_axe_finds_what_is_planted_and_only_where_it_looks(lab: Lab, tmp_path: Path) -> None:
    planted = (
        f'<div id="bad"><img src="{PIXELS}"><input type="text"></div><div id="good"><label>Days <input></label></div>'
    )
    page = _static(lab, tmp_path, planted)
    found = axe(page, "#bad")
    assert {each.rule for each in found} == {"image-alt", "label"}
    assert any("<img src=" in str(each) for each in found)
    assert axe(page, "#good") == []
    with pytest.raises(AssertionError, match="nothing to look at"):
        axe(page, "#none")


def test_axe_looks_at_every_output_of_a_notebook(lab: Lab) -> None:
    show = "from IPython.display import HTML, display\n"
    lab.write("axe", [show + "display(HTML('<p>fine</p>'))", show + "display(HTML('<input id=nameless>'))"])
    page = lab.open("axe", "dark")
    lab.run_all(page)
    expect(lab.output(page, 1).locator("#nameless")).to_be_attached()
    # Not a picture without words: JupyterLab calls it "Image", so axe has nothing to say.
    assert [each.rule for each in axe(page, OUTPUTS)] == ["label"]


def test_a_saved_app_opened_untrusted_shows_its_table_and_picture(lab: Lab) -> None:
    # What our fallbacks rely on: without trust, JupyterLab shows text/html, and drops inline drawings from it.
    page = _reopened(lab, trusted=False)
    _shows_the_fallback(lab, page)
    assert page.locator("#inline").count() == 0
    assert lab.errors(page) == []
    # Trusted, it prefers the widget, which is no more.
    lab.trust(page)
    expect(lab.output(page, 0)).not_to_contain_text("1234")


def test_of_one_output_a_trusted_notebook_without_its_kernel_shows_no_fallback(lab: Lab) -> None:
    # Why our views make two: test_app has that they then show theirs.
    page = _reopened(lab, trusted=True)
    expect(lab.output(page, 0)).to_contain_text(MODEL_NOT_FOUND)
    assert any(MODEL_NOT_FOUND in error for error in lab.errors(page))


def test_a_saved_app_without_its_widget_view_shows_the_fallback_to_everybody(lab: Lab) -> None:
    page = _reopened(lab, trusted=False, drop="application/vnd.jupyter.widget-view+json")
    _shows_the_fallback(lab, page)
    lab.trust(page)
    _shows_the_fallback(lab, page)


def _static(lab: Lab, folder: Path, body: str) -> Page:
    file = folder / "page.html"
    file.write_text(f"<!doctype html><html lang=en><title>page</title><body>{body}")
    return lab.open_file(file)


def _reopened(lab: Lab, *, trusted: bool, drop: str | None = None) -> Page:
    """Run and save the app, end its kernel, and open the file again."""
    file = lab.write("saved", [FALLBACK])
    page = lab.open("saved")
    lab.run_all(page)
    expect(lab.output(page, 0)).to_contain_text("alive")
    lab.save(page)
    lab.close_pages()
    if not trusted:  # a changed output is not what this machine signed
        notebook = json.loads(file.read_text())
        data = notebook["cells"][0]["outputs"][0]["data"]
        data["text/plain"] = "someone else's"
        if drop is not None:
            del data[drop]
        file.write_text(json.dumps(notebook))
    return lab.open("saved")


def _shows_the_fallback(lab: Lab, page: Page) -> None:
    expect(lab.output(page, 0)).to_contain_text("1234")
    expect(page.get_by_role("img", name="picture")).to_have_js_property("naturalWidth", 10)
