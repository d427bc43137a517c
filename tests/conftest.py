"""What every test stands on."""

import numpy as np
import pytest


@pytest.fixture(scope="session", autouse=True)
def _numbers() -> None:
    """As the application does at its start: a number that is too large for its type becomes infinite."""
    np.seterr(over="ignore")
