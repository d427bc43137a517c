"""What a call says before its message: path, metadata, deadline, codings.

Format: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any, Final

from gateway.protocols.checkpoint import Credentials
from gateway.protocols.grpc.reply import refused
from gateway.protocols.http2.headers import Field, Malformed, check

Metadata = tuple[tuple[str, str | bytes], ...]

_TIMEOUT: Final = re.compile(rb"(\d{1,8})([HMSmun])")
_SECONDS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_CONTENT_TYPE: Final = re.compile(rb"application/grpc(\+proto)?(;.*)?")
#: what is the transport's, not the caller's
_RESERVED: Final = frozenset({b"content-type", b"te", b"content-length", b"accept-encoding"})


@dataclass(slots=True)
class Head:
    """`timeout` in seconds, None for none; `refusal` is the whole reply to what is no gRPC, b"" where it is.

    `length` is what the request says of its body's bytes; `terms` is what inference makes of the metadata, once it has,
    and `credentials` what of them says who calls.
    """

    path: str
    metadata: Metadata = ()
    timeout: float | None = None
    encoding: bytes = b""
    accepts: tuple[bytes, ...] = ()
    refusal: bytes = b""
    length: int | None = None
    terms: Any = None
    credentials: Credentials | None = None


def read_head(fields: list[Field]) -> Head:
    """Raises Malformed."""
    pseudo, length = check(fields)
    path = pseudo[b":path"].decode("latin-1")
    if pseudo[b":method"] != b"POST":
        return Head(path, refusal=refused(405, ((b"allow", b"POST"),)), length=length)
    metadata: list[tuple[str, str | bytes]] = []
    timeout, content_type, encoding, accepts = None, b"", b"", b""
    for name, value in fields:
        if name == b"content-type":
            content_type = value
        elif name == b"grpc-timeout":
            timeout = _timeout(value)
        elif name == b"grpc-encoding":
            encoding = value
        elif name == b"grpc-accept-encoding":
            accepts = value
        elif name[:1] != b":" and name[:5] != b"grpc-" and name not in _RESERVED:
            metadata.append((name.decode("latin-1"), _value(name, value)))
    if not _CONTENT_TYPE.fullmatch(content_type):
        return Head(path, refusal=refused(415), length=length)
    codings = tuple(coding.strip() for coding in accepts.split(b","))
    return Head(path, tuple(metadata), timeout, b"" if encoding == b"identity" else encoding, codings, b"", length)


def _timeout(value: bytes) -> float:
    found = _TIMEOUT.fullmatch(value)
    if found is None:
        raise Malformed(b"grpc-timeout")
    return int(found[1]) * _SECONDS[found[2]]


def _value(name: bytes, value: bytes) -> str | bytes:
    if not name.endswith(b"-bin"):
        return value.decode("latin-1")
    try:
        # clients may leave the padding away
        return base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except binascii.Error:
        raise Malformed(name) from None
