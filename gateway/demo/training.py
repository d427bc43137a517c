"""The demo's models, trained on data that scikit-learn brings, and the rows that were held out of their training."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final, NamedTuple

from gateway.core.errors import Unsupported

#: of all rows, those that no model sees before it serves
HELD_OUT: Final = 0.4
CANCER: Final = "breast-cancer"
DIGITS: Final = "digits"

#: both versions are served, whatever the traffic split says
_ALL_VERSIONS: Final = "version_policy: { all: {} }\n"


class HeldOut(NamedTuple):
    """Rows of features, and the class that each of them really is."""

    model: str
    rows: list[list[float]]
    classes: list[int]


def train(models: Path) -> dict[str, HeldOut]:
    """Writes the models folder anew; returns what was held out, by model.

    Raises Unsupported where scikit-learn or skl2onnx is not installed.
    """
    try:
        from skl2onnx import to_onnx  # noqa: F401
        from sklearn.datasets import load_breast_cancer, load_digits
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.tree import DecisionTreeClassifier
    except ImportError as error:
        raise Unsupported(
            f"the demo needs {error.name or 'scikit-learn'}, which is not installed: pip install 'sluice[demo]'"
        ) from error
    shutil.rmtree(models, ignore_errors=True)
    stump = DecisionTreeClassifier(max_depth=1, random_state=0)
    regression = make_pipeline(StandardScaler(), LogisticRegression(C=0.3))
    cancer = _export(models / CANCER, load_breast_cancer, {"1": stump, "2": regression})
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    digits = _export(models / DIGITS, load_digits, {"1": linear})
    return {CANCER: cancer, DIGITS: digits}


def _export(folder: Path, dataset: Any, versions: dict[str, Any]) -> HeldOut:
    import numpy as np
    from skl2onnx import to_onnx
    from sklearn.model_selection import train_test_split

    features, classes = dataset(return_X_y=True)
    known, held_out, known_classes, held_out_classes = train_test_split(
        features.astype(np.float32), classes, test_size=HELD_OUT, random_state=0, stratify=classes
    )
    for version, model in versions.items():
        model.fit(known, known_classes)
        (folder / version).mkdir(parents=True)
        path = folder / version / "model.onnx"
        path.write_bytes(to_onnx(model, known[:1]).SerializeToString())
    (folder / "config.pbtxt").write_text(_ALL_VERSIONS)
    return HeldOut(folder.name, held_out.tolist(), held_out_classes.tolist())
