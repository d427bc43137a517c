"""Reads an .onnx file from the wire format itself: the `onnx` package costs 60 MB and would copy every tensor.

The messages and field numbers are those of onnx.proto (IR version 14):
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import Final

from gateway.models.onnx.external import External
from gateway.models.onnx.graph import Graph, Value, ZipMap
from gateway.models.onnx.wire import BYTES, VARINT, Field, Span, Wire, runs

MODEL, TRAINING, FUNCTION, GRAPH, NODE, ATTRIBUTE, SPARSE, TENSOR = range(8)

#: message → field → the message that it holds: every way to a tensor; a node's is in `_Reader.node`
CHILDREN: Final[dict[int, dict[int, int]]] = {
    MODEL: {7: GRAPH, 20: TRAINING, 25: FUNCTION},
    TRAINING: {1: GRAPH, 2: GRAPH},
    FUNCTION: {7: NODE, 11: ATTRIBUTE},
    GRAPH: {1: NODE, 5: TENSOR, 15: SPARSE},
    ATTRIBUTE: {5: TENSOR, 6: GRAPH, 10: TENSOR, 11: GRAPH, 22: SPARSE, 23: SPARSE},
    SPARSE: {1: TENSOR, 2: TENSOR},
}
#: the bulk that may be written one element a field
SKIP: Final = {
    ATTRIBUTE: runs(fixed32=7, varint=8, texts=9),
    TENSOR: runs(fixed32=4, fixed64=10, varint=7, texts=6),
}
#: protobuf's own limit on the nesting of messages, which onnxruntime has too
MAX_DEPTH: Final = 100
#: field of TypeProto → what it is
KINDS: Final = {1: "tensor", 4: "sequence", 5: "map", 7: "opaque", 8: "sparse tensor", 9: "optional"}
#: bits of an element by TensorProto.DataType
BITS: Final = {
    1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128,
    16: 16, 17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2,
}  # fmt: skip
EXTERNAL: Final = 1


def read_graph(path: Path) -> Graph:
    """Raises InvalidArgument where the file is not a whole ONNX model."""
    with Wire(path) as wire:
        return _Reader(wire).read(path)


class _Reader:
    """One pass over a model file."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.graphs: list[Span] = []
        self.operators: set[tuple[str, str]] = set()
        self.reads: set[str] = set()
        self.externals: list[External] = []
        self.maps: list[tuple[str, str, Span]] = []

    def read(self, path: Path) -> Graph:
        self.walk(MODEL, (0, self.wire.size), 0, 0)
        if not self.graphs:
            raise self.wire.malformed("there is no graph", 0)
        values: dict[int, list[Value]] = {11: [], 12: []}
        for span in self.graphs:
            for number, kind, begin, end, start in self.wire.fields(span):
                if number in values and kind == BYTES:
                    values[number].append(self.value((begin, end), (start, end)))
        if not values[12]:
            raise self.wire.malformed("the graph has no outputs", self.graphs[0][0])
        return Graph(
            path=path,
            inputs=tuple(values[11]),
            outputs=tuple(values[12]),
            operators=frozenset(self.operators),
            externals=tuple(self.externals),
            zipmaps=self.zipmaps(values[12]),
        )

    def walk(self, message: int, span: Span, start: int, depth: int) -> None:
        """Descends into everything that can hold a tensor or a node. `start` is where the field begins."""
        if depth > MAX_DEPTH:
            raise self.wire.malformed(f"messages nested deeper than {MAX_DEPTH}", start)
        if message == TENSOR:
            self.tensor(span)
        elif message == NODE:
            self.node(span, start, depth)
        else:
            children = CHILDREN[message]
            for number, kind, begin, end, at in self.wire.fields(span, SKIP.get(message)):
                if number in children and kind == BYTES:
                    if message == MODEL and number == 7:
                        self.graphs.append((begin, end))
                    self.walk(children[number], (begin, end), at, depth + 1)

    def node(self, span: Span, start: int, depth: int) -> None:
        operator = domain = ""
        inputs: list[str] = []
        outputs: list[str] = []
        for number, kind, begin, end, at in self.wire.fields(span):
            if kind != BYTES:
                continue
            if number == 5:
                self.walk(ATTRIBUTE, (begin, end), at, depth + 1)
            elif number == 1:
                inputs.append(self.wire.text(begin, end))
            elif number == 2:
                outputs.append(self.wire.text(begin, end))
            elif number == 4:
                operator = self.wire.text(begin, end)
            elif number == 7:
                domain = self.wire.text(begin, end)
        self.operators.add(("" if domain == "ai.onnx" else domain, operator))
        self.reads.update(inputs)
        if operator == "ZipMap" and domain == "ai.onnx.ml" and len(inputs) == len(outputs) == 1:
            self.maps.append((inputs[0], outputs[0], (start, span[1])))

    def tensor(self, span: Span) -> None:
        """Notes external data. A location counts even where the tensor does not say that its data is
        external: the runtime merges a message that is written in parts."""
        name, dims, datatype, external = "", [1], 0, False
        entries: dict[str, str] = {}
        for number, kind, begin, end, at in self.wire.fields(span, SKIP[TENSOR]):
            if number == 1:
                dims += [begin] if kind == VARINT else self.wire.varints((begin, end)) if kind == BYTES else []
            elif number == 2 and kind == VARINT:
                datatype = begin
            elif number == 8 and kind == BYTES:
                name = self.wire.text(begin, end)
            elif number == 13 and kind == BYTES:
                key, value = self.entry((begin, end))
                if key in entries:
                    raise self.wire.malformed(f"external data of tensor '{name}' gives its {key} twice", at)
                entries[key] = value
            elif number == 14 and kind == VARINT:
                external = external or begin & 0xFFFFFFFF == EXTERNAL
        if external or "location" in entries:
            needed = (prod(dims) * BITS.get(datatype, 0) + 7) // 8
            offset = self.amount(entries, "offset", 0, span)
            length = self.amount(entries, "length", needed, span)
            self.externals.append(External(name, entries.get("location", ""), offset, length))

    def entry(self, span: Span) -> tuple[str, str]:
        """A StringStringEntryProto."""
        texts = {1: "", 2: ""}
        for number, kind, begin, end, _ in self.wire.fields(span):
            if number in texts and kind == BYTES:
                texts[number] = self.wire.text(begin, end)
        return texts[1], texts[2]

    def amount(self, entries: dict[str, str], key: str, default: int, span: Span) -> int:
        text = entries.get(key)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            raise self.wire.malformed(f"external data has the {key} '{text[:40]}', expected a number,", span[0])
        return int(text)

    def value(self, span: Span, whole: Span) -> Value:
        """A ValueInfoProto."""
        name, kind, element = "", "", 0
        shape: tuple[int, ...] | None = None
        for number, wiretype, begin, end, _ in self.wire.fields(span):
            if number == 1 and wiretype == BYTES:
                name = self.wire.text(begin, end)
            elif number == 2 and wiretype == BYTES:
                for which, inner, first, last, _ in self.wire.fields((begin, end)):
                    if which in KINDS and inner == BYTES:
                        kind = KINDS[which]
                        if kind == "tensor":
                            element, shape = self.tensor_type((first, last))
        return Value(name, kind, element, shape, whole)

    def tensor_type(self, span: Span) -> tuple[int, tuple[int, ...] | None]:
        element = 0
        shape: list[int] | None = None
        for number, kind, begin, end, _ in self.wire.fields(span):
            if number == 1 and kind == VARINT:
                element = begin
            elif number == 2 and kind == BYTES:
                dims = [self.dimension(field) for field in self.wire.fields((begin, end)) if field[0] == 1]
                shape = [*(shape or []), *dims]
        return element, None if shape is None else tuple(shape)

    def dimension(self, field: Field) -> int:
        size = -1
        if field[1] == BYTES:
            for number, kind, value, _, _ in self.wire.fields(field[2:4]):
                if number == 1 and kind == VARINT:
                    size = value if value < 1 << 63 else -1
                elif number == 2 and kind == BYTES:
                    size = -1
        return size

    def zipmaps(self, outputs: Iterable[Value]) -> tuple[ZipMap, ...]:
        """Those whose output leaves the graph and goes nowhere else."""
        names = {value.name for value in outputs}
        return tuple(
            ZipMap(source, output, self.classes(span), span)
            for source, output, span in self.maps
            if output in names and output not in self.reads and any(a <= span[0] < b for a, b in self.graphs)
        )

    def classes(self, span: Span) -> tuple[str, ...]:
        """The labels in a ZipMap's attributes, classlabels_strings or classlabels_int64s."""
        found: list[str] = []
        ((_, _, *node, _),) = self.wire.fields(span)
        for number, kind, begin, end, _ in self.wire.fields((node[0], node[1])):
            if number != 5 or kind != BYTES:
                continue
            for which, inner, first, last, _ in self.wire.fields((begin, end)):
                if which == 9 and inner == BYTES:
                    found.append(self.wire.text(first, last))
                elif which == 8:
                    numbers = [first] if inner == VARINT else list(self.wire.varints((first, last)))
                    found += [str(n - (1 << 64) if n >= 1 << 63 else n) for n in numbers]
        return tuple(found)
