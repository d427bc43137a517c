"""Takes the ZipMap nodes, which skl2onnx writes by default, out of a model file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from gateway.core import varint
from gateway.models.onnx.wire import BYTES, Span, Wire, field

if TYPE_CHECKING:
    from gateway.models.onnx.graph import Value, ZipMap


def splice(wire: Wire, zipmaps: Iterable[ZipMap], outputs: Iterable[Value]) -> bytes:
    """The file with an Identity for each ZipMap, and a tensor for the output that it made.

    Identity, as the input may have other readers; the runtime's optimizer removes it where it has none.
    """
    maps = {zipmap.output: zipmap for zipmap in zipmaps}
    instead: dict[Span, bytes] = {
        zipmap.span: field(
            1, field(1, zipmap.input.encode()) + field(2, zipmap.output.encode()) + field(4, b"Identity")
        )
        for zipmap in maps.values()
    }
    for value in outputs:
        if value.name in maps:
            instead[value.span] = field(12, _tensor_info(value, maps[value.name]))
    outside: list[bytes | Span] = []
    inside: list[bytes | Span] = []
    for number, kind, begin, end, start in wire.fields((0, wire.size)):
        if number == 7 and kind == BYTES:
            for _, _, _, last, first in wire.fields((begin, end)):
                _append(inside, instead.get((first, last), (first, last)))
        else:
            _append(outside, (start, end))
    # protobuf merges a message that is written in parts, in any order: what is rebuilt may stand at the end
    body = sum(len(piece) if isinstance(piece, bytes) else piece[1] - piece[0] for piece in inside)
    return wire.join([*outside, varint.encode(7 << 3 | BYTES) + varint.encode(body), *inside])


def _append(pieces: list[bytes | Span], piece: bytes | Span) -> None:
    last = pieces[-1] if pieces else b""
    if isinstance(piece, tuple) and isinstance(last, tuple) and last[1] == piece[0]:
        pieces[-1] = (last[0], piece[1])
    else:
        pieces.append(piece)


def _tensor_info(value: Value, zipmap: ZipMap) -> bytes:
    """The ValueInfoProto of float[N, classes], or of float[classes] where there was one map."""
    classes = field(1, len(zipmap.classes)) if zipmap.classes else b""
    dims = ([] if value.kind == "map" else [b""]) + [classes]
    shape = b"".join(field(1, dim) for dim in dims)
    return field(1, value.name.encode()) + field(2, field(1, field(1, 1) + field(2, shape)))
