"""Heads that are not parsed again must mean what they meant, however they are cut and whatever surrounds them."""

from __future__ import annotations

from gateways import Server
from hypothesis import given, settings
from hypothesis import strategies as st
from rawhttp import Raw, infer, request, tensor

from gateway.protocols.http.heads import LONGEST, MOST, Heads, Known

KNOWN = Known(("m", ""), {}, 5)
GOOD = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"


def test_a_head_is_kept_from_its_second_sight_on() -> None:
    heads = Heads()
    heads.saw(GOOD + b"12345", 2, KNOWN)
    assert not heads
    heads.saw(GOOD + b"67890", 2, KNOWN)
    assert heads == {GOOD: KNOWN}


def test_what_is_not_plain_is_not_kept() -> None:
    heads = Heads()
    for data, headers in (
        (b"\r\n" + GOOD, 2),
        (GOOD.replace(b"POST", b"GET"), 2),
        (GOOD, 3),
        (GOOD[:-2], 2),
        (GOOD.replace(b"Host: a\r\n", b"Host: a\n"), 2),
        (GOOD.replace(b"Host: a\r\n", b"Host: a\r\n b\r\n"), 2),
        (GOOD.replace(b"Host: a", b"Host: " + b"a" * LONGEST), 2),
    ):
        for _ in range(3):
            heads.saw(data, headers, KNOWN)
    assert not heads


def test_heads_do_not_pile_up() -> None:
    heads = Heads()
    for number in range(3 * MOST):
        data = GOOD.replace(b"Host: a", b"Host: %d" % number)
        for _ in range(2):
            heads.saw(data, 2, KNOWN)
        assert len(heads) <= MOST
        assert len(heads._seen) <= MOST


ROW = tensor("x", [1, 4], "FP32", [1, 2, 3, 4])
QUESTIONS = {
    "plain": (infer("affine", ROW), 200),
    "an id": (infer("affine", ROW, id="a"), 200),
    "none such": (infer("nothing", ROW), 404),
    "wrong": (infer("affine", tensor("x", [1, 5], "FP32", [1, 2, 3, 4, 5])), 400),
    "no body": (request("/v2/models/affine/infer"), 400),
    "its header": (infer("affine", ROW, headers=["sluice-key: a"]), 200),
    "another's length": (infer("affine", ROW, headers=["Inference-Header-Content-Length: 3"]), 400),
    "metadata": (request("/v2/models/affine", method="GET"), 200),
    "an upgrade": (infer("affine", ROW, headers=["Upgrade: h2c", "Connection: Upgrade"]), 200),
    "an empty line": (b"\r\n" + infer("affine", ROW), 200),
}


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(list(QUESTIONS)), st.integers(0, 300)), min_size=1, max_size=12))
def test_requests_in_any_order_cut_anywhere(gateway: Server, sent: list[tuple[str, int]]) -> None:
    """`sent`: what, and after how many of its bytes the client pauses."""
    data = [QUESTIONS[name][0] for name, _ in sent]
    cuts, end = [], 0
    for part, (_, at) in zip(data, sent, strict=True):
        cuts.append(end + min(at, len(part)))
        end += len(part)
    whole = b"".join(data)
    with Raw(gateway.host) as client:
        client.socket.setsockopt(6, 1, 1)  # TCP_NODELAY
        for start, stop in zip([0, *cuts], [*cuts, len(whole)], strict=True):
            client.send(whole[start:stop])
        assert [client.reply().status for _ in sent] == [QUESTIONS[name][1] for name, _ in sent]
