"""Who was given the requests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from gateway.telemetry.metrics.exposition import Family, Page, labelled

_PICKS = Family("sluice_split_picks_total", "counter", "Requests given to an arm by the split.", ("model", "arm"))
_ABSENT = Family(
    "sluice_split_absent_total",
    "counter",
    "Requests whose arm had no version present, and that went to the others.",
    ("model", "arm"),
)

FAMILIES: Final = (_PICKS, _ABSENT)


class SplitSample(NamedTuple):
    """One arm of one split. `absent` counts what went to other arms because its version was not there."""

    model: str
    arm: str
    picks: int
    absent: int


def write(page: Page, splits: Iterable[SplitSample]) -> None:
    arms = [(labelled(_PICKS.labels, (s.model, s.arm)), s) for s in splits]
    page.family(_PICKS)
    for labels, sample in arms:
        page.sample(_PICKS.name, labels, sample.picks)
    page.family(_ABSENT)
    for labels, sample in arms:
        page.sample(_ABSENT.name, labels, sample.absent)
