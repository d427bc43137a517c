"""What the document says of credentials: which kinds there are, and which calls need them as things are now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal

from gateway.protocols.oip.access import INFER, Need
from gateway.protocols.rest.openapi.operation import Schema
from gateway.protocols.route import Call
from gateway.security.guard import Guard

#: what a schema component's name stands for, each beside the others
Requirement = dict[str, list[str]]


class Demand:
    """certificates   as `tls.client_auth`
    issuer         of the tokens that are taken; "" for none
    """

    def __init__(
        self,
        guard: Guard,
        certificates: Literal["none", "optional", "required"] = "none",
        issuer: str = "",
    ) -> None:
        self._guard: Final = guard
        self._certificates: Final = certificates
        self._issuer: Final = issuer

    def schemes(self) -> Schema:
        tokens = ["an API key", *([f"a token of {self._issuer}"] if self._issuer else ()), "the admin token"]
        of = f"{', '.join(tokens[:-1])} or {tokens[-1]}"
        found: Schema = {
            "bearer": {"type": "http", "scheme": "bearer", "description": f"{of[0].upper()}{of[1:]}."},
            "key": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "The same without a scheme."},
        }
        if self._certificates != "none":
            found["certificate"] = {"type": "mutualTLS", "description": "By one of the authorities in tls.client_ca."}
        return found

    def write(self, paths: Mapping[str, Schema], routes: Iterable[Call]) -> None:
        """Into each operation; what is the path of no route is inference by one model."""
        needs = {route.path: route for route in routes}
        for path, item in paths.items():
            for verb, found in item.items():
                need = needs[path].need(verb.upper()) if path in needs else INFER
                if security := self.of(need):
                    found["security"] = security

    def of(self, need: Need) -> list[Requirement]:
        """Of which one must be met; [] for nothing."""
        found = self._credentials(need)
        if self._certificates != "required":
            return found
        return [{**each, "certificate": []} for each in found] or [{"certificate": []}]

    def _credentials(self, need: Need) -> list[Requirement]:
        tokens: list[Requirement] = [{"bearer": []}, {"key": []}]
        if need.action is None:
            return []
        if not self._guard.closed:
            return tokens if need.gate is not None and need.gate.access == "token" else []
        if self._certificates != "none":
            tokens.append({"certificate": []} if self._certificates == "optional" else {})
        if self._guard.identify(b"").rights.may_some(need.action):
            tokens.append({})
        return tokens
