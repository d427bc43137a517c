"""The logging extension: which levels are logged, changed while the server runs.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_logging.md
The reference server switches every level on its own; Python's logging has one threshold. Here the threshold
is the lowest level that is on, and a filter takes out those above it that are off.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway.control.caller import Caller, Note, unnoted
from gateway.core.errors import InvalidArgument
from gateway.protocols.oip.access import Gate, Need
from gateway.telemetry import logs

if TYPE_CHECKING:
    from gateway.protocols.oip.peers import Peers

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
    """The one state of the log settings, for every transport. `peers` are told of changes, if there are any."""

    def __init__(self, gate: Gate, peers: Peers | None = None, note: Note = unnoted) -> None:
        self._note = note
        self.need: Final = Need("admin", gate)
        self._peers = peers
        self._muted = Muted()
        self._verbose = 0

    async def change(self, changes: Mapping[str, Any], by: Caller) -> None:
        """Those that are named. Raises InvalidArgument that names the setting."""
        settings = _changed(self.current(), changes)
        if self._peers is None:
            self.apply(settings)
        else:
            await self._peers.set_logging(settings)
        await self._note("logging.set", "", changes, **by)

    def current(self) -> LogSettings:
        threshold = logging.getLogger().getEffectiveLevel()
        flags = {name: threshold <= level and level not in self._muted.levels for name, level in LEVELS.items()}
        verbose = max(self._verbose, 1) if threshold <= logging.DEBUG else 0
        return LogSettings(log_verbose_level=verbose, **flags)  # type: ignore[arg-type]

    def apply(self, settings: LogSettings) -> None:
        """In this process."""
        on = [level for name, level in LEVELS.items() if getattr(settings, name)]
        self._verbose = settings.log_verbose_level
        threshold = logging.DEBUG if self._verbose else min(on, default=logging.CRITICAL)
        self._muted.levels = frozenset(LEVELS.values()) - frozenset(on)
        for handler in logging.getLogger().handlers:
            handler.addFilter(self._muted)  # adding it twice is adding it once
        logs.set_level(logging.getLevelName(threshold))


def _changed(current: LogSettings, changes: Mapping[str, Any]) -> LogSettings:
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
