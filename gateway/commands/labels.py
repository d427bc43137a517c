"""`sluice labels`."""

from __future__ import annotations

from typing import Any

import click

from gateway.commands.connection import Admin, admin_options, of_model, wait_option
from gateway.commands.output import json_option, print_json, print_table
from gateway.commands.split import revision_option


@click.group()
def command() -> None:
    """Show, set and remove names of versions, such as stable and canary."""


@command.command()
@click.argument("model", required=False)
@admin_options
@json_option
def show(model: str | None, admin: Admin, as_json: bool) -> None:
    """The labels of one model, or of all."""
    document = admin.call("GET", of_model("labels", model) if model else "/labels")
    if as_json:
        print_json(document)
    else:
        _print({model: document["labels"]} if model else document["labels"])


@command.command("set")
@click.argument("model")
@click.argument("labels", nargs=-1, required=True, metavar="LABEL=VERSION...")
@revision_option
@wait_option
@admin_options
@json_option
def set_(
    model: str, labels: tuple[str, ...], revision: int | None, wait: int | None, admin: Admin, as_json: bool
) -> None:
    """Name versions, and leave other labels as they are: sluice labels set fraud stable=1 canary=2."""
    changes: dict[str, str | None] = {}
    for part in labels:
        label, equals, version = part.partition("=")
        if not (label and equals and version):
            raise click.UsageError(f"expected LABEL=VERSION, as in stable=1, found '{part}'")
        changes[label] = version
    _change(model, changes, revision, wait, admin, as_json)


@command.command()
@click.argument("model")
@click.argument("labels", nargs=-1, required=True, metavar="LABEL...")
@revision_option
@wait_option
@admin_options
@json_option
def remove(
    model: str, labels: tuple[str, ...], revision: int | None, wait: int | None, admin: Admin, as_json: bool
) -> None:
    """Take labels away."""
    _change(model, dict.fromkeys(labels), revision, wait, admin, as_json)


@command.command()
@click.argument("model")
@revision_option
@wait_option
@admin_options
@json_option
def clear(model: str, revision: int | None, wait: int | None, admin: Admin, as_json: bool) -> None:
    """Forget what was set: the labels of the settings count again, if there are any."""
    document = admin.call("DELETE", of_model("labels", model), None, revision, wait=wait)
    print_json(document) if as_json else _print({model: document["labels"]})


def _change(
    model: str, changes: dict[str, str | None], revision: int | None, wait: int | None, admin: Admin, as_json: bool
) -> None:
    document = admin.call("PATCH", of_model("labels", model), changes, revision, wait)
    print_json(document) if as_json else _print({model: document["labels"]})


def _print(labels: dict[str, Any]) -> None:
    rows = [(model, label, version) for model, named in labels.items() for label, version in named.items()]
    print_table(("model", "label", "version"), rows, "no labels")
