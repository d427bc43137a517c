"""The streams of the demo: a table that lives on a terminal, one table at the end where output goes to a file."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.live import Live
from rich.table import Table

from gateway.core.errors import Unavailable
from gateway.demo.streams.flows import Flow

View = Mapping[str, Any]

#: seconds that the last look at how many wait may take
SETTLE: Final = 3.0


class Watch:
    """`look` asks for all streams."""

    def __init__(self, console: Console, flows: Sequence[Flow], look: Callable[[], Sequence[View]]) -> None:
        self._console = console
        self._ways = {flow.name: flow.way for flow in flows}
        self._look = look
        #: stream → records that it had scored at that time, and the most per second that were seen
        self._seen: dict[str, tuple[float, int]] = {flow.name: (time.monotonic(), 0) for flow in flows}
        self._rates: dict[str, float] = {}
        self._since = 0.0

    def until(self, done: Callable[[Sequence[View]], bool], limit: float) -> Sequence[View]:
        """Draws until that is so. Raises Unavailable where it takes more than `limit` seconds."""
        end = time.monotonic() + limit
        self._since = 0.0
        views = self._look()
        if not self._console.is_terminal:
            while not self._over(views, done):
                self._wait(end, views)
                views = self._look()
                self._count(views)
            self._console.print(self._table(views))
            return views
        with Live(self._table(views), console=self._console, auto_refresh=False) as live:
            while not self._over(views, done):
                self._wait(end, views)
                views = self._look()
                self._count(views)
                live.update(self._table(views), refresh=True)
        return views

    def _over(self, views: Sequence[View], done: Callable[[Sequence[View]], bool]) -> bool:
        """A little later than it is done, so that what is shown is not how many had waited before."""
        if not done(views):
            return False
        self._since = self._since or time.monotonic()
        return time.monotonic() > self._since + SETTLE or not any(view["lag"]["records"] for view in views)

    @staticmethod
    def _wait(end: float, views: Sequence[View]) -> None:
        if time.monotonic() > end:
            states = "; ".join(f"{view['name']} is {view['state']} {view['reason']}".strip() for view in views)
            raise Unavailable(f"the records take too long: {states}")
        time.sleep(0.2)

    def _count(self, views: Sequence[View]) -> None:
        now = time.monotonic()
        for view in views:
            name, scored = view["name"], view["records"]["scored"]
            before, count = self._seen.get(name, (now, scored))
            if scored > count and now > before:
                self._rates[name] = max(self._rates.get(name, 0.0), (scored - count) / (now - before))
            self._seen[name] = now, scored

    def _table(self, views: Sequence[View]) -> Table:
        table = Table(expand=False)
        for name in ("stream", "from → to", "state"):
            table.add_column(name, no_wrap=True)
        for name in ("scored", "most/s", "waiting", "dead"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("guarantee", no_wrap=True)
        for view in views:
            waiting = view["lag"]["records"]
            table.add_row(
                view["name"],
                self._ways.get(view["name"], ""),
                view["state"],
                f"{view['records']['scored']:,}",
                f"{self._rates.get(view['name'], 0.0):,.0f}",
                "" if waiting is None else f"{waiting:,}",
                str(view["records"]["dead"]),
                view["guarantee"].partition(":")[0],
            )
        return table
