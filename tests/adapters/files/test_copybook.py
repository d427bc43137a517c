"""What a COBOL program writes, EBCDIC and packed, comes out as fixed-width text: each record once, through a kill."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from servers.server import until
from streaming import Place, Running, running

RECORDS = 4000
SIZE = 24
PROGRAM = f"""\
       IDENTIFICATION DIVISION.
       PROGRAM-ID. WRITER.
       ENVIRONMENT DIVISION.
       INPUT-OUTPUT SECTION.
       FILE-CONTROL.
           SELECT OUT ASSIGN TO "OUTFILE" ORGANIZATION IS SEQUENTIAL.
       DATA DIVISION.
       FILE SECTION.
       FD  OUT RECORDING MODE F.
       COPY "account.cpy".
       WORKING-STORAGE SECTION.
       01  N                      PIC 9(6).
       PROCEDURE DIVISION.
           OPEN OUTPUT OUT.
           PERFORM VARYING N FROM 0 BY 1 UNTIL N = {RECORDS}
               MOVE N TO ID-OF
               MOVE "SMITH" TO NAME-OF
               COMPUTE AMOUNT = N / 4
               COMPUTE BALANCE = 0 - N
               WRITE ACCOUNT
           END-PERFORM.
           CLOSE OUT.
           STOP RUN.
"""
COPYBOOK = """\
       01  ACCOUNT.
           05  ID-OF              PIC 9(6).
           05  NAME-OF            PIC X(10).
           05  AMOUNT             PIC S9(5)V99 COMP-3.
           05  BALANCE            PIC S9(7) COMP-3.
"""
STREAM = """\
input: {files: {path: in, pattern: '*.dat', records: fixed, length: 24, stable_seconds: 0, poll_seconds: 0.02}}
decode: {format: copybook, copybook: account.cpy}
map: {x: [AMOUNT, BALANCE, ID-OF, ID-OF]}
model: affine
encode:
  format: fixed
  fields: {id: ID-OF, score: 'y[0]', balance: 'y[1]'}
  layout: {id: {start: 0, width: 6}, score: {start: 6, width: 10, scale: 2}, balance: {start: 16, width: 8}}
output: {files: {path: out, name: '{stem}.scored', records: fixed, length: 24}}
batching: {rows: 50}
guarantee: exactly once
"""


@pytest.fixture
def written(tmp_path: Path) -> bytes:
    """The program's file, its text translated to EBCDIC: GnuCOBOL's is ASCII."""
    if shutil.which("cobc") is None:
        reason = "GnuCOBOL's cobc is not there (apt-get install gnucobol4): files of real COBOL programs"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    (tmp_path / "account.cpy").write_text(COPYBOOK)
    (tmp_path / "writer.cob").write_text(PROGRAM)
    subprocess.run(["cobc", "-x", "-std=ibm", "-o", "writer", "writer.cob"], cwd=tmp_path, check=True)
    subprocess.run(["./writer"], cwd=tmp_path, env={"DD_OUTFILE": str(tmp_path / "raw")}, check=True)
    data = (tmp_path / "raw").read_bytes()
    records = [data[at : at + SIZE] for at in range(0, len(data), SIZE)]
    return b"".join(record[:16].decode("ascii").encode("cp037") + record[16:] for record in records)


def test_a_copybook_file_through_a_kill(tmp_path: Path, written: bytes) -> None:
    assert len(written) == RECORDS * SIZE
    place = Place(tmp_path)
    (tmp_path / "accounts.yaml").write_text(STREAM)
    data = bytearray(written)
    bad = range(7, RECORDS, 500)
    for number in bad:
        data[number * SIZE + 17] = 0xFF  # no digits
    (tmp_path / "in" / ".a").write_bytes(data + b"\xf0\xf1")
    (tmp_path / "in" / ".a").rename(tmp_path / "in" / "a.dat")

    died = Running(place, "accounts.yaml", SLUICE_CRASH_AT="after-write:33")
    assert died.process.wait(60) == -signal.SIGKILL, died.text()
    assert not (tmp_path / "out" / "a.scored").exists()
    with running(place, "accounts.yaml"):
        until((tmp_path / "in" / "done" / "a.dat").exists, what="the file's end")

    # version 2 is served, which multiplies by 3
    text = (tmp_path / "out" / "a.scored").read_text()
    found = [text[at : at + 24] for at in range(0, len(text), 24)]
    numbers = [(int(line[:6]), int(line[6:16]), float(line[16:])) for line in found]
    assert numbers == [(n, n * 75, -3.0 * n) for n in range(RECORDS) if n not in bad]
    letters = [json.loads(line) for line in (tmp_path / "out" / "dead" / "a.dat.dead.jsonl").read_text().splitlines()]
    assert [int(one["id"].split("/")[1]) for one in letters] == [*bad, RECORDS]
    assert all("AMOUNT" in one["reason"] for one in letters[:-1])
    assert "the file ends in the middle of a record" in letters[-1]["reason"]
    assert base64.b64decode(letters[0]["value"]["base64"]) == bytes(data[7 * SIZE : 8 * SIZE])
