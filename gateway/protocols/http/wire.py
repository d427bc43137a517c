"""Bytes to requests: one `Wire` per connection, made by uvicorn.

connection.py has the replies and the time, intake.py the body that is being read, parsing.py what httptools parses.
Here is the short way of requests whose head was seen before (heads.py); their large bodies are read into their place
(largebody.py).
"""

from __future__ import annotations

from typing import Any

from gateway.protocols.http.connection import BODY, IDLE
from gateway.protocols.http.heads import END, Known
from gateway.protocols.http.largebody import LARGE, LargeBodies
from gateway.protocols.http.parsing import Parsing
from gateway.protocols.http.service import Service


class Wire(Parsing):
    """Made by uvicorn, through the subclass that `wire_for` gives it."""

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        #: the bytes of the body that are to come, where its head was known
        self._awaited = 0
        #: reads for this, once a large body came
        self._large: LargeBodies | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._large = None  # it holds on to this

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        if self._awaited:
            self._fill(data)
            return
        if self._stage == IDLE:
            end = data.find(END) + len(END)
            known = self.service.heads.get(data[:end])
            if known is not None and len(data) - end <= known.length and self._passes(known):
                self._begin(known, data[end:])
                return
            self._data = data
        self._parse(data)

    def _passes(self, known: Known) -> bool:
        """Whether who sends it may; if that is not plain, its head is parsed as one that was never seen."""
        doorman = self.service.doorman
        if doorman is None or not doorman.active:
            self._principal = None
            return True
        self._principal = doorman.again(known, self)
        return self._principal is not None

    def _begin(self, known: Known, body: bytes) -> None:
        """A request whose head is known, and of its body what came along."""
        self._target, self._fields = known.target, known.fields
        if len(body) == known.length:
            self._body = body
            self._complete(self._infer(True, known.target, body))
            return
        self._stage = BODY
        self._since = self.service.now
        self._received = 0
        if self._large is not None or known.length - len(body) >= LARGE:
            self._hold(len(body))
            if not self._deaf:
                self._place(known, body)
            return
        self._limit = self._awaited = known.length
        self._fill(body)

    def _place(self, known: Known, begun: bytes) -> None:
        if self._large is None:
            self._large = LargeBodies(self)
        blobs = known.fields.get(b"inference-header-content-length", b"")
        self._large.expect(known.length, begun, int(blobs) if blobs.isdigit() and len(blobs) < 9 else 0)

    def _fill(self, data: bytes) -> None:
        awaited = self._awaited
        self.on_body(data if len(data) <= awaited else data[:awaited])
        self._received += len(data)
        if len(data) < awaited:
            self._awaited = awaited - len(data)
            self._hold(len(self._body))
            return
        self._awaited = 0
        if self._deaf or self._target is None:
            return
        self._complete(self._infer(True, self._target, self._body))
        if len(data) > awaited:
            self.data_received(data[awaited:])

    def resume_after_change(self) -> None:
        """Somebody else reads from now on."""
        if not self._read_paused:
            self.transport.resume_reading()

    def received(self, nbytes: int) -> None:
        """A large body grew."""
        self._received += nbytes
        if not self._deaf:
            self._hold(self._held + nbytes)

    def body_complete(self, body: memoryview) -> None:
        """A large body was read."""
        if self._deaf or self._target is None:
            return
        self._body = body
        self._complete(self._infer(True, self._target, body))


def wire_for(service: Service) -> type[Wire]:
    """The class that uvicorn's ``Config(http=…)`` takes."""
    return type("Wire", (Wire,), {"service": service})
