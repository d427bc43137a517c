from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import Unauthenticated
from gateway.security.credential import LONGEST, presented


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ([(b"authorization", b"Bearer abc")], b"abc"),
        ([(b"authorization", b"bearer  abc ")], b"abc"),
        ([(b"authorization", b"BEARER a.b-c_d~e+f/g=")], b"a.b-c_d~e+f/g="),
        ([(b"authorization", "Bearer ü".encode())], "ü".encode()),
        ([(b"x-api-key", b"abc")], b"abc"),
        ([(b"x", b"Bearer abc")], b""),
        ([], b""),
    ],
)
def test_what_a_caller_presents(headers: list[tuple[bytes, bytes]], token: bytes) -> None:
    assert presented(headers) == token


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"Basic abc")],
        [(b"authorization", b"abc")],
        [(b"authorization", b"")],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Bearer   ")],
        [(b"authorization", b"Bearer\tabc")],
        [(b"x-api-key", b"")],
        [(b"x-api-key", b"x" * (LONGEST + 1))],
        [(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")],
        [(b"authorization", b"Bearer a"), (b"authorization", b"Bearer a")],
        [(b"authorization", b"Bearer a"), (b"x-api-key", b"a")],
        [(b"x-api-key", b"a"), (b"x-api-key", b"a")],
    ],
)
def test_what_cannot_be_read_is_refused_and_never_taken_for_nothing(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(Unauthenticated):
        presented(headers)


NAMES = st.sampled_from([b"authorization", b"x-api-key", b"host", b"x-api-keys"])
VALUES = st.one_of(st.binary(max_size=30), st.binary(max_size=20).map(lambda value: b"Bearer " + value))


@given(st.lists(st.tuples(NAMES, VALUES), max_size=4))
def test_whatever_is_sent_it_is_one_token_or_refused_or_nothing(headers: list[tuple[bytes, bytes]]) -> None:
    credentials = [value for name, value in headers if name in (b"authorization", b"x-api-key")]
    with suppress(Unauthenticated):
        token = presented(headers)
        if token:
            assert len(credentials) == 1
            assert token in credentials[0]
            assert token == token.strip()
        else:
            assert not credentials
