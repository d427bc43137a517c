"""Routes that say what they need of their caller."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.protocols.oip.access import ADMIN, Need

Endpoint = Callable[[Request], Awaitable[Response]]


class Call(Route):
    """`need` is the same for all of its methods, or by method."""

    def __init__(
        self, path: str, endpoint: Endpoint, need: Need | Mapping[str, Need], *, methods: list[str] | None = None
    ) -> None:
        given = need if isinstance(need, Mapping) else dict.fromkeys(methods or ["GET"], need)
        super().__init__(path, endpoint, methods=list(given))
        self._needs: Final = given

    def need(self, method: str) -> Need:
        """Raises KeyError for a method that it does not have."""
        return self._needs["GET" if method == "HEAD" else method]


def need_of(route: object, method: str) -> Need:
    """Of a route that does not say: the most that there is."""
    return route.need(method) if isinstance(route, Call) else ADMIN
