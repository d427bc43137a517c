from __future__ import annotations

from typing import Any

import pytest
from copybooks import ASCII, read, value

from gateway.codecs.records.copybook.form import Conventions
from gateway.core.errors import InvalidArgument


@pytest.mark.parametrize(
    ("declared", "data", "expected"),
    [
        ("PIC S9(5) COMP-3", "12345d", -12345),
        ("PIC S9(5) COMP-3", "12345c", 12345),
        ("PIC S9(5) COMP-3", "12345f", 12345),
        ("PIC S9(5) COMP-3", "12345a", 12345),
        ("PIC S9(5) COMP-3", "12345b", -12345),
        ("PIC 9(5) COMP-3", "12345f", 12345),
        ("PIC 9(5) COMP-3", "12345c", 12345),
        ("PIC S9(4) COMP-3", "01234d", -1234),
        ("PIC S9(15) COMP-3", "999999999999999d", -999999999999999),
        ("PIC S9(16) COMP-3", "09007199254740993c", 9007199254740993),
        ("PIC S9(18) COMP-3", "0999999999999999999d", -999999999999999999),
        ("PIC S9(16)V99 COMP-3", "0123456789012345678c", 1234567890123456.78),
        (
            "PIC S9(31) COMP-3",
            "1234567890123456789012345678901d",
            pytest.approx(-1234567890123456789012345678901.0, rel=2**-51),
        ),
        ("PIC SV9(4) COMP-3", "01234d", -0.1234),
        ("PIC S9(3)P(2) COMP-3", "123d", -12300),
        ("PIC SP(2)9(3) COMP-3", "123d", -0.00123),
        ("PIC S9(5)", "f1f2f3f4d5", -12345),
        ("PIC S9(5)", "f1f2f3f4c5", 12345),
        ("PIC S9(5)", "f1f2f3f4f5", 12345),
        ("PIC S9(5)", "f1f2f3f4b5", -12345),
        ("PIC 9(5)", "f1f2f3f4f5", 12345),
        ("PIC S9(3) SIGN LEADING", "d1f2f3", -123),
        ("PIC S9(3) SIGN LEADING SEPARATE", "60f1f2f3", -123),
        ("PIC S9(3) SIGN TRAILING SEPARATE", "f1f2f34e", 123),
        ("PIC S9(17)V9", "f1" * 17 + "d2", pytest.approx(-11111111111111111.2, rel=2**-52)),
        ("PIC 9(18)", "f9" * 18, 999999999999999999),
        ("PIC S9(4) COMP", "fffe", -2),
        ("PIC 9(4) COMP", "fffe", 65534),
        ("PIC S9(5)V99 COMP", "ffffff38", -2.0),
        ("PIC S9(18) BINARY", "8000000000000000", -(2**63)),
        ("PIC 9(18) COMP-5", "7fffffffffffffff", 2**63 - 1),
        ("COMP-1", "42640000", 100.0),
        ("COMP-1", "c276a000", -118.625),
        ("COMP-2", "4111111111111111", 1.0666666666666667),
        ("COMP-1", "00000000", 0.0),
        ("PIC X(4)", "c1c24040", "AB"),
        ("PIC A(2)", "c1c2", "AB"),
        ("PIC ZZ9.99", "4040f14bf2f3", "  1.23"),
        ("PIC N(2)", "00e40020", "ä"),
        ("PIC N(2) USAGE NATIONAL", "00e40020", "ä"),
        ("PIC 9(3) NATIONAL", "003100320033", 123),
        ("PIC S9(2)V9 NATIONAL SIGN LEADING SEPARATE", "002d003100320033", -12.3),
        ("PIC 9(5) COMP-6", "012345", 12345),
        ("PIC 9(4) COMP-6", "1234", 1234),
        ("PIC 9(7) COMP-X", "12d687", 1234567),
        ("PIC S9(6) COMP-X", "fe1dc0", -123456),
        ("PIC X(3) COMP-X", "ffffff", 16777215),
        ("BINARY-CHAR UNSIGNED", "ff", 255),
        ("BINARY-LONG", "fffffffe", -2),
    ],
)
def test_numbers_of_the_host(declared: str, data: str, expected: Any) -> None:
    assert value(declared, bytes.fromhex(data)) == expected


