"""KServe's own clients, as they are, in the environment that `make test` makes for it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gateways import Server

PYTHON = Path(__file__).parents[2] / ".venv-kserve" / "bin" / "python"
SCRIPT = Path(__file__).with_name("kserve_client.py")

ROWS = np.array([[1, 2, 3, 4], [-1, 0.5, 0, 8]])


@pytest.fixture(scope="module")
def both(server: Server) -> Any:
    if not PYTHON.exists():
        missing = f"{PYTHON} is not there: `make .venv-kserve/.ready` installs it"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    done = subprocess.run([PYTHON, "-I", SCRIPT, server.rest, server.grpc], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def found(both: Any) -> Any:
    return both["rest"]


def test_health(found: Any) -> None:
    assert found["live"] is True
    assert found["ready"] is True
    assert found["model_ready"] is True
    assert found["unknown_ready"] is False


def test_predictions(found: Any) -> None:
    for form in ("json", "binary", "mixed", "plain"):
        assert found[form] == (3 * ROWS).tolist(), form
    assert found["answered"] == ["42", "affine"]


def test_other_types(found: Any) -> None:
    assert found["texts_json"] == found["texts_binary"] == ["ü", "two words"]
    assert found["halves"] == [[0.5, -65504.0]]


def test_errors(found: Any) -> None:
    status, message = found["unknown"]
    assert status == 404
    assert "Request for unknown model: 'none' is not found" in message
    status, message = found["misshapen"]
    assert status == 400
    assert "unexpected shape [2, 3] for input 'x'" in message


def test_over_grpc(both: Any) -> None:
    found = both["grpc"]
    assert [found[name] for name in ("live", "ready", "model_ready", "unknown_ready")] == [True, True, True, False]
    assert found["answered"] == ["42", "affine", "2"]
    assert found["binary"] == found["plain"] == (3 * ROWS).tolist()
    assert found["texts_binary"] == found["texts_plain"] == ["ü", "two words"]
    assert found["halves"] == [[0.5, -65504.0]]
    assert found["at_once"] == [(3 * i * ROWS).tolist() for i in range(20)]
    assert found["unknown"][0] == "NOT_FOUND"
    assert "Request for unknown model: 'none' is not found" in found["unknown"][1]
    assert found["misshapen"][0] == "INVALID_ARGUMENT"
    assert "unexpected shape [2, 3] for input 'x'" in found["misshapen"][1]
