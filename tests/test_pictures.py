"""The README's pictures: there, small, and what docs/make_pictures.py made."""

from __future__ import annotations

from pathlib import Path

import pytest

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"


def test_there_are_two_and_no_other() -> None:
    assert sorted(each.name for each in PICTURES.iterdir()) == ["lab.png", "preview.png"]


@pytest.mark.parametrize("name", ["lab.png", "preview.png"])
def test_a_picture_is_a_small_png_as_wide_as_a_page(name: str) -> None:
    data = (PICTURES / name).read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert 10_000 < len(data) <= 120_000
    assert 1000 <= int.from_bytes(data[16:20], "big") <= 1200
