"""What the demo shows: a table that lives on a terminal, and one table a step where output goes to a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table

from gateway.demo.score import Scores

_BAR = 24


class Screen:
    def __init__(self, console: Console | None = None) -> None:
        # without a terminal's width tables would be cut at 80 columns
        self.console = console or Console(highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False)

    @contextmanager
    def step(self, title: str, scores: Scores) -> Iterator[Callable[[], None]]:
        """Yields what to call after each answer."""
        if not self.console.is_terminal:
            yield lambda: None
            self.console.print(_table(title, scores))
            return
        with Live(_table(title, scores), console=self.console, auto_refresh=True, refresh_per_second=10) as live:
            yield lambda: live.update(_table(title, scores)) if not scores.answered % 20 else None
            live.update(_table(title, scores), refresh=True)


def _table(title: str, scores: Scores) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", expand=False)
    table.add_column("version")
    table.add_column("answered by", min_width=_BAR + 5)
    for name in ("answers", "p50 ms", "p99 ms", "accuracy"):
        table.add_column(name, justify="right", min_width=8)
    for version, score in sorted(scores.items()):
        share = score.answered / scores.answered if scores.answered else 0.0
        table.add_row(
            version,
            f"{'█' * round(share * _BAR):<{_BAR}} {share:4.0%}",
            f"{score.answered:,}",
            f"{score.latency(0.5):.2f}",
            f"{score.latency(0.99):.2f}",
            f"{score.accuracy:.1%}",
        )
    return table
