"""`sluice streams list`, `show`, `pause`, `resume` and `redrive`."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote

import click

from gateway.client import Refused
from gateway.commands.connection import Admin, connect
from gateway.commands.output import json_option, print_json, print_table
from gateway.core.errors import Unavailable
from gateway.settings import load

R = TypeVar("R")

_COLUMNS = (
    "stream", "state", "read", "written", "dead", "in flight", "lag", "lag s", "progress s", "guarantee", "reason",
)  # fmt: skip


def admin_options(command: Callable[..., R]) -> Callable[..., R]:
    """Gives a command its `admin`: of the process of streams, else of a gateway that runs streams itself."""

    @click.option("--admin-url", metavar="URL", help="Where the admin port is; else `streams_port`. [SLUICE_ADMIN_URL]")
    @click.option("--token", metavar="TEXT", help="The admin token. [SLUICE_ADMIN_TOKEN]")
    @click.option("--ca-file", metavar="FILE", help="Who signed the server's certificate. [SLUICE_CA_FILE]")
    @click.option("--config", metavar="FILE", help="The settings file. [SLUICE_CONFIG]")
    @functools.wraps(command)
    def wrapped(
        *args: Any, admin_url: str | None, token: str | None, ca_file: str | None, config: str | None, **kw: Any
    ) -> R:
        named = admin_url or os.environ.get("SLUICE_ADMIN_URL")
        settings = load(config or os.environ.get("SLUICE_CONFIG"), os.environ)
        if named:
            return command(*args, admin=connect(named, token, ca_file, config), **kw)
        own = connect(None, token, ca_file, config, port=settings.streams_port)
        try:
            own.call("GET", "/streams")
        except Unavailable as error:
            try:
                found = connect(None, token, ca_file, config)
                found.call("GET", "/streams")
            except Refused as refused:
                # who answers and knows no streams is not asked for; who denies is
                raise (refused if refused.status in (401, 403) else error) from None
            except Unavailable:
                raise error from None
            own = found
        return command(*args, admin=own, **kw)

    return wrapped


@click.command("list")
@admin_options
@json_option
def list_(admin: Admin, as_json: bool) -> None:
    """What runs, how far behind it is, and what holds for its records."""
    document = admin.call("GET", "/streams")
    if as_json:
        print_json(document)
        return
    print_table(_COLUMNS, [_row(stream) for stream in document["streams"]], "no streams")


@click.command()
@click.argument("name")
@admin_options
@json_option
def show(name: str, admin: Admin, as_json: bool) -> None:
    """Everything about one stream."""
    _print(admin.call("GET", _path(name)), as_json)


@click.command()
@click.argument("name")
@click.option("--reason", default="", metavar="TEXT", help="Shown to whoever asks why it is paused.")
@admin_options
@json_option
def pause(name: str, reason: str, admin: Admin, as_json: bool) -> None:
    """Read no more, until the stream is resumed; this survives a restart. What is in flight is finished."""
    _print(admin.call("POST", _path(name, "/pause"), {"reason": reason}), as_json)


@click.command()
@click.argument("name")
@admin_options
@json_option
def resume(name: str, admin: Admin, as_json: bool) -> None:
    """Go on: after a pause, or when too many dead letters have stopped the stream."""
    _print(admin.call("POST", _path(name, "/resume"), {}), as_json)


@click.command()
@click.argument("name")
@click.option("--limit", type=click.IntRange(1), help="At most so many; else all.")
@admin_options
@json_option
def redrive(name: str, limit: int | None, admin: Admin, as_json: bool) -> int:
    """Put dead letters back to where their records were read. The stream pauses meanwhile."""
    document = admin.call("POST", _path(name, "/redrive"), {"limit": limit})
    if as_json:
        print_json(document)
    else:
        click.echo(f"{document['records']} put back, {document['left']} could not be")
    return 1 if document["left"] else 0


@click.command()
@admin_options
@json_option
def reload(admin: Admin, as_json: bool) -> None:
    """Take up what has changed in the streams' files: a stream that is another one is drained, then replaced.

    Where one of them is wrong nothing changes. SIGHUP does the same.
    """
    try:
        document = admin.call("POST", "/reload-streams")
    except Refused as error:
        if error.status != 400:
            raise
        for line in str(error).split("\n"):
            click.echo(f"sluice: {line}", err=True)
        raise click.exceptions.Exit(2) from error
    if as_json:
        print_json(document)
    else:
        told = [f"{what}: {', '.join(names)}" for what, names in document.items() if names]
        click.echo("; ".join(told) or "nothing has changed")


def _path(name: str, rest: str = "") -> str:
    return f"/streams/{quote(name, safe='')}{rest}"


def _row(stream: dict[str, Any]) -> tuple[Any, ...]:
    records, lag = stream["records"], stream["lag"]
    return (
        stream["name"],
        stream["state"],
        records["read"],
        records["written"],
        records["dead"],
        stream["in_flight"]["records"],
        lag["records"],
        *(None if age is None else round(age, 1) for age in (lag["seconds"], stream["last_progress"])),
        stream["guarantee"].partition(":")[0],
        stream["reason"],
    )


def _print(stream: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(stream)
        return
    model = f"{stream['model']}, version {stream['version']}" if stream["version"] else stream["model"]
    rows = [
        ("model", model),
        *((name, stream[name]) for name in ("name", "file", "state", "reason", "input", "output")),
    ]
    rows += [("dead letters", stream["dead_letters"]), ("guarantee", stream["guarantee"]), ("order", stream["order"])]
    rows += [(f"records {name}", count) for name, count in stream["records"].items()]
    rows += [(f"lag {unit}", value) for unit, value in stream["lag"].items()]
    rows += [(f"in flight {unit}", value) for unit, value in stream["in_flight"].items()]
    rows += [(name.replace("_", " "), stream[name]) for name in ("last_progress", "retries", "reconnects", "epoch")]
    print_table(("", ""), [(name, _text(value)) for name, value in rows], "")


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3g} s" if isinstance(value, float) else str(value)
