"""What every test stands on."""

import subprocess
from pathlib import Path

import hypothesis
import numpy as np
import pytest

# a machine that stalls for a moment finds no fault
hypothesis.settings.register_profile("sluice", deadline=None)
hypothesis.settings.load_profile("sluice")

pytest_plugins = ["servers.fixtures"]


@pytest.fixture(scope="session", autouse=True)
def _numbers() -> None:
    """As the application does at its start: a number that is too large for its type becomes infinite."""
    np.seterr(over="ignore")


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem; server.pem, client.pem, other.pem, which it signed, with their keys; stranger.pem, which nobody did."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "2")
    openssl("req", "-x509", *key, "-keyout", "stranger.key", "-out", "stranger.pem", "-subj", "/CN=x", "-days", "2")
    local = "DNS:localhost,IP:127.0.0.1"
    for name, names in (("server", local), ("client", local), ("other", "URI:spiffe://mesh/other")):
        (folder / "names").write_text(f"subjectAltName={names}")
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signed)
    return folder


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    from servers import fixtures

    for name, reason in sorted(fixtures.missing.items()):
        terminalreporter.write_line(f"not covered: everything with {name}: {reason}")
