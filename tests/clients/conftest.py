from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from gateways import OPENED, Server, put, running
from small_models import affine, identity

LABELLED = """
max_batch_size: 8
input [{ name: "x" data_type: TYPE_FP32 dims: [3] }]
output [{ name: "y" data_type: TYPE_FP32 dims: [3] label_filename: "labels.txt" }]
"""


def _fill(models: Path) -> None:
    for version, factor in ((1, 2.0), (2, 3.0)):
        put(models, "affine", version, affine(factor), config="version_policy: { all {} }\n")
    for kind in ("BYTES", "FP16", "BF16", "INT64", "BOOL"):
        put(models, f"echo-{kind}", 1, identity(kind, ["n", 2]))
    put(models, "text", 1, identity("BYTES", [1]))
    put(models, "image", 1, identity("FP32", [1, 3, 300, 300]))
    put(models, "spare", 1, affine(5.0))
    put(models, "labelled", 1, identity("FP32", ["n", 3]), config=LABELLED)
    (models / "labelled" / "labels.txt").write_text("ant\nbee\ncat\n")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server with everything open, in mode `explicit`. What a test loads or sets, it takes back."""
    models = tmp_path_factory.mktemp("models")
    _fill(models)
    with running(models, tmp_path_factory.mktemp("state"), control_mode="explicit", load="*", **OPENED) as found:
        yield found
