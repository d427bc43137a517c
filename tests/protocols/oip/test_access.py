from __future__ import annotations

import pytest

from gateway.core.errors import PermissionDenied, Unauthenticated
from gateway.protocols.bearer import presented
from gateway.protocols.oip.access import Gate
from gateway.settings.schema import Access


def _request(*authorization: bytes) -> bytes:
    return presented((b"authorization", value) for value in authorization)


def _gate(access: Access, token: str = "s3cret") -> Gate:  # noqa: S107
    return Gate("the repository API", "restricted.repository", access, token)


def test_open_lets_everybody_pass() -> None:
    _gate("open", "").check(_request())


def test_off_lets_nobody_pass_and_says_what_opens_it() -> None:
    with pytest.raises(PermissionDenied, match=r"the repository API is off: setting 'restricted\.repository'"):
        _gate("off").check(_request(b"Bearer s3cret"))


@pytest.mark.parametrize("header", [b"Bearer s3cret", b"bearer  s3cret ", b"BEARER s3cret"])
def test_the_token_opens(header: bytes) -> None:
    _gate("token").check(_request(header))


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"Bearer",
        b"Bearer ",
        b"Bearer wrong",
        b"Bearer s3cret2",
        b"Basic s3cret",
        b"s3cret",
        b"Bearer \xff\xfe",
    ],
)
def test_anything_else_does_not(header: bytes) -> None:
    with pytest.raises(Unauthenticated, match="Authorization: Bearer <token>"):
        _gate("token").check(_request(header))


def test_no_header_and_no_token() -> None:
    with pytest.raises(Unauthenticated):
        _gate("token").check(_request())
    with pytest.raises(Unauthenticated):
        _gate("token", "").check(_request(b"Bearer "))
