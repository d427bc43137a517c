"""Which gateway a command talks to, and with which token."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar
from urllib.parse import quote, urlsplit

import click

from gateway.client import Client, Refused
from gateway.core.errors import InvalidArgument
from gateway.settings import Settings, SettingsError, find_token, load

P = ParamSpec("P")
R = TypeVar("R")

#: seconds; loading a large model with its warm-up takes its time
PATIENCE = 600.0


class Admin:
    """The admin port. Its errors get a hint on what to do."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def call(
        self, method: str, path: str, document: Any = None, revision: int | None = None, wait: int | None = None
    ) -> Any:
        """`wait`: seconds until every gateway has the change in force, or it is refused."""
        headers = {} if revision is None else {"If-Match": f'"{revision}"'}
        path += f"?wait={wait}" if wait else ""
        try:
            return self._client.call(method, "/admin/v1" + path, document, headers)
        except Refused as error:
            if error.status == 401:
                raise Refused(
                    401,
                    f"{self._client.url} wants another admin token: give --token or SLUICE_ADMIN_TOKEN, or run"
                    " where the gateway's state folder is (--config, SLUICE_STATE)",
                ) from error
            raise


def wait_option(command: Callable[..., R]) -> Callable[..., R]:
    """Gives a command its `wait: int | None`, in seconds."""

    @click.option("--wait", is_flag=True, help="Return when every machine has it in force, else fail and name those.")
    @click.option(
        "--timeout", type=click.IntRange(1, 600), default=30, show_default=True, metavar="SECONDS", help="With --wait."
    )
    @functools.wraps(command)
    def wrapped(*args: Any, wait: bool, timeout: int, **kw: Any) -> R:
        return command(*args, wait=timeout if wait else None, **kw)

    return wrapped


def of_model(kind: str, model: str, rest: str = "") -> str:
    """A path; a model's name may hold anything but slashes."""
    return f"/{kind}/{quote(model, safe='')}{rest}"


def admin_options(command: Callable[..., R]) -> Callable[..., R]:
    """Gives a command its `admin: Admin`, from options, environment and the settings."""

    @click.option("--admin-url", metavar="URL", help="Where the admin port is. [SLUICE_ADMIN_URL]")
    @click.option("--token", metavar="TEXT", help="The admin token. [SLUICE_ADMIN_TOKEN]")
    @click.option("--ca-file", metavar="FILE", help="Who signed the server's certificate. [SLUICE_CA_FILE]")
    @click.option("--config", metavar="FILE", help="The gateway's settings file. [SLUICE_CONFIG]")
    @functools.wraps(command)
    def wrapped(
        *args: Any, admin_url: str | None, token: str | None, ca_file: str | None, config: str | None, **kw: Any
    ) -> R:
        return command(*args, admin=connect(admin_url, token, ca_file, config), **kw)

    return wrapped


def connect(
    admin_url: str | None = None,
    token: str | None = None,
    ca_file: str | None = None,
    config: str | None = None,
    port: int | None = None,
) -> Admin:
    """`port` is of this machine, where no URL is given: another one than `admin_port`."""
    settings = load(config or os.environ.get("SLUICE_CONFIG"), os.environ)
    named = admin_url or os.environ.get("SLUICE_ADMIN_URL")
    url = named or _url_of(settings, settings.admin_port if port is None else port)
    if token is None:
        # A token that lies about here is for the gateway that runs here: no other one gets to see it.
        here = not named or urlsplit(named).hostname in ("127.0.0.1", "::1", "localhost")
        token = find_token(settings) if here else settings.admin_token
    ca_file = ca_file or os.environ.get("SLUICE_CA_FILE", "")
    return Admin(client("--admin-url", url, token, ca_file, PATIENCE))


def client(option: str, url: str, token: str, ca_file: str, timeout: float) -> Client:
    """Raises SettingsError, wrong use, where the URL of that option is none."""
    try:
        return Client(url, token, ca_file, timeout)
    except InvalidArgument as error:
        raise SettingsError(f"{option}: {error.message}") from error


def _url_of(settings: Settings, port: int) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.admin_host, settings.admin_host)  # noqa: S104
    host = f"[{host}]" if ":" in host else host
    return f"{'https' if settings.tls.admin else 'http'}://{host}:{port}"
