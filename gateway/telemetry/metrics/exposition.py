"""A page in Prometheus's text format, written by hand.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/ (text, version 0.0.4). OpenMetrics is not
offered on purpose: it forces the suffix ``_total`` on every counter, so that the ``nv_…`` names that
dashboards read would change with the scraper's Accept header.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

#: a backslash first, or it would be escaped twice
_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Family(NamedTuple):
    """One metric. `labels` are names, in the order in which samples give their values.

    joined   what several processes say together: the sum, the most, or each for itself, with a label that names it
    """

    name: str
    kind: Literal["counter", "gauge", "histogram", "summary"]
    help: str
    labels: tuple[str, ...] = ()
    joined: Literal["sum", "most", "each"] = "sum"


#: a sample's name, its labels as `labelled` makes them, and its value
Sample = tuple[str, str, int | float]


class Page:
    """Families one after the other, each followed by all of its samples."""

    def __init__(self) -> None:
        self.families: list[tuple[Family, list[Sample]]] = []
        self._samples: list[Sample] = []

    def family(self, family: Family) -> None:
        self._samples = []
        self.families.append((family, self._samples))

    def sample(self, name: str, labels: str, value: float) -> None:
        """`labels` is what `labelled` made; an int is written as such, a float with all of its digits."""
        self._samples.append((name, labels, value))

    def histogram(self, name: str, labels: str, bounds: Sequence[float], counts: Sequence[int], total: float) -> None:
        """`counts`, not cumulative, has one entry more than `bounds`: what lies above. `total` is the sum."""
        comma = "," if labels else ""
        seen = 0
        for bound, count in zip(bounds, counts, strict=False):
            seen += count
            self.sample(f"{name}_bucket", f'{labels}{comma}le="{float(bound)!r}"', seen)
        seen += counts[-1]
        self.sample(f"{name}_bucket", f'{labels}{comma}le="+Inf"', seen)
        self.sample(f"{name}_sum", labels, total)
        self.sample(f"{name}_count", labels, seen)

    def render(self) -> bytes:
        lines = []
        for family, samples in self.families:
            text = family.help.replace("\\", r"\\").replace("\n", r"\n")
            lines += [f"# HELP {family.name} {text}", f"# TYPE {family.name} {family.kind}"]
            lines += [f"{name}{{{at}}} {value!r}" if at else f"{name} {value!r}" for name, at, value in samples]
        # a name that a client made up may hold lone surrogates, which UTF-8 has no bytes for
        return ("\n".join(lines) + "\n").encode("utf-8", "replace")


def labelled(names: Iterable[str], values: Iterable[str]) -> str:
    return ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in zip(names, values, strict=True))
