"""What goes wrong with extracts of a mainframe, from files through a model to files, in real processes."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
from servers.server import until
from streaming import Place, running

from gateway.codecs.records.columns import Columns
from gateway.codecs.records.copybook.encoder import CopybookEncoder
from gateway.codecs.records.copybook.form import Conventions
from gateway.codecs.records.copybook.layout import RecordLayout
from gateway.core.framing import Bdw, Rdw

COPYBOOK = """\
       01  ACCOUNT.
           05  ID-OF              PIC 9(6).
           COPY MONEY REPLACING ==:TAG:== BY ==ACCOUNT==.
           05  N                  PIC 9.
           05  ITEM OCCURS 0 TO 3 DEPENDING ON N.
               10  PRICE          PIC S9(3)V99 COMP-3.
           05  CODE-OF            PIC X(2).
"""
MONEY = """\
           05  :TAG:-AMOUNT       PIC S9(5)V99 COMP-3.
           05  :TAG:-BALANCE      PIC S9(7).
"""
STREAM = """\
input: {files: {path: in, pattern: '*.dat', records: RECORDS, stable_seconds: 0, poll_seconds: 0.02}}
decode: {format: copybook, copybook: account.cpy, encoding: ENCODING}
map: {x: [ACCOUNT-AMOUNT, ACCOUNT-BALANCE, ID-OF, {field: 'PRICE(1)', default: 0}]}
model: affine
encode: {format: json, fields: {id: ID-OF, y: 'y[0]', code: CODE-OF}}
output: {files: {path: out}}
batching: {rows: 100}
errors: {breaker: {share: 0.2, window: 100}}
guarantee: exactly once
"""
AMOUNT, BALANCE, COUNT = slice(6, 10), slice(10, 17), slice(17, 18)


def made(rows: int, encoding: str = "cp037") -> list[bytes]:
    """Records 0, 1, …, with an amount of a quarter of that, and none to three items."""
    copy = "           COPY MONEY REPLACING ==:TAG:== BY ==ACCOUNT==.\n"
    layout = RecordLayout.read(COPYBOOK.replace(copy, MONEY.replace(":TAG:", "ACCOUNT")))
    number = np.arange(rows)
    columns = Columns(
        rows,
        {
            "ID-OF": number, "ACCOUNT-AMOUNT": number / 4, "ACCOUNT-BALANCE": -number, "N": number % 4,
            "PRICE": np.ones((rows, 3)), "CODE-OF": np.array(["[!"] * rows, object),
        },
    )  # fmt: skip
    written = CopybookEncoder(layout, {name: name for name in columns.fields}, Conventions(encoding)).encode(columns)
    assert written.errors == {}
    return list(written.values)


def broken(record: bytes, part: slice, data: bytes) -> bytes:
    return record[: part.start] + data + record[part.stop :]


def place(folder: Path, records: str = "rdw", encoding: str = "cp037") -> Place:
    found = Place(folder)
    (folder / "account.cpy").write_text(COPYBOOK)
    (folder / "MONEY.CPY").write_text(MONEY)
    (folder / "accounts.yaml").write_text(STREAM.replace("RECORDS", records).replace("ENCODING", encoding))
    return found


def give(folder: Path, data: bytes, name: str = "a.dat") -> None:
    (folder / "in" / f".{name}").write_bytes(data)
    (folder / "in" / f".{name}").rename(folder / "in" / name)


def done(folder: Path, name: str = "a.dat") -> None:
    until((folder / "in" / "done" / name).exists, what="the file's end")


def letters(folder: Path) -> list[dict[str, Any]]:
    found = (json.loads(line) for path in (folder / "out" / "dead").glob("*") for line in path.read_text().splitlines())
    return sorted(found, key=lambda letter: int(letter["id"].split("/")[1]))


def raw(letter: dict[str, Any]) -> bytes:
    value = letter["value"]
    return value.encode() if isinstance(value, str) else base64.b64decode(value["base64"])


def test_one_bad_record_in_500_and_a_file_that_is_cut_off(tmp_path: Path) -> None:
    """Each costs itself alone, lies among the dead letters with its bytes, and goes through when it can be read."""
    records = made(4000)
    poison = {
        500: (AMOUNT, bytes.fromhex("0012a45c"), "is not a packed decimal of 7 digits"),
        1000: (BALANCE, "12x4567".encode("cp037"), "is not a zoned decimal of 7 digits"),
        1500: (COUNT, b"\xf7", "field 'N' is 7, expected the 0 to 3 of its table"),
        2000: (AMOUNT, b"\x40" * 4, "`blanks: true` reads blanks as missing"),
        2500: (COUNT, b"\xf3", "the record is truncated: it has 20 bytes, expected 29"),
        3000: (AMOUNT, bytes(4), "`blanks: true` reads LOW-VALUES and HIGH-VALUES as missing"),
        3500: (BALANCE, b"-000012", "these are digits in ASCII, and the encoding is cp037"),
    }
    for at, (part, data, _) in poison.items():
        records[at] = broken(records[at], part, data)
    found = place(tmp_path)
    give(tmp_path, Rdw().join(records)[:-3])
    with running(found, "accounts.yaml") as process:
        done(tmp_path)
        dead = letters(tmp_path)
        assert [int(one["id"].split("/")[1]) for one in dead] == [*poison, 3999]
        assert [raw(one) for one in dead[:-1]] == [records[at] for at in poison]
        for one, (_, _, reason) in zip(dead, poison.values(), strict=False):
            assert reason in one["reason"]
        assert dead[-1]["reason"] == "the file ends in the middle of a record, 30 bytes after its beginning"
        assert raw(dead[-1]) == records[-1][:-3]
        assert [one["id"] for one in found.results()] == [n for n in range(3999) if n not in poison]
        assert {one["code"] for one in found.results()} == {"[!"}
        assert process.view("accounts")["state"] == "running"
    # what was blank is let through now; the others are dead again
    text = (tmp_path / "accounts.yaml").read_text()
    text = text.replace("encoding: cp037", "encoding: cp037, blanks: true").replace(
        "map: {x: [ACCOUNT-AMOUNT", "map: {x: [{field: ACCOUNT-AMOUNT, default: 0}"
    )
    (tmp_path / "accounts.yaml").write_text(text)
    with running(found, "accounts.yaml") as process:
        redriven = process.sluice("redrive", "accounts")
        assert redriven.returncode == 0, redriven.stderr
        until(lambda: len(found.results()) == 3999 - 7 + 2, what="the redriven records")
        until(lambda: len(letters(tmp_path)) == 6, what="the others")
    assert all("name': 'redriven-" in one["position"] for one in letters(tmp_path))
    assert {one["id"] for one in found.results()} >= {2000, 3000}


def test_a_descriptor_that_cannot_be_in_the_middle_of_a_file(tmp_path: Path) -> None:
    records = made(900)
    good, rest = Rdw().join(records[:600]), Rdw().join(records[600:])
    found = place(tmp_path)
    give(tmp_path, good + b"\0\2" + rest[2:])
    give(tmp_path, Rdw().join(made(7)), "b.dat")
    with running(found, "accounts.yaml"):
        done(tmp_path)
        done(tmp_path, "b.dat")
    (letter,) = letters(tmp_path)
    assert f"at byte {len(good)} of {len(good) + len(rest)}: the record descriptor word is 00020000" in letter["reason"]
    assert "what follows in the file cannot be told apart" in letter["reason"]
    assert raw(letter) == b"\0\2" + rest[2:]
    assert sorted(one["id"] for one in found.results()) == sorted([*range(600), *range(7)])


def test_records_in_blocks(tmp_path: Path) -> None:
    found = place(tmp_path, "bdw")
    records = made(5000)
    give(tmp_path, Bdw().join(records))
    with running(found, "accounts.yaml"):
        done(tmp_path)
    assert [one["id"] for one in found.results()] == list(range(5000))
    assert letters(tmp_path) == []


def test_a_fixed_file_that_is_cut_off(tmp_path: Path) -> None:
    """What is shorter than a fixed record cannot be put back: it stays with those of redrive."""
    found = place(tmp_path, "fixed, length: 18", "ascii")
    (tmp_path / "account.cpy").write_text(COPYBOOK[: COPYBOOK.index("           05  ITEM")])
    text = (tmp_path / "accounts.yaml").read_text()
    text = text.replace(", {field: 'PRICE(1)', default: 0}", ", ID-OF").replace(", code: CODE-OF", "")
    (tmp_path / "accounts.yaml").write_text(text)
    records = [record[:18] for record in made(300, "ascii")]
    records[7] = broken(records[7], BALANCE, b"       ")
    give(tmp_path, b"".join(records)[:-1])
    with running(found, "accounts.yaml") as process:
        done(tmp_path)
        assert [raw(one) for one in letters(tmp_path)] == [records[7], records[-1][:-1]]
        assert "ends in the middle of a record, 17 bytes" in letters(tmp_path)[1]["reason"]
        redriven = process.sluice("redrive", "accounts")
        assert "1 put back, 1 could not be" in redriven.stdout
        until(lambda: len(letters(tmp_path)) == 1, what="the one of them, again")
    (kept,) = (tmp_path / ".sluice" / "streams" / "accounts" / "redrive" / "dead").glob("*.jsonl")
    (letter,) = map(json.loads, kept.read_text().splitlines())
    assert raw(json.loads(raw(letter))) == records[-1][:-1]
    assert "has 17 bytes, expected 18" in letter["reason"]
    assert [one["id"] for one in found.results()] == [n for n in range(299) if n != 7]


def wrong(
    folder: Path, data: bytes, encoding: str, right: str, hint: str, records: tuple[str, str] = ("rdw", "rdw")
) -> None:
    """The stream pauses itself with that hint; with the right setting all of it goes through."""
    found = place(folder, records[0], encoding)
    give(folder, data)
    with running(found, "accounts.yaml") as process:
        process.await_state("paused", "accounts")
        assert hint in process.view("accounts")["reason"]
    assert not (folder / "in" / "done").exists()
    text = (folder / "accounts.yaml").read_text()
    text = text.replace(f"encoding: {encoding}", f"encoding: {right}")
    (folder / "accounts.yaml").write_text(text.replace(f"records: {records[0]}", f"records: {records[1]}"))
    with running(found, "accounts.yaml") as process:
        if process.view("accounts")["state"] == "paused":
            assert process.sluice("resume", "accounts").returncode == 0
        done(folder)
    assert [one["id"] for one in found.results()] == list(range(1000))
    assert letters(folder) == []


def test_ebcdic_that_is_read_as_ascii(tmp_path: Path) -> None:
    wrong(tmp_path, Rdw().join(made(1000)), "ascii", "cp037", "these are digits in EBCDIC, and the encoding is ascii")


def test_ascii_that_is_read_as_ebcdic(tmp_path: Path) -> None:
    data = Rdw().join(made(1000, "ascii"))
    wrong(tmp_path, data, "cp037", "ascii", "these are digits in ASCII, and the encoding is cp037")
