import pytest

from gateway.protocols.bearer import presented, same


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ([(b"authorization", b"Bearer abc")], b"abc"),
        ([(b"authorization", b"bearer  abc ")], b"abc"),
        ([(b"authorization", "Bearer ü".encode())], "ü".encode()),
        ([(b"authorization", b"Basic abc")], b""),
        ([(b"authorization", b"Bearer")], b""),
        ([(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")], b""),
        ([(b"x", b"Bearer abc")], b""),
        ([], b""),
    ],
)
def test_what_a_caller_presents(headers: list[tuple[bytes, bytes]], token: bytes) -> None:
    assert presented(headers) == token


def test_tokens_of_any_length_and_content_are_compared() -> None:
    assert same(b"abc", b"abc")
    assert same("ü".encode(), "ü".encode())
    assert not same(b"ab", b"abc")
    assert not same(b"", b"abc")
    assert not same(b"\xff", b"abc")
    assert not same(b"", b"")
