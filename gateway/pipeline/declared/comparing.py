"""What came out of a stream's test, against what had to."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from gateway.codecs.records.columns import Decoder
from gateway.core.errors import SluiceError
from gateway.pipeline.declared.cases import Case, Wanted
from gateway.pipeline.declared.problem import Problem
from gateway.pipeline.scoring.scored import Scored

#: characters of a value that are shown
MOST = 300


def differences(case: Case, scored: Scored, read: Decoder | None) -> list[Problem]:
    """Empty where the case holds. `read` takes results apart that are not JSON, to compare their fields."""
    results = list(scored.batch.values)
    found = list(_dead(case, scored.errors))
    if len(results) != len(case.out):
        found.append(Problem(case.place, "out", f"{len(results)} results, expected {len(case.out)}"))
    for number, (row, value) in enumerate(zip(scored.rows, results, strict=True)):
        where = f"out[{number}] (of record {row + 1})"
        if number >= len(case.out):
            found.append(Problem(case.place, where, f"is not expected: {_shown(value)}"))
        else:
            found += [
                Problem(case.out[number].place, where, text) for text in _result(case.out[number], value or b"", read)
            ]
    for wanted in case.out[len(results) :]:
        what = _shown(wanted.value) if wanted.value is not None else _json(wanted.fields)
        found.append(Problem(wanted.place, "out", f"did not come: {what}"))
    return found


def _dead(case: Case, errors: Mapping[int, str]) -> Iterator[Problem]:
    expected = {dead.record - 1: dead.reason for dead in case.dead}
    for row, reason in sorted(errors.items()):
        if row not in expected:
            yield Problem(case.place, f"record {row + 1}", f"became a dead letter: {reason}")
        elif expected[row] not in reason:
            yield Problem(
                case.place, f"record {row + 1}", f"the reason is '{reason}', expected '{expected[row]}' in it"
            )
    for row in sorted(set(expected) - set(errors)):
        yield Problem(case.place, f"record {row + 1}", "had to become a dead letter, and did not")


def _result(wanted: Wanted, value: bytes, read: Decoder | None) -> Iterator[str]:
    if wanted.value is not None:
        if value != wanted.value:
            yield f"found    {_shown(value)}"
            yield f"expected {_shown(wanted.value)}"
        return
    try:
        fields = orjson.loads(value) if read is None else _taken_apart(read, value)
    except (orjson.JSONDecodeError, SluiceError) as error:
        yield f"its fields cannot be read ({error}): {_shown(value)}"
        return
    for name, expected in wanted.fields.items():
        there, given = _field(fields, name)
        if not there:
            yield f"field '{name}' is not there, expected {_json(expected)}: {_shown(value)}"
        elif not _equal(given if read is None else _as_number(given, expected), expected, wanted.tolerance):
            yield f"field '{name}' is {_json(given)}, expected {_json(expected)}"


def _field(fields: Any, name: str) -> tuple[bool, Any]:
    """As a name, or as names joined by dots. Returns whether it is there."""
    if isinstance(fields, dict) and name in fields:
        return True, fields[name]
    first, dot, rest = name.partition(".")
    if dot and isinstance(fields, dict) and first in fields:
        return _field(fields[first], rest)
    return False, None


def _taken_apart(read: Decoder, value: bytes) -> dict[str, Any]:
    columns = read.decode([value])
    if columns.errors:
        return {}
    found = {}
    for name, array in columns.fields.items():
        valid = columns.valid.get(name)
        found[name] = array[0].tolist() if hasattr(array[0], "tolist") else array[0]
        if valid is not None and not valid[0].all():
            found[name] = None
    return found


def _as_number(found: Any, expected: Any) -> Any:
    """Formats of text alone do not tell numbers from texts."""
    if isinstance(found, str) and isinstance(expected, (int, float)) and not isinstance(expected, bool):
        try:
            return float(found)
        except ValueError:
            return found
    return found


def _equal(found: Any, expected: Any, tolerance: float) -> bool:
    numbers = (int, float)
    if isinstance(found, bool) or isinstance(expected, bool):
        return found is expected
    if isinstance(found, numbers) and isinstance(expected, numbers):
        if math.isnan(found) or math.isnan(expected):
            return math.isnan(found) and math.isnan(expected)
        return math.isclose(found, expected, rel_tol=tolerance, abs_tol=tolerance)
    if isinstance(found, list) and isinstance(expected, list):
        return len(found) == len(expected) and all(map(_equal, found, expected, [tolerance] * len(found)))
    if isinstance(found, dict) and isinstance(expected, dict):
        return found.keys() == expected.keys() and all(_equal(found[k], v, tolerance) for k, v in expected.items())
    return bool(found == expected)


def _json(value: Any) -> str:
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _shown(value: bytes | None) -> str:
    """As text where it is one, else as hex."""
    if value is None:
        return "nothing"
    try:
        text = value.decode()
        shown = text if text.isprintable() else repr(text)
    except UnicodeDecodeError:
        shown = value.hex()
    return shown if len(shown) <= MOST else f"{shown[:MOST]}… ({len(value)} bytes)"
