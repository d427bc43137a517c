"""Framing: what is a request, where it ends, and what is said of what is none."""

from __future__ import annotations

import pytest
from gateways import Server
from rawhttp import Raw, chunked, infer, request, tensor

ROW = tensor("x", [1, 4], "FP32", [1, 2, 3, 4])
GOOD = infer("affine", ROW)
BODY = GOOD.partition(b"\r\n\r\n")[2]
PATH = "/v2/models/affine/infer"


def head(*lines: str) -> bytes:
    return "\r\n".join([f"POST {PATH} HTTP/1.1", "Host: test", *lines, "", ""]).encode("latin-1")


MALFORMED = {
    "negative content-length": head("Content-Length: -5") + BODY,
    "content-length with a sign": head(f"Content-Length: +{len(BODY)}") + BODY,
    "content-length in hex": head("Content-Length: 0x10") + BODY,
    "content-length with a fraction": head("Content-Length: 10.0") + BODY,
    "content-length as a list": head(f"Content-Length: {len(BODY)}, {len(BODY)}") + BODY,
    "content-length twice": head(f"Content-Length: {len(BODY)}", f"Content-Length: {len(BODY)}") + BODY,
    "content-length twice, apart": head(f"Content-Length: {len(BODY)}", "Content-Length: 3") + BODY,
    "content-length beyond 64 bits": head("Content-Length: 18446744073709551617") + BODY,
    "content-length empty": head("Content-Length:") + BODY,
    "both lengths": head("Transfer-Encoding: chunked", f"Content-Length: {len(BODY)}") + b"0\r\n\r\n",
    "both lengths, the other way round": head("Content-Length: 4", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "unknown transfer-encoding": head("Transfer-Encoding: gzip") + BODY,
    "chunked not last": head("Transfer-Encoding: chunked, gzip") + b"0\r\n\r\n",
    "chunked, misspelt": head("Transfer-Encoding: xchunked") + b"0\r\n\r\n",
    "space before the colon": head("Transfer-Encoding : chunked") + b"0\r\n\r\n",
    "folded header": head("X-A: b", " Transfer-Encoding: chunked", "Content-Length: 0"),
    "folded header, with a tab": head("X-A: b", "\tfolded", "Content-Length: 0"),
    "header without a name": head(": nothing", "Content-Length: 0"),
    "header without a colon": head("Nothing", "Content-Length: 0"),
    "NUL in a header": head("X-A: a\0b", "Content-Length: 0"),
    "CR in a header": head("X-A: a\rContent-Length: 5", "Content-Length: 0"),
    "lines that end in LF": GOOD.replace(b"\r\n", b"\n"),
    "chunk size that is no number": head("Transfer-Encoding: chunked") + b"zz\r\nabc\r\n0\r\n\r\n",
    "negative chunk size": head("Transfer-Encoding: chunked") + b"-3\r\nabc\r\n0\r\n\r\n",
    "huge chunk size": head("Transfer-Encoding: chunked") + b"ffffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "chunk longer than it says": head("Transfer-Encoding: chunked") + b"2\r\nabc\r\n0\r\n\r\n",
    "unknown method": b"PREDICT " + GOOD[5:],
    "unknown protocol": GOOD.replace(b"HTTP/1.1", b"HTTQ/1.1"),
    "HTTP/3.7": GOOD.replace(b"HTTP/1.1", b"HTTP/3.7"),
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100,
    "noise": bytes(range(256)),
    "no host": GOOD.replace(b"Host: test\r\n", b""),
    "two hosts": GOOD.replace(b"Host: test\r\n", b"Host: a\r\nhost: b\r\n"),
    "the same host twice": GOOD.replace(b"Host: test\r\n", b"Host: test\r\nX-A: b\r\nHOST: test\r\n"),
    "two hosts for another route": b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "no host for another route": b"GET /v2/health/live HTTP/1.1\r\n\r\n",
    "two hosts in HTTP/1.0": b"GET /v2/health/live HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
    "a host with a path": GOOD.replace(b"Host: test", b"Host: test/v2"),
    "a host with a user": GOOD.replace(b"Host: test", b"Host: me@test"),
    "two hosts in one": GOOD.replace(b"Host: test", b"Host: test other"),
    "a port that is none": GOOD.replace(b"Host: test", b"Host: test:80a"),
    "space in the URL": b"POST /v2/mod els/affine/infer HTTP/1.1\r\n\r\n",
    "NUL in the URL": b"POST /v2/models/affine\0/infer HTTP/1.1\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize(
    "host", [b"test", b"", b"a.b:8000", b"127.0.0.1:", b"[::1]:8000", b"[fe80::1%25eth0]", b"a_b~%20!,;=:1", b"HOST"]
)
def test_hosts_that_are_good(gateway: Server, host: bytes) -> None:
    data = GOOD.replace(b"Host: test", b"Host: " + host)
    with Raw(gateway.host) as client:
        for _ in range(3):  # its head is remembered from the second time on
            assert client.send(data).reply().status == 200
        assert client.send(data.replace(b"Host: ", b"host:")).reply().status == 200
        assert client.send(GOOD.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Host: test\r\n", b"")).reply().status == 200


def test_a_request_with_two_hosts_is_not_remembered_as_a_good_one(gateway: Server) -> None:
    two = GOOD.replace(b"Host: test\r\n", b"Host: test\r\nHost: other\r\n")
    for _ in range(3):
        with Raw(gateway.host) as client:
            assert client.send(GOOD).reply().status == 200
            assert client.send(two).reply().status == 400
            assert client.ends()


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_http_is_told_so_and_hung_up_on(gateway: Server, data: bytes) -> None:
    with Raw(gateway.host) as client:
        reply = client.send(data).reply()
        assert reply.status == 400
        assert reply.error.startswith("malformed HTTP request: ")
        assert reply.closes
        assert client.ends()


def test_an_error_ends_its_connection_only_after_the_replies_before_it(gateway: Server) -> None:
    with Raw(gateway.host) as client:
        client.send(GOOD + GOOD + b"GARBAGE\r\n\r\n" + GOOD)
        assert [client.reply().status for _ in range(3)] == [200, 200, 400]
        assert client.ends()


def test_an_error_on_one_connection_does_not_concern_another(gateway: Server) -> None:
    with Raw(gateway.host) as good, Raw(gateway.host) as bad:
        good.send(GOOD[:40])
        assert bad.send(b"GARBAGE\r\n\r\n").reply().status == 400
        assert good.send(GOOD[40:]).reply().status == 200
        assert good.send(GOOD).reply().status == 200


def test_a_wrong_request_does_not_cost_the_connection(gateway: Server) -> None:
    with Raw(gateway.host) as client:
        for wrong in (
            infer("nothing", ROW),
            infer("affine"),
            request("/nowhere", b"{}"),
            request(PATH, b"\xff"),
            request(PATH),
        ):
            reply = client.send(wrong).reply()
            assert reply.status in (400, 404)
            assert reply.error
            assert not reply.closes
            assert client.send(GOOD).reply().status == 200


def test_a_body_may_come_one_byte_at_a_time(gateway: Server) -> None:
    with Raw(gateway.host) as client:
        assert client.slowly(GOOD).reply().status == 200
        # its head is known by now
        assert client.slowly(GOOD).reply().status == 200
        assert client.slowly(GOOD).reply().status == 200
        one_byte_chunks = chunked(PATH, *(BODY[i : i + 1] for i in range(len(BODY))))
        assert client.send(one_byte_chunks).reply().status == 200
        assert client.slowly(one_byte_chunks, 7).reply().status == 200
        assert client.send(GOOD).reply().status == 200


def test_extensions_and_trailers_of_chunks_are_ignored(gateway: Server) -> None:
    data = chunked(PATH, BODY, trailer=b"X-Checksum: 5\r\nInference-Header-Content-Length: 1\r\n")
    with Raw(gateway.host) as client:
        client.send(data.replace(b"\r\n\r\n%x\r\n" % len(BODY), b'\r\n\r\n%x;a=b;c="d"\r\n' % len(BODY)))
        assert client.reply().status == 200
        assert client.send(GOOD).reply().status == 200


def test_without_a_length_there_is_no_body(gateway: Server) -> None:
    with Raw(gateway.host) as client:
        reply = client.send(request(PATH, length="")).reply()
        assert (reply.status, reply.closes) == (400, False)
        assert client.send(GOOD).reply().status == 200
        # the body is then taken for the next request
        client.send(request(PATH, BODY, length=""))
        assert [client.reply().status for _ in range(2)] == [400, 400]
        assert client.ends()


def test_a_length_that_is_too_short_leaves_a_rest_that_is_no_request(gateway: Server) -> None:
    with Raw(gateway.host) as client:
        client.send(request(PATH, BODY, length=len(BODY) - 3))
        first, second = client.reply(), client.reply()
        assert "failed to parse the request JSON" in first.error
        assert second.error.startswith("malformed HTTP request")


def test_smuggled_requests_are_not_answered(gateway: Server) -> None:
    inner = request("/v2/models/laps/infer", b"{}")
    for lengths in (
        ("Content-Length: 4", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked", "Content-Length: 4"),
    ):
        with Raw(gateway.host) as client:
            client.send(head(*lengths) + b"0\r\n\r\n" + inner)
            assert client.reply().status == 400
            assert client.ends()


def test_expect_100_continue(gateway: Server) -> None:
    with Raw(gateway.host) as client:
        client.send(request(PATH, b"", "Expect: 100-continue", length=len(BODY)))
        assert client.reply().status == 100
        assert client.send(BODY).reply().status == 200
        # without waiting for it
        client.send(request(PATH, BODY, "Expect: 100-continue"))
        assert [client.reply().status for _ in range(2)] == [100, 200]


def test_expect_is_answered_by_the_refusal_of_what_is_too_long(gateway: Server) -> None:
    with Raw(gateway.host) as client:
        client.send(request(PATH, b"", "Expect: 100-continue", length=1 << 40))
        assert client.reply().status == 413
        assert client.ends()


def test_http_1_0(gateway: Server) -> None:
    old = GOOD.replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    for data in (
        old,
        old.replace(b"Host:", b"Connection: keep-alive\r\nHost:"),
        old.replace(b"Host:", b"Expect: 100-continue\r\nHost:"),
        request("/v2", method="GET").replace(b"HTTP/1.1", b"HTTP/1.0"),
        request("/metadata", method="GET").replace(b"HTTP/1.1", b"HTTP/1.0"),
    ):
        for _ in range(3):
            with Raw(gateway.host) as client:
                reply = client.send(data).reply()
                assert reply.status == (404 if b"/metadata" in data else 200)
                assert reply.closes
                assert client.ends()


def test_head(gateway: Server) -> None:
    with Raw(gateway.host) as client:
        body = client.send(request("/v2", method="GET", length="")).reply().body
        reply = client.send(request("/v2", method="HEAD", length="")).reply(bodiless=True)
        assert (reply.status, reply.headers["content-length"]) == (200, str(len(body)))
        assert client.send(request("/v2/nowhere", method="HEAD", length="")).reply(bodiless=True).status == 404
        assert client.send(request(PATH, method="HEAD", length="")).reply(bodiless=True).status == 405
        assert client.send(GOOD).reply().status == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods(gateway: Server, method: str) -> None:
    with Raw(gateway.host) as client:
        reply = client.send(request(PATH, method=method)).reply()
        assert reply.status == 405
        assert reply.error
        assert client.send(GOOD).reply().status == 200


def test_connect(gateway: Server) -> None:
    with Raw(gateway.host) as client:
        client.send(GOOD + b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n" + GOOD)
        assert client.reply().status == 200
        reply = client.reply()
        assert (reply.status, reply.closes) == (405, True)
        assert "CONNECT" in reply.error
        assert client.ends()


@pytest.mark.parametrize("protocol", ["h2c", "websocket", "TLS/1.2"])
def test_an_upgrade_is_not_made(gateway: Server, protocol: str) -> None:
    headers = (
        f"Upgrade: {protocol}",
        "Connection: Upgrade, HTTP2-Settings",
        "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
    )
    questions = (
        (request(PATH, BODY, *headers), 200),
        (chunked(PATH, BODY[:9], BODY[9:], headers=headers), 200),
        (request("/v2", b"", *headers, method="GET", length=""), 200),
        (request("/v2/nowhere", b"", *headers, method="GET", length=""), 404),
    )
    with Raw(gateway.host) as client:
        for data, status in questions * 3:
            reply = client.send(data).reply()
            assert (reply.status, reply.closes) == (status, False)
            assert client.slowly(data).reply().status == status
        for _ in range(2000):
            client.send(questions[2][0])
        assert {client.reply().status for _ in range(2000)} == {200}
        client.send(b"".join(data for data, _ in questions) + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert [client.reply().status for _ in range(5)] == [200, 200, 200, 404, 400]
        assert client.ends()


def test_an_upgrade_lifts_no_limit(gateway: Server) -> None:
    headers = ("Upgrade: h2c", "Connection: Upgrade")
    for data, status in (
        (request(PATH, b"", *headers, length=1 << 40), 413),
        (request(PATH, b"", *headers, *(f"X-{i}: a" for i in range(200))), 431),
        (request(PATH, b"", *headers, "Transfer-Encoding: chunked"), 400),
    ):
        with Raw(gateway.host) as client:
            assert client.send(data).reply().status == status
            assert client.ends()


def test_absolute_urls(gateway: Server) -> None:
    with Raw(gateway.host) as client:
        for prefix in ("http://test", "http://user@test:8000", "HTTPS://test"):
            assert client.send(infer("affine", ROW, path=prefix + PATH)).reply().status == 200
            assert client.send(request(f"{prefix}/v2", method="GET")).reply().status == 200
        assert client.send(request("http://test", method="GET")).reply().status == 404
        assert client.send(request("ftp://test/v2", method="GET")).reply().status == 404
        assert client.send(b"OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n").reply().status in (404, 405)


def test_connection_close(gateway: Server) -> None:
    for data in (
        infer("affine", ROW, headers=["Connection: close"]),
        infer("nothing", ROW, headers=["Connection: close"]),
        request("/v2", b"", "Connection: close", method="GET"),
    ):
        with Raw(gateway.host) as client:
            reply = client.send(data + GOOD).reply()
            assert reply.closes
            assert client.ends()


def test_an_empty_line_before_a_request_is_skipped(gateway: Server) -> None:
    with Raw(gateway.host) as client:
        for _ in range(3):
            assert client.send(b"\r\n\r\n" + GOOD).reply().status == 200


PATHS = {
    "/v2/models/../affine/infer": 404,
    "/v2/models/..%2faffine/infer": 404,
    "/v2/models/%2e%2e/infer": 404,
    "/v2/models/%2e%2e%2f%2e%2e%2fetc%2fpasswd/infer": 404,
    "/v2/models/affine%00/infer": 404,
    "/v2/models/affine%2f1/infer": 404,
    "/v2/models/%ff%fe/infer": 404,
    "/v2/models/%F0%9F%92%A9/infer": 404,
    "/v2/models/%zz/infer": 404,
    "/v2/models//infer": 404,
    "/v2/models/affine/versions/../infer": 404,
    "/v2/models/affine/versions/%2e%2e/infer": 404,
    "/v2/models/affine/versions/..%2f1/infer": 404,
    "/v2/models/affine/versions/1%00/infer": 404,
    "/v2/models/affine/versions/01/infer": 404,
    "/v2/models/affine/versions/+1/infer": 404,
    "/v2/models/affine/versions/-1/infer": 404,
    "/v2/models/affine/versions/99999999999999999999999999/infer": 404,
    "/v2/models/affine/versions//infer": 404,
    "/v2/models/affine/versions/stable/infer": 404,
    "/v2/models/affine/versions/1/infer": 200,
    "/v2/models/%61ffine/versions/%31/infer": 200,
    "/v2/models/affine/infer?a=b": 200,
    f"/v2/models/{'a' * 7000}/infer": 404,
}


@pytest.mark.parametrize(("path", "status"), PATHS.items(), ids=[path[:60] for path in PATHS])
def test_names_and_versions_lead_nowhere_else(gateway: Server, path: str, status: int) -> None:
    with Raw(gateway.host) as client:
        reply = client.send(infer("", ROW, path=path)).reply()
        assert reply.status == status
        if status != 200:
            assert len(reply.error) < 2100
            assert "/tmp" not in reply.error


@pytest.mark.parametrize(
    "path",
    ["/v2/models/%2e%2e/config", "/v2/models/..%2f..%2fetc", "/v2/models/affine/versions/%2e%2e/ready",
     "/v2/models/affine/versions/1%2f..%2f1", "/v2/models/%00"],
)  # fmt: skip
def test_nor_do_those_of_metadata(gateway: Server, path: str) -> None:
    with Raw(gateway.host) as client:
        reply = client.send(request(path, method="GET")).reply()
        assert reply.status in (400, 404)
        assert reply.error
