"""Data beside a model's file: only what is a file of its own inside its folder is read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto

from gateway.core.errors import InvalidArgument
from gateway.models.onnx.reader import read_graph
from gateway.models.onnx.wire import field


def test_external_data_inside_the_folder_is_fine(tmp_path: Path, make: Any) -> None:
    folder = tmp_path / "1"
    graph = read_graph(make.external(make.linear(), folder))
    assert [item.tensor for item in graph.externals] == ["w"]
    graph.check_external(folder)
    (folder / "weights.bin").rename(folder / "other.bin")
    (folder / "weights.bin").symlink_to("other.bin")
    graph.check_external(folder)


def linked(folder: Path, outside: Path) -> None:
    (folder / "data").symlink_to(outside)


def linked_folder(folder: Path, outside: Path) -> None:
    (folder / "sub").symlink_to(outside.parent)


def hard_linked(folder: Path, outside: Path) -> None:
    os.link(outside, folder / "data")


def piped(folder: Path, outside: Path) -> None:
    os.mkfifo(folder / "data")


def circular(folder: Path, outside: Path) -> None:
    (folder / "data").symlink_to("data")


def short(folder: Path, outside: Path) -> None:
    (folder / "data").write_bytes(b"123")


def nothing(folder: Path, outside: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("location", "arrange", "reason"),
    [
        ("../secret", nothing, "relative"),
        ("a/../../secret", nothing, "relative"),
        ("/etc/passwd", nothing, "relative"),
        ("", nothing, "not the name"),
        ("a\0b", nothing, "not the name"),
        ("*/_ORT_MEM_ADDR_/*", nothing, "not the name"),
        ("missing", nothing, "No such file"),
        (".", nothing, "regular"),
        ("data", linked, "leads out"),
        ("sub/secret", linked_folder, "leads out"),
        ("data", hard_linked, "hard links"),
        ("data", piped, "regular"),
        ("data", circular, "cannot be read"),
        ("data", short, "3 bytes, expected at least 24"),
        ("x" * 5000, nothing, "cannot be read"),
    ],
)
def test_unsafe_external_data(
    tmp_path: Path, make: Any, location: str, arrange: Callable[[Path, Path], None], reason: str
) -> None:
    outside = tmp_path / "outside" / "secret"
    outside.parent.mkdir()
    outside.write_bytes(bytes(100))
    folder = tmp_path / "1"
    model = make.identity(TensorProto.FLOAT, ["N"])
    model.graph.initializer.append(make.stored("w", location))
    path = make.save(model, folder)
    arrange(folder, outside)
    with pytest.raises(InvalidArgument) as caught:
        read_graph(path).check_external(folder)
    assert reason in caught.value.message
    assert "'w'" in caught.value.message
    assert location in caught.value.message


def test_a_tensor_written_in_two_parts_hides_nothing(tmp_path: Path, make: Any) -> None:
    first = TensorProto(name="w", data_type=1, dims=[2], data_location=TensorProto.EXTERNAL)
    first.external_data.add(key="offset", value="0")
    second = TensorProto()
    second.external_data.add(key="location", value="../secret")
    parts = field(5, first.SerializeToString()) + field(5, second.SerializeToString())
    node = field(4, b"Constant") + field(5, field(1, b"value") + parts)
    path = tmp_path / "model.onnx"
    path.write_bytes(make.linear().SerializeToString() + field(7, field(1, node)))
    assert onnx.load(path, load_external_data=False).graph.node[-1].attribute[0].t.external_data[1].value
    with pytest.raises(InvalidArgument, match=r"secret|not the name"):
        read_graph(path).check_external(tmp_path)


@pytest.mark.parametrize("amount", ["-1", "1e3", "0x10", "9" * 30, "", "\uff11"])
def test_absurd_amounts(tmp_path: Path, make: Any, amount: str) -> None:
    model = make.identity(TensorProto.FLOAT, ["N"])
    model.graph.initializer.append(make.stored("w", "w.bin", length=amount))
    with pytest.raises(InvalidArgument, match="length"):
        read_graph(make.save(model, tmp_path))
