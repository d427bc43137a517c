"""How long models took to be loaded."""

from __future__ import annotations

from typing import Final

from gateway.telemetry.metrics.exposition import Family, Page, labelled

_LOADS = Family("sluice_model_load_seconds", "summary", "Time of successful loads, warm-up included.", ("model",))
_LOAD_FAILURES = Family("sluice_model_load_failures_total", "counter", "Loads that failed.", ("model",))

FAMILIES: Final = (_LOADS, _LOAD_FAILURES)


class Loads:
    """Since the start, by model: how many, how many seconds in all, how many that failed."""

    def __init__(self) -> None:
        self.totals: dict[str, tuple[int, float, int]] = {}

    def add(self, model: str, seconds: float | None) -> None:
        """A version was loaded and warmed in so many seconds; None: it failed."""
        count, total, failures = self.totals.get(model, (0, 0.0, 0))
        if seconds is None:
            self.totals[model] = count, total, failures + 1
        else:
            self.totals[model] = count + 1, total + seconds, failures


def write(page: Page, loads: Loads) -> None:
    samples = [(labelled(_LOADS.labels, (model,)), totals) for model, totals in loads.totals.items()]
    page.family(_LOADS)
    for labels, (count, seconds, _) in samples:
        page.sample(f"{_LOADS.name}_sum", labels, seconds)
        page.sample(f"{_LOADS.name}_count", labels, count)
    page.family(_LOAD_FAILURES)
    for labels, (_, _, failures) in samples:
        page.sample(_LOAD_FAILURES.name, labels, failures)
