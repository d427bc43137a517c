"""What every test stands on."""

import numpy as np
import pytest

pytest_plugins = ["servers.fixtures"]


@pytest.fixture(scope="session", autouse=True)
def _numbers() -> None:
    """As the application does at its start: a number that is too large for its type becomes infinite."""
    np.seterr(over="ignore")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    from servers import fixtures

    for name, reason in sorted(fixtures.missing.items()):
        terminalreporter.write_line(f"not covered: everything with {name}: {reason}")
