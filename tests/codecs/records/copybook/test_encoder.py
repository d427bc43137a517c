from __future__ import annotations

import math

import numpy as np
from copybooks import layout

from gateway.codecs.records.columns import Columns, objects
from gateway.codecs.records.copybook.encoder import CopybookEncoder
from gateway.codecs.records.copybook.form import Conventions


def test_what_does_not_fit_is_an_error_of_its_record() -> None:
    record = layout("05 A PIC S9(3) COMP-3.", "05 B PIC 9(3).", "05 T PIC X(2).", "05 F COMP-1.")
    columns = Columns(
        6,
        {
            "a": np.array([1000, 1, 2, 3, 4, 5]),
            "b": np.array([1.0, -1, 2, math.nan, 1, 2]),
            "t": objects(["a", "b", "abc", "d", "€", "e"]),
            "f": np.array([1, 1, 1, 1, 1, 1e39]),
        },
    )
    conventions = Conventions("ascii")
    written = CopybookEncoder(record, {"A": "a", "B": "b", "T": "t", "F": "f"}, conventions).encode(columns)
    assert written.errors == {
        0: "field 'A' is 1000, expected at most 3 digits, 0 of them decimals",
        1: "field 'B' is -1.0, expected unsigned at most 3 digits, 0 of them decimals",
        2: "field 'T' is 'abc' with 3 characters, expected at most 2",
        3: "field 'B' is nan, expected unsigned at most 3 digits, 0 of them decimals",
        4: "field 'T' has '€', which ascii lacks",
        5: "field 'F' is 1e+39, expected a number that COMP-1 holds",
    }
    assert written.values == [b""] * 6
