"""What serving needs to know of an .onnx file before a runtime opens it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gateway.models.onnx.external import External, check
from gateway.models.onnx.wire import Span, Wire
from gateway.models.onnx.zipmap import splice


@dataclass(frozen=True, slots=True)
class Value:
    """An input or output of the graph. `shape` is None where none is declared, with -1 for a free dimension;
    `element` is the number in TensorProto.DataType, 0 where `kind` is not a tensor."""

    name: str
    kind: str
    element: int
    shape: tuple[int, ...] | None
    span: Span


@dataclass(frozen=True, slots=True)
class ZipMap:
    """A node that turns the tensor `input` into a sequence of maps, named `output`, at the graph's end."""

    input: str
    output: str
    classes: tuple[str, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Graph:
    """What `read_graph` found. `operators` are pairs of domain and type; `externals` are of every subgraph too."""

    path: Path
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    operators: frozenset[tuple[str, str]]
    externals: tuple[External, ...]
    zipmaps: tuple[ZipMap, ...]

    def check_external(self, folder: Path) -> None:
        """Raises InvalidArgument, naming tensor and file, for data that is not a file of its own in `folder`."""
        check(self.path.name, self.externals, folder)

    def without_zipmap(self) -> bytes | None:
        """The model with each ZipMap's tensor as the output, under the output's name; None without ZipMap."""
        if not self.zipmaps:
            return None
        with Wire(self.path) as wire:
            return splice(wire, self.zipmaps, self.outputs)
