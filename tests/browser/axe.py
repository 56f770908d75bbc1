"""axe-core on a part of a page: what is serious, in words."""

from __future__ import annotations

from dataclasses import dataclass

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

__all__ = ["Violation", "axe"]

_RUN = """async (selector) => {
    const found = await axe.run({include: [[selector]]}, {resultTypes: ['violations']});
    return found.violations.flatMap(rule => rule.nodes.map(node => [
        rule.id, node.impact || rule.impact, rule.help, node.html, node.failureSummary || '']));
}"""


@dataclass(frozen=True)
class Violation:
    """One element that breaks one rule. Its text names both."""

    rule: str
    impact: str
    help: str
    html: str
    why: str

    def __str__(self) -> str:
        why = " ".join(self.why.split())
        return f"{self.rule} ({self.impact}): {self.help}\n    {self.html[:400]}\n    {why}"

    __repr__ = __str__


def axe(page: Page, selector: str = "body", impacts: tuple[str, ...] = ("serious", "critical")) -> list[Violation]:
    """Return what axe-core finds inside the elements that a CSS selector finds; the rest of the page is not ours.

    Raises
    ------
    AssertionError
        The selector finds nothing: no finding would mean nothing.
    """
    assert page.locator(selector).count() > 0, f"axe has nothing to look at: no element matches {selector!r}"
    if not page.evaluate("() => typeof window.axe === 'object'"):
        page.evaluate(AXE_SCRIPT)
    return [each for each in (Violation(*row) for row in page.evaluate(_RUN, selector)) if each.impact in impacts]
