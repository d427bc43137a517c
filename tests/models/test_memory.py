"""What is given back is not needed, and what was needed after all comes back."""

from pathlib import Path

import numpy as np

from gateway.models.memory import forget_start


def _code_kb() -> int:
    """Resident kB of the code of shared libraries."""
    total, code = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if line.startswith("Rss:"):
            total += int(line.split()[1]) if code else 0
        elif not line.split(maxsplit=1)[0].endswith(":"):
            code = " r-xp " in line and ".so" in line
    return total


def test_code_that_only_a_start_runs_is_no_longer_resident_and_what_is_needed_comes_back() -> None:
    matrix = np.random.default_rng(1).random((64, 64))
    before, inverse = _code_kb(), np.linalg.inv(matrix)
    forget_start()
    assert _code_kb() < before * 0.7
    assert np.array_equal(np.linalg.inv(matrix), inverse)
