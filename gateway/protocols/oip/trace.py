"""The trace extension: how many requests are traced, changed while the server runs.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_trace.md
Traces are OpenTelemetry's here and leave by OTLP: `trace_level` is OFF or TIMESTAMPS, `trace_rate` says that one of so
many requests is traced. There is no file to count and to flush, and no model has settings of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.control.caller import Caller, Note, unnoted
from gateway.core.errors import InvalidArgument, PermissionDenied
from gateway.models.manager import Manager
from gateway.protocols.oip.access import Gate, Need
from gateway.protocols.oip.versions import pinned
from gateway.telemetry.tracing import Tracer

if TYPE_CHECKING:
    from gateway.protocols.oip.peers import Peers

LEVELS: Final = ("OFF", "TIMESTAMPS")
#: what is as it is
FIXED: Final = {"trace_count": "-1", "log_frequency": "0", "trace_mode": "opentelemetry"}
#: a setting without values goes back to what the server was started with
Changes = Mapping[str, Sequence[str]]


class Sampling(NamedTuple):
    """Whether anything is traced, and the share of requests that is where their callers say nothing."""

    enabled: bool
    ratio: float


class Trace:
    """The one state of the trace settings, for every transport. `tracer` is None where tracing is off, `peers` are
    told of changes, if there are any.
    """

    def __init__(
        self,
        manager: Manager,
        gate: Gate,
        tracer: Tracer | None,
        peers: Peers | None = None,
        note: Note = unnoted,
    ) -> None:
        self._note = note
        self._manager = manager
        self._peers = peers
        self.need: Final = Need("admin", gate)
        self._tracer = tracer
        self._start = tracer.ratio if tracer is not None else 0.0

    def current(self, model: str) -> dict[str, list[str]]:
        """Raises NotFound, Unavailable where the model is not there."""
        self._check_model(model)
        tracer = self._tracer
        level = "TIMESTAMPS" if tracer is not None and tracer.enabled else "OFF"
        rate = round(1 / tracer.ratio) if tracer is not None and tracer.ratio else 0
        return {
            "trace_level": [level],
            "trace_rate": [str(rate)],
            **{name: [value] for name, value in FIXED.items()},
        }

    async def change(self, changes: Changes, model: str, by: Caller) -> None:
        """All of them or none. Raises InvalidArgument naming the setting, PermissionDenied, NotFound, Unavailable."""
        self._check_model(model)
        if model:
            raise InvalidArgument(f"model '{model}' has no trace settings of its own: change those of the server")
        tracer = self._tracer
        if tracer is None:
            raise PermissionDenied("tracing is off: setting 'tracing.endpoint' turns it on")
        enabled, ratio = tracer.enabled, tracer.ratio
        for name, values in changes.items():
            if name == "trace_level":
                enabled = _level(values)
            elif name == "trace_rate":
                ratio = _ratio(values) if values else self._start
            elif name not in FIXED:
                known = ", ".join(("trace_level", "trace_rate", *FIXED))
                raise InvalidArgument(f"unknown trace setting '{name}', expected one of {known}")
            elif values and list(values) != [FIXED[name]]:
                raise InvalidArgument(f"trace setting '{name}' is always {FIXED[name]}, got {list(values)}")
        sampling = Sampling(enabled, ratio)
        if self._peers is None:
            self.apply(sampling)
        else:
            await self._peers.set_sampling(sampling)
        await self._note("trace.set", "", changes, **by)

    def apply(self, sampling: Sampling) -> None:
        """In this process."""
        if self._tracer is not None:
            self._tracer.enabled, self._tracer.ratio = sampling

    def _check_model(self, model: str) -> None:
        if model:
            with pinned(self._manager, model, ""):
                pass


def _level(values: Sequence[str]) -> bool:
    """Whether anything is traced."""
    for value in values:
        if value not in LEVELS:
            raise InvalidArgument(f"trace setting 'trace_level' has '{value}', expected {' or '.join(LEVELS)}")
    return list(values) != ["OFF"]


def _ratio(values: Sequence[str]) -> float:
    if len(values) != 1 or not values[0].isdecimal() or not 0 < len(values[0]) < 10:
        raise InvalidArgument(f"trace setting 'trace_rate' is {list(values)}, expected one number of at least 0")
    rate = int(values[0])
    return 1 / rate if rate else 0.0
