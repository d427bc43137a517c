"""Who may make which call of the gRPC port: decided by its head, before its message is read."""

from __future__ import annotations

from typing import Final

from gateway.core.errors import Unauthenticated
from gateway.protocols.checkpoint import Checkpoint, Credentials
from gateway.protocols.grpc.head import Head
from gateway.protocols.grpc.service import Asker
from gateway.protocols.http2.connection import Connection
from gateway.protocols.oip.access import Need
from gateway.security.certificate import of_peer
from gateway.security.credential import FIELDS, presented
from gateway.security.origin import Origins

_FORWARDED: Final = "x-forwarded-for"


class Entrance:
    def __init__(self, checkpoint: Checkpoint, origins: Origins | None = None) -> None:
        self.checkpoint: Final = checkpoint
        self._origins: Final = origins or Origins()

    def look(self, need: Need, connection: Connection, head: Head) -> None:
        """Raises what every such call with this head is answered, whatever its message says."""
        terms = head.terms
        if terms is not None and terms.principal is not None and self.checkpoint.guard.holds(terms.principal):
            return  # the same head was let in before, to infer
        if need.action is not None and (self.checkpoint.guard.closed or need.gate is not None):
            self.checkpoint.foresee(need, self.credentials(connection, head), head.path)

    def admit(self, need: Need, model: str | None, connection: Connection, head: Head) -> Asker:
        """Raises as `Checkpoint.admit` does."""
        credentials = self.credentials(connection, head)
        principal = self.checkpoint.admit(need, model, credentials, head.path)
        return Asker(principal.rights, {"actor": principal.name, "origin": f"grpc {credentials.address}".strip()})

    def credentials(self, connection: Connection, head: Head) -> Credentials:
        """Kept with the head, which is its connection's."""
        if head.credentials is None:
            head.credentials = self._read(connection, head)
        return head.credentials

    def _read(self, connection: Connection, head: Head) -> Credentials:
        tls = connection.transport.get_extra_info("ssl_object")
        certificate = of_peer(tls.getpeercert()) if tls is not None else None
        peer = connection.transport.get_extra_info("peername")
        address = str(peer[0]) if peer else ""
        if self._origins:
            forwarded = ",".join(str(value) for name, value in head.metadata if name == _FORWARDED)
            address = self._origins.of(address, forwarded)
        fields = [(name.encode(), value) for name, value in head.metadata if name.encode() in FIELDS]
        try:
            # what is no binary metadata was decoded byte by byte
            token = presented((name, str(value).encode("latin-1")) for name, value in fields)
        except Unauthenticated as problem:
            return Credentials(b"", certificate, address, problem.message)
        return Credentials(token, certificate, address)
