"""The logging extension: which levels are logged, changed while the server runs.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_logging.md
The reference server switches every level on its own; Python's logging has one threshold. Here the threshold
is the lowest level that is on, and a filter takes out those above it that are off.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.core.errors import InvalidArgument
from gateway.protocols.rest.access import Gate
from gateway.protocols.rest.body import parse, read, reply
from gateway.telemetry import logs

LEVELS: Final = {"log_info": logging.INFO, "log_warning": logging.WARNING, "log_error": logging.ERROR}


class LogSettings(msgspec.Struct, omit_defaults=False):
    """The settings as the protocol has them."""

    log_file: str = ""
    log_info: bool = True
    log_warning: bool = True
    log_error: bool = True
    log_verbose_level: int = 0
    log_format: str = "default"


class Muted(logging.Filter):
    """Takes out records of `levels`, but never those of the access log, which has a setting of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.levels: frozenset[int] = frozenset()

    def filter(self, record: logging.LogRecord) -> bool:
        level = min(record.levelno // 10 * 10, logging.ERROR)
        return level not in self.levels or record.name == logs.ACCESS


class Logging:
    def __init__(self, gate: Gate, max_body: int) -> None:
        self._gate = gate
        self._max_body = max_body
        self._muted = Muted()
        self._verbose = 0

    def routes(self) -> list[Route]:
        return [Route("/v2/logging", self.settings, methods=["GET", "POST"])]

    async def settings(self, request: Request) -> Response:
        """GET tells them, POST changes those that are named; both answer with all of them."""
        if request.method == "POST":
            self._gate.check(request)
            body = await read(request, self._max_body)
            self._apply(_changed(self._current(), parse(body, dict[str, Any])))
        return reply(self._current())

    def _current(self) -> LogSettings:
        threshold = logging.getLogger().getEffectiveLevel()
        flags = {name: threshold <= level and level not in self._muted.levels for name, level in LEVELS.items()}
        verbose = max(self._verbose, 1) if threshold <= logging.DEBUG else 0
        return LogSettings(log_verbose_level=verbose, **flags)  # type: ignore[arg-type]

    def _apply(self, settings: LogSettings) -> None:
        on = [level for name, level in LEVELS.items() if getattr(settings, name)]
        self._verbose = settings.log_verbose_level
        threshold = logging.DEBUG if self._verbose else min(on, default=logging.CRITICAL)
        self._muted.levels = frozenset(LEVELS.values()) - frozenset(on)
        for handler in logging.getLogger().handlers:
            handler.addFilter(self._muted)  # adding it twice is adding it once
        logs.set_level(logging.getLevelName(threshold))


def _changed(current: LogSettings, changes: dict[str, Any]) -> LogSettings:
    """Raises InvalidArgument that names the setting."""
    merged = msgspec.structs.asdict(current)
    for name, value in changes.items():
        if name not in merged:
            raise InvalidArgument(f"unknown log setting '{name}', expected one of {', '.join(merged)}")
        if name in ("log_file", "log_format") and value != merged[name]:
            raise InvalidArgument(f"log setting '{name}' cannot be changed while the server runs")
        if type(value) is not type(merged[name]):
            raise InvalidArgument(f"log setting '{name}' must be {_KIND[type(merged[name])]}, got {value!r}")
        merged[name] = value
    if merged["log_verbose_level"] < 0:
        raise InvalidArgument("log setting 'log_verbose_level' must be at least 0")
    return LogSettings(**merged)


_KIND: Final = {bool: "true or false", int: "an integer", str: "a string"}
