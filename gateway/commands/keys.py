"""`sluice keys`."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import quote

import click

from gateway.client import Refused
from gateway.commands.connection import Admin, admin_options, wait_option
from gateway.commands.output import json_option, print_json, print_table
from gateway.core.errors import Unavailable

_SPAN: Final = re.compile(r"(\d{1,6})([smhdw])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@click.group()
def command() -> None:
    """Create, list and revoke API keys."""


@command.command()
@click.argument("name")
@click.option(
    "--allow", multiple=True, metavar="ACTION[:MODELS]",
    help="What it may do: infer, read, load, split or admin, and a pattern of models; may be repeated.",
)  # fmt: skip
@click.option("--expires", metavar="SPAN", help="As in 12h, 90d or 52w; else it never does.")
@wait_option
@admin_options
@json_option
def create(
    name: str, allow: tuple[str, ...], expires: str | None, wait: int | None, admin: Admin, as_json: bool
) -> None:
    """Make a key and print it, this once: sluice keys create scoring --allow 'infer:churn-*' --expires 90d."""
    body = {"name": name, "allow": list(allow), "expires_in": _seconds(expires) if expires else 0}
    try:
        document = admin.call("POST", "/keys", body, wait=wait)
    except Refused as error:
        if not (isinstance(error.document, dict) and "key" in error.document):
            raise
        _show(error.document, as_json)
        raise Unavailable(f"the key is made, but not in force everywhere yet: {error.message}") from error
    _show(document, as_json)


def _show(document: Any, as_json: bool) -> None:
    """A key that was just made."""
    if as_json:
        print_json(document)
        return
    click.echo(document["key"])
    click.echo("This is the only time that the key is shown; the gateway keeps no more than a digest.", err=True)
    if not document["allow"]:
        click.echo(f"It may do what policies allow to 'key:{document['name']}', and nothing else.", err=True)
    if document["first"]:
        click.echo("It is the first key: from now on REST and gRPC answer nobody without credentials.", err=True)


@command.command("list")
@admin_options
@json_option
def list_(admin: Admin, as_json: bool) -> None:
    """All keys, without their secrets."""
    document = admin.call("GET", "/keys")
    if as_json:
        print_json(document)
        return
    columns = ("id", "name", "state", "allow", "created", "expires")
    rows = [[" ".join(key[c]) if c == "allow" else key[c] for c in columns] for key in document["keys"]]
    print_table(columns, rows, "no keys")


@command.command()
@click.argument("key")
@wait_option
@admin_options
@json_option
def revoke(key: str, wait: int | None, admin: Admin, as_json: bool) -> None:
    """Take back a key by its id, or all keys of a name: at once, in every worker."""
    document = admin.call("DELETE", f"/keys/{quote(key, safe='')}", wait=wait)
    print_json(document) if as_json else click.echo(f"revoked, as of revision {document['revision']}", err=True)


def _seconds(span: str) -> int:
    found = _SPAN.fullmatch(span.strip())
    if found is None or not int(found[1]):
        raise click.UsageError(f"--expires: expected a span as in 12h, 90d or 52w, found '{span}'")
    return int(found[1]) * _SECONDS[found[2]]
