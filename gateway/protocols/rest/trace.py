"""The trace extension. Lists of one travel as the value itself, but for `trace_level`."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from gateway.core.errors import InvalidArgument
from gateway.protocols.doorman import caller
from gateway.protocols.oip.access import READ
from gateway.protocols.oip.trace import Trace
from gateway.protocols.rest.body import parse, read, reply
from gateway.protocols.route import Call


class TraceRoutes:
    def __init__(self, trace: Trace, max_body: int) -> None:
        self._trace = trace
        self._max_body = max_body

    def routes(self) -> list[Call]:
        needs = {"GET": READ, "POST": self._trace.need}
        return [
            Call("/v2/trace/setting", self.settings, needs),
            Call("/v2/models/{model}/trace/setting", self.settings, needs),
        ]

    async def settings(self, request: Request) -> Response:
        """GET tells them, POST changes those that are named; both answer with all of them."""
        model = request.path_params.get("model", "")
        if request.method == "POST":
            given = parse(await read(request, self._max_body), dict[str, Any])
            changes = {name: _values(name, value) for name, value in given.items()}
            await self._trace.change(changes, model, caller(request, "rest"))
        current = self._trace.current(model)
        return reply({name: values if name == "trace_level" else values[0] for name, values in current.items()})


def _values(name: str, value: object) -> list[str]:
    """null resets: no values."""
    if value is None:
        return []
    values = value if isinstance(value, list) else [value]
    found = [item for item in values if isinstance(item, str)]
    if len(found) != len(values):
        raise InvalidArgument(f"trace setting '{name}' must be a string, a list of strings or null, got {value!r}")
    return found
