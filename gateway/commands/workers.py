"""`sluice workers`."""

from __future__ import annotations

from typing import Any

import click

from gateway.commands.connection import Admin, admin_options
from gateway.commands.output import json_option, print_json, print_table

_COLUMNS = (
    "slot", "role", "pid", "state", "uptime", "revision", "requests", "memory", "restarts", "streams", "reason",
)  # fmt: skip


@click.group()
def command() -> None:
    """List the worker processes, and replace them without losing a request."""


@command.command("list")
@admin_options
@json_option
def list_(admin: Admin, as_json: bool) -> None:
    """Every process: those that serve with their revision and requests, those that run streams with what they run."""
    _print(admin.call("GET", "/workers"), as_json)


@command.command()
@click.option("--slot", type=click.IntRange(min=0), metavar="N", help="This one alone; else all, one after the other.")
@admin_options
@json_option
def recycle(slot: int | None, admin: Admin, as_json: bool) -> None:
    """Start a new process that serves, let it take over, and let the old one finish what it has begun."""
    path = "/workers/recycle" if slot is None else f"/workers/{slot}/recycle"
    _print(admin.call("POST", path), as_json)


def _print(document: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(document)
        return
    rows = [tuple(_cell(column, worker.get(column)) for column in _COLUMNS) for worker in document["workers"]]
    print_table(_COLUMNS, rows, "no workers: one process serves, and runs no streams")


def _cell(column: str, value: Any) -> Any:
    if value is None:
        return None
    if column == "memory":
        return f"{value / 1e6:.0f} MB"
    if column == "streams":
        return ", ".join(value)
    return f"{value:.0f} s" if column == "uptime" else value
