"""Tables of our own, for positions and dead letters: what they have to have where somebody else made them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from adapters.sql.schema import Kind, Layout

TEXTS: Final = (Kind.TEXT, Kind.JSON)
BYTES: Final = (Kind.BYTES,)
NUMBERS: Final = (Kind.INTEGER,)

POSITIONS: Final = {"pipeline": TEXTS, "lane": TEXTS, "position": TEXTS, "epoch": NUMBERS}
LETTERS: Final = {
    "pipeline": TEXTS,
    "id": TEXTS,
    "reason": TEXTS,
    "value": BYTES,
    "key": BYTES,
    "headers": TEXTS,
    "lane": TEXTS,
    "position": TEXTS,
    "attempts": NUMBERS,
    "model": TEXTS,
    "timestamp": NUMBERS,
}


def check_positions(layout: Layout) -> None:
    """Raises Transient, because a table may be altered."""
    _check(layout, "positions", POSITIONS)
    layout.require_unique(("pipeline", "lane"), "positions")


def check_letters(layout: Layout) -> None:
    """Raises Transient."""
    _check(layout, "dead_letters", LETTERS)
    layout.require_unique(("pipeline", "id"), "dead_letters")


def _check(layout: Layout, field: str, wanted: Mapping[str, tuple[Kind, ...]]) -> None:
    for name, kinds in wanted.items():
        layout.require(name, field, kinds)
