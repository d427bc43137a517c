from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from gateway.core.errors import Unsupported
from gateway.demo.training import CANCER, DIGITS, HeldOut, train


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "models"


@pytest.fixture(scope="module")
def held_out(models: Path) -> dict[str, HeldOut]:
    return train(models)


def _accuracy(path: Path, held_out: HeldOut) -> float:
    session = onnxruntime.InferenceSession(str(path))
    (found,) = session.run([session.get_outputs()[0].name], {"X": np.array(held_out.rows, np.float32)})
    return float((found == np.array(held_out.classes)).mean())


def test_the_second_version_is_better_on_rows_that_neither_has_seen(models: Path, held_out: dict[str, HeldOut]) -> None:
    first, second = (_accuracy(models / CANCER / v / "model.onnx", held_out[CANCER]) for v in ("1", "2"))
    assert 0.85 < first < second - 0.03
    assert _accuracy(models / DIGITS / "1" / "model.onnx", held_out[DIGITS]) > 0.95


def test_both_versions_are_served_whatever_the_split(models: Path, held_out: dict[str, HeldOut]) -> None:
    assert len(held_out[CANCER].rows) == 228
    assert "all" in (models / CANCER / "config.pbtxt").read_text()


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(Unsupported, match=r"pip install 'sluice\[demo\]'"):
        train(tmp_path / "models")
    assert not (tmp_path / "models").exists()
