import asyncio
import inspect

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.core import errors
from gateway.protocols.errors import STATUS, headers_of, on_error, status_of

TREE = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, errors.SluiceError)]


@pytest.mark.parametrize("kind", TREE)
def test_every_error_of_the_tree_has_a_status(kind: type[errors.SluiceError]) -> None:
    assert status_of(kind("no")) == STATUS[kind.code]


def test_retry_after_is_whole_seconds_and_never_zero() -> None:
    assert headers_of(errors.Unavailable("full", retry_after=0.02)) == {"Retry-After": "1"}
    assert headers_of(errors.Unavailable("full", retry_after=2.1)) == {"Retry-After": "3"}
    assert headers_of(errors.Unavailable("full")) == {}


async def _fail(request: Request) -> Response:
    raise {
        "full": errors.Unavailable("Exceeds maximum queue size", retry_after=1.5),
        "bug": ZeroDivisionError("secret"),
        "who": errors.Unauthenticated("token missing"),
    }[request.path_params["kind"]]


def ask(method: str, path: str) -> httpx.Response:
    app = Starlette(
        routes=[Route("/{kind}", _fail)],
        exception_handlers={errors.SluiceError: on_error, 404: on_error, 405: on_error, Exception: on_error},
    )

    async def go() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path)

    return asyncio.run(go())


def test_an_error_becomes_json_with_its_headers() -> None:
    reply = ask("GET", "/full")
    assert (reply.status_code, reply.json()) == (503, {"error": "Exceeds maximum queue size"})
    assert reply.headers["retry-after"] == "2"
    assert reply.headers["content-type"] == "application/json"
    assert ask("GET", "/who").headers["www-authenticate"].startswith("Bearer")


def test_what_is_not_of_the_tree_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    reply = ask("GET", "/bug")
    assert (reply.status_code, reply.json()) == (500, {"error": "internal error"})
    assert "secret" in caplog.text


def test_wrong_verb_and_unknown_route_are_json_too() -> None:
    reply = ask("POST", "/full")
    assert reply.status_code == 405
    assert "GET" in reply.headers["allow"]
    assert reply.json() == {"error": "Method Not Allowed"}
    assert ask("GET", "/a/b").json() == {"error": "Not Found"}
