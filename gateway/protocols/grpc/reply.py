"""The bytes of replies: header blocks, messages with their prefix, and the trailers that hold the status.

Format: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from typing import Final

from gateway.core.errors import SluiceError
from gateway.protocols.grpc.status import details_of, status_of, trailers_of
from gateway.protocols.http2.headers import STATUS_200, Field, block

_GRPC: Final = (b"content-type", b"application/grpc")
#: codings of messages that are read
CODINGS: Final = (b"gzip", b"deflate")
_ACCEPTED: Final = (b"grpc-accept-encoding", b"identity, deflate, gzip")
_WINDOW: Final = {b"gzip": 31, b"deflate": 15}

HEAD: Final = STATUS_200 + block((_GRPC,))
CODED_HEAD: Final = {coding: STATUS_200 + block((_GRPC, (b"grpc-encoding", coding), _ACCEPTED)) for coding in CODINGS}
GOOD: Final = block(((b"grpc-status", b"0"),))

_UNSAFE: Final = re.compile(rb"[^ -$&-~]")


def message(body: bytes) -> bytes:
    return b"\0" + len(body).to_bytes(4, "big") + body


def coded_message(body: bytes, coding: bytes) -> bytes:
    stream = zlib.compressobj(1, zlib.DEFLATED, _WINDOW[coding])
    packed = stream.compress(body) + stream.flush()
    return b"\x01" + len(packed).to_bytes(4, "big") + packed


def trailers(error: SluiceError, *, alone: bool) -> bytes:
    """`alone`: they are the whole reply."""
    fields: list[Field] = [(b"grpc-status", b"%d" % status_of(error)), (b"grpc-message", _escaped(details_of(error)))]
    fields += ((name.encode(), value.encode()) for name, value in trailers_of(error))
    if not alone:
        return block(fields)
    return STATUS_200 + block((_GRPC, *fields, _ACCEPTED))


def refused(status: int, fields: Iterable[Field] = ()) -> bytes:
    """The whole reply to what is no gRPC call: no body."""
    return block(((b":status", b"%d" % status), *fields, (b"content-length", b"0")))


def _escaped(text: str) -> bytes:
    """Percent-encoded UTF-8; ASCII but for % and controls stands for itself."""
    return _UNSAFE.sub(lambda found: b"%%%02X" % found[0][0], text.encode("utf-8", "replace"))
