from __future__ import annotations

import warnings
from collections.abc import Iterator

import onnxruntime as ort
import pytest
from conformance.nodes import Case, read_case
from conformance.oip import Client
from gateways import Server, put, running
from onnx import helper
from onnx.backend.test.loader import load_model_tests
from small_models import ELEMENTS, identity, model


def several() -> bytes:
    """Inputs `a` and `text`, outputs `twice` (of a), `same` (text) and `count` (a's shape)."""
    return model(
        [
            helper.make_node("Add", ["a", "a"], ["twice"]),
            helper.make_node("Identity", ["text"], ["same"]),
            helper.make_node("Shape", ["a"], ["count"]),
        ],
        {"a": ("FP32", ["n", 2]), "text": ("BYTES", ["m"])},
        {"twice": ("FP32", ["n", 2]), "same": ("BYTES", ["m"]), "count": ("INT64", [2])},
    )


LABELLED = """
max_batch_size: 8
input [{ name: "x" data_type: TYPE_FP32 dims: [3] }]
output [{ name: "y" data_type: TYPE_FP32 dims: [3] label_filename: "labels.txt" }]
"""


@pytest.fixture(scope="session")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Of one server with small models for every type and form."""
    models = tmp_path_factory.mktemp("models")
    for kind in ELEMENTS:
        put(models, f"scalar-{kind}", 1, identity(kind, []))
        put(models, f"vector-{kind}", 1, identity(kind, ["n"]))
        put(models, f"matrix-{kind}", 1, identity(kind, ["n", 3]))
    put(models, "several", 1, several())
    put(models, "labelled", 1, identity("FP32", ["n", 3]), config=LABELLED)
    (models / "labelled" / "labels.txt").write_text("ant\nbee\ncat\n")
    put(models, "fixed", 1, identity("INT32", [2, 3]))
    put(models, "free", 1, identity("FP64", [2, "n"]))
    put(models, "freer", 1, identity("FP64", [2, "n", "m"]))
    put(models, "text", 1, identity("BYTES", [1]))
    put(models, "text-column", 1, identity("BYTES", ["n", 1]))
    put(models, "text-pair", 1, identity("BYTES", [2]))
    put(models, "text-free", 1, identity("BYTES", [1, "n"]))
    with running(models, tmp_path_factory.mktemp("state")) as server:
        client = Client(server.rest)
        yield client
        client.close()


@pytest.fixture(scope="session")
def cases() -> list[Case]:
    ort.set_default_logger_severity(4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those tests compute their data as they are collected: 0 / 0 and the like
        return [read_case(case) for case in load_model_tests(kind="node")]


@pytest.fixture(scope="session")
def node_server(cases: list[Case], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """All of the models in one server, those that cannot be served included."""
    models = tmp_path_factory.mktemp("nodes")
    for case in cases:
        put(models, case.name, 1, case.model)
    with running(models, tmp_path_factory.mktemp("state"), start_limit=100, threads="1") as found:
        yield found
