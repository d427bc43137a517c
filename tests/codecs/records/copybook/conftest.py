from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import pytest

Value = int | str
#: flags of cobc, copybook, SELECT clause → statements before each WRITE → the file's bytes
Cobol = Callable[[str, Sequence[Mapping[str, Value | float]]], bytes]


def statements(record: Mapping[str, Value | float]) -> Iterable[str]:
    for name, value in record.items():
        literal = f'"{value}"' if isinstance(value, str) else str(value)
        yield f"           MOVE {literal} TO"
        yield f"                {name}"


@pytest.fixture(scope="session", params=[(), ("-fsign=EBCDIC",)], ids=["ascii-signs", "ebcdic-signs"])
def signs(request: pytest.FixtureRequest) -> tuple[str, ...]:
    flags: tuple[str, ...] = request.param
    return flags


@pytest.fixture
def cobol(tmp_path: Path, signs: tuple[str, ...]) -> Cobol:
    """A GnuCOBOL program that writes these records of a copybook, one after the other without anything between them."""
    if shutil.which("cobc") is None:
        reason = "GnuCOBOL's cobc is not there (apt-get install gnucobol4): records of real COBOL programs"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)

    def write(copybook: str, records: Sequence[Mapping[str, Value | float]]) -> bytes:
        (tmp_path / "rec.cpy").write_text(copybook)
        moves = [line for record in records for line in (*statements(record), "           WRITE REC.")]
        (tmp_path / "writer.cob").write_text("\n".join([HEAD, *moves, FOOT]))
        subprocess.run(["cobc", "-x", "-std=ibm", *signs, "-o", "writer", "writer.cob"], cwd=tmp_path, check=True)
        subprocess.run(["./writer"], cwd=tmp_path, env={"DD_OUTFILE": str(tmp_path / "out")}, check=True)
        return (tmp_path / "out").read_bytes()

    return write


HEAD = """\
       IDENTIFICATION DIVISION.
       PROGRAM-ID. WRITER.
       ENVIRONMENT DIVISION.
       INPUT-OUTPUT SECTION.
       FILE-CONTROL.
           SELECT OUT ASSIGN TO "OUTFILE" ORGANIZATION IS SEQUENTIAL.
       DATA DIVISION.
       FILE SECTION.
       FD  OUT RECORDING MODE F.
       COPY "rec.cpy".
       PROCEDURE DIVISION.
           OPEN OUTPUT OUT.
           MOVE SPACES TO REC.
           INITIALIZE REC."""
FOOT = """\
           CLOSE OUT.
           STOP RUN.
"""
