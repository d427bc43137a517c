"""Models for several gateways."""

from __future__ import annotations

from pathlib import Path

import gateways
import pytest
import small_models


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """`m` in versions 1 to 3; each multiplies by its number."""
    for version in (1, 2, 3):
        gateways.put(tmp_path / "models", "m", version, small_models.affine(version))
    return tmp_path / "models"
