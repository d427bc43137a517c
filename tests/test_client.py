import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from gateway.client import Client, Refused
from gateway.core.errors import InvalidArgument, Unavailable


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was sent; /status/N with that status."""

    def do_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status = int(self.path.rpartition("/")[2]) if "/status/" in self.path else 200
        answer = {
            200: json.dumps(
                {
                    "method": self.command,
                    "path": self.path,
                    "headers": {k.lower(): v for k, v in self.headers.items()},
                    "body": body.decode(),
                }
            ).encode(),
            409: b'{"error": "at revision 3, not 2"}',
            500: b"<html>oops",
            204: b"",
        }[status]
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_PUT = do_POST = do_any  # noqa: N815

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_json_goes_and_comes_with_the_token(url: str) -> None:
    found = Client(url + "/prefix/", "secret").call("PUT", "/x", {"a": "ü"}, {"If-Match": '"3"'})
    assert (found["method"], found["path"], json.loads(found["body"])) == ("PUT", "/prefix/x", {"a": "ü"})
    assert found["headers"]["authorization"] == "Bearer secret"
    assert found["headers"]["if-match"] == '"3"'
    assert found["headers"]["content-type"] == "application/json"


def test_without_a_token_none_is_sent(url: str) -> None:
    assert "authorization" not in Client(url).call("GET", "/x")["headers"]


def test_an_error_carries_the_servers_words(url: str) -> None:
    with pytest.raises(Refused, match="at revision 3, not 2") as raised:
        Client(url).call("GET", "/status/409")
    assert raised.value.status == 409
    with pytest.raises(Refused, match="status 500 <html>oops"):
        Client(url).call("GET", "/status/500")
    with pytest.raises(Unavailable, match="the server's answer is no JSON"):
        Client(url).call("GET", "/status/204")


def test_no_server_no_http_and_no_answer_are_told_apart() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(Unavailable, match="nothing listens there"):
            Client(url).call("GET", "/")
        free.listen()
        with pytest.raises(Unavailable, match="it took too long"):
            Client(url, timeout=0.05).call("GET", "/")


@pytest.mark.parametrize("url", ["", "127.0.0.1:8002", "ftp://x", "http://", "http://x:port"])
def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(InvalidArgument, match="'"):
        Client(url)


def test_a_token_that_no_header_can_hold(url: str) -> None:
    with pytest.raises(Unavailable, match="no answer"):
        Client(url, "密").call("GET", "/")


def test_a_ca_file_that_is_none() -> None:
    with pytest.raises(InvalidArgument, match=r"CA file 'none.pem' cannot be read: No such file"):
        Client("https://127.0.0.1:1", ca_file="none.pem").call("GET", "/")
