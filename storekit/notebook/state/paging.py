"""Which page of how many is shown, and states that show one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from traitlets import Int

from storekit.notebook.state.base import State

__all__ = ["PAGE_SIZES", "Page", "Paged", "ordered"]

PAGE_SIZES = (10, 25, 50, 100)


@dataclass(frozen=True)
class Page:
    """A page of rows.

    Parameters
    ----------
    number
        From 0.
    pages
        How many there are; at least 1, though it be empty.
    size, total
        Rows on a page, and in all.
    """

    number: int
    pages: int
    size: int
    total: int

    @classmethod
    def of(cls, number: int, size: int, total: int) -> Page:
        """Return the page that is shown if ``number`` is asked for: the first or the last, where there is no such."""
        size = min(max(size, 1), PAGE_SIZES[-1])
        pages = max(1, -(-total // size))
        return cls(min(max(number, 0), pages - 1), pages, size, total)

    @property
    def offset(self) -> int:
        """How many rows stand before it."""
        return self.number * self.size

    @property
    def arguments(self) -> list[int]:
        """``limit`` and ``offset`` as a call has them; an offset of 0 is left out."""
        return [self.size, self.offset] if self.offset else [self.size]


def ordered(sort: str, *, descending: bool) -> dict[str, Any]:
    """Return how rows are ordered, as arguments of `Selection.rows`; by natural key there is one order only."""
    if not sort:
        return {}
    return {"sort": sort, "descending": True} if descending else {"sort": sort}


class Paged(State):
    """A state that shows a page of rows.

    Attributes
    ----------
    page, page_size : int
        Which rows are shown, from page 0. Where there is no such page, it becomes the first or the last; with another
        question it becomes the first.
    """

    page = Int(0)
    page_size = Int(25)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._question: tuple[Any, ...] | None = None
        self._page_shown = 0
        super().__init__(*args, **kwargs)

    def _turned(self, *question: Any) -> bool:
        """Tell whether this is another question than the last one, of other rows or of another moment."""
        question = (self.source.moment, *question)
        if question == self._question:
            return False
        if self._question is not None and self.page == self._page_shown:
            self.page = 0
        self._question = question
        return True

    def _unanswered(self) -> None:
        self._question = None

    def _turn(self, total: int) -> Page:
        """Return the page to show, of so many rows."""
        page = Page.of(self.page, self.page_size, total)
        self.page, self.page_size = page.number, page.size
        self._page_shown = page.number
        return page
