from __future__ import annotations

import grpc
import pytest

from gateway.core import errors
from gateway.core.errors import SluiceError
from gateway.protocols.grpc.status import MOST, STATUS, details_of, status_of, trailers_of

CODES = {code.value[0]: code for code in grpc.StatusCode}


def test_every_error_has_a_status() -> None:
    codes = {
        found.code for found in vars(errors).values() if isinstance(found, type) and issubclass(found, SluiceError)
    }
    assert codes == set(STATUS)
    assert set(STATUS.values()) <= set(CODES)


@pytest.mark.parametrize("name", ["INVALID_ARGUMENT", "NOT_FOUND", "UNAVAILABLE", "RESOURCE_EXHAUSTED", "CANCELLED"])
def test_the_names_are_the_same(name: str) -> None:
    assert CODES[STATUS[name]].name == name


def test_what_travels_with_an_error() -> None:
    error = errors.Unavailable("Exceeds maximum queue size", retry_after=0.25)
    assert (status_of(error), details_of(error)) == (14, "Exceeds maximum queue size")
    assert trailers_of(error) == (("grpc-retry-pushback-ms", "250"),)
    long = errors.InvalidArgument("x" * 9000)
    assert len(details_of(long)) == MOST
    assert trailers_of(long) == ()
