"""The routes of API keys on the admin port."""

from __future__ import annotations

import time
from typing import Annotated, Any

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from gateway.control.plane import ControlPlane
from gateway.core.errors import InvalidArgument, SluiceError
from gateway.protocols.admin.change import MAX_BODY, By, changed, document
from gateway.protocols.errors import status_of
from gateway.protocols.oip.access import ADMIN
from gateway.protocols.rest.body import parse, read
from gateway.protocols.route import Call
from gateway.protocols.views import moment
from gateway.store.contract import ApiKey


class KeyBody(Struct, forbid_unknown_fields=True):
    """`allow` as ``infer:churn-*``, with nothing in it the policies alone say what the key may do; `expires_in` in
    seconds, 0 for never.
    """

    name: str
    allow: list[str] = []
    expires_in: Annotated[float, Meta(ge=0, le=1e10)] = 0.0


class ApiKeys:
    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def routes(self) -> list[Call]:
        base = "/admin/v1/keys"
        return [
            Call(base, self.list, ADMIN),
            Call(base, self.create, ADMIN, methods=["POST"]),
            Call(base + "/{key}", self.revoke, ADMIN, methods=["DELETE"]),
        ]

    async def list(self, request: Request) -> Response:
        keys = self._plane.state.keys
        views = [_view(key_id, key) for key_id, key in sorted(keys.items(), key=lambda item: item[1].created)]
        return document({"keys": views}, self._plane.desired)

    async def create(self, request: Request) -> Response:
        """Tells the key itself, this once; also where it is made and not in force everywhere in the time that was
        given: then beside the error."""
        body = parse(await read(request, MAX_BODY), KeyBody)
        first = not self._plane.state.keys
        expires = time.time() + body.expires_in if body.expires_in else 0.0
        made: list[Any] = []

        async def create(by: By) -> Any:
            made.append(await self._plane.create_key(body.name, body.allow, expires, **by))
            return self._plane.desired

        try:
            desired, status, late = await changed(request, self._plane, create), 201, {}
        except SluiceError as error:
            if not made:
                raise
            desired, status, late = self._plane.desired, status_of(error), {"error": error.message}
        key = made[0]
        view = _view(key.id, self._plane.state.keys[key.id])
        return document({**late, "key": key.text, "first": first, **view}, desired, status)

    async def revoke(self, request: Request) -> Response:
        """By id, or all of a name."""
        which = request.path_params["key"]
        if which.startswith("sluice_"):
            raise InvalidArgument("expected a key's id or name, found the key itself: its id is its second part")
        desired = await changed(request, self._plane, lambda by: self._plane.revoke_key(which, **by))
        return document({"revision": desired.revision}, desired)


def _view(key_id: str, key: ApiKey) -> dict[str, Any]:
    state = "revoked" if key.revoked else "expired" if key.expires and key.expires <= time.time() else "good"
    return {
        "id": key_id,
        "name": key.name,
        "state": state,
        "allow": [f"{action}:{models}" for action, models in key.allow],
        "created": moment(key.created),
        "expires": moment(key.expires) if key.expires else None,
    }
