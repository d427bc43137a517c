"""What security costs who does not use it: nothing is loaded for it."""

from __future__ import annotations

import subprocess
import sys

SERVES = """
import sys
import gateway.app.alone, gateway.app.worker, gateway.app.supervisor, gateway.protocols.grpc.port
from gateway.app.security import Security
from gateway.settings import Settings
Security(Settings(), "token")
print(*sorted({name.partition(".")[0] for name in sys.modules} & {"joserfc", "cryptography"}), end="")
"""


def test_the_libraries_for_tokens_are_loaded_where_tokens_are_taken() -> None:
    assert subprocess.run([sys.executable, "-c", SERVES], capture_output=True, text=True, check=True).stdout == ""