@pytest.mark.parametrize(
    ("declared", "data", "expected"),
    [
        ("PIC S9(3)", b"12s", -123),
        ("PIC S9(3)", b"12L", -123),
        ("PIC S9(3)", b"12C", 123),
        ("PIC S9(3)", b"123", 123),
        ("PIC S9(3)", b"12}", -120),
        ("PIC S9(3) LEADING SEPARATE", b"-123", -123),
        ("PIC S9(4) COMP-5", b"\xfe\xff", -2),
        ("COMP-1", b"\0\0\xc0\x3f", 1.5),
        ("COMP-2", b"\0\0\0\0\0\0\xf8\xbf", -1.5),
    ],
)
def test_numbers_in_ascii(declared: str, data: bytes, expected: Any) -> None:
    assert value(declared, data, ASCII) == expected


def test_conventions() -> None:
    assert value("PIC S9(4) COMP-5", b"\xff\xfe") == -2
    assert value("PIC S9(4) COMP-5", b"\xff\xfe", Conventions(native="little")) == -257
    assert value("COMP-1", b"\x3f\xc0\0\0", Conventions(floats="ieee-big")) == 1.5
    for wrong in ({"floats": "x"}, {"native": "x"}, {"encoding": "utf-16"}, {"encoding": "no-such"}):
        with pytest.raises(InvalidArgument, match="expected"):
            Conventions(**wrong)


@pytest.mark.parametrize(
    ("declared", "data", "reason"),
    [
        ("PIC S9(5) COMP-3", "1a345d", "holds 1a345d, which is not a packed decimal of 5 digits"),
        ("PIC S9(5) COMP-3", "123450", "holds 123450, which is not a packed"),
        ("PIC S9(5) COMP-3", "1234ad", "holds 1234ad, which is not a packed"),
        ("PIC S9(4) COMP-3", "11234d", "holds 11234d, which is not a packed decimal of 4 digits"),
        ("PIC 9(5) COMP-3", "12345d", "which is not an unsigned packed decimal"),
        ("PIC S9(18) COMP-3", "00a0000000000000000c", "which is not a packed"),
        ("PIC S9(18) COMP-3", "000000000000000000a1", "which is not a packed"),
        ("PIC S9(5)", "f1f240f4f5", "which is not a zoned decimal of 5 digits"),
        ("PIC S9(5)", "f1f2f3f4fa", "which is not a zoned"),
        ("PIC S9(5)", "3132333435", "which is not a zoned"),
        ("PIC 9(2)", "f1d2", "which is not an unsigned zoned"),
        ("PIC S9(2) LEADING SEPARATE", "f1f2f3", "which is not a zoned"),
        ("PIC S9(18)", "f1" * 17 + "40", "which is not a zoned"),
        ("PIC 9(18) COMP", "8000000000000000", "which is not a binary number"),
        ("PIC S9(5)", "40" * 5, "which is not a zoned"),
        ("PIC 9(5) COMP-6", "112345", "which is not an unsigned packed decimal of 5 digits"),
        ("PIC 9(5) COMP-6", "01234a", "which is not an unsigned packed"),
        ("PIC 9(2) NATIONAL", "01310032", "holds 01310032, which is not an unsigned national decimal of 2 digits"),
        ("PIC 9(2) NATIONAL", "00310041", "which is not an unsigned national"),
    ],
)
def test_bytes_that_are_no_number(declared: str, data: str, reason: str) -> None:
    found = read(declared, bytes.fromhex(data))
    assert reason in found.errors[0]
    assert found.errors[0].startswith("field 'X' holds ")
