"""`sluice split`."""

from __future__ import annotations

from typing import Any

import click

from gateway.commands.connection import Admin, admin_options, of_model, wait_option
from gateway.commands.output import json_option, print_json, print_table

revision_option = click.option("--revision", type=int, help="Only if the control state is at this revision.")


@click.group()
def command() -> None:
    """Show, set and clear traffic splits between versions."""


@command.command()
@click.argument("model", required=False)
@admin_options
@json_option
def show(model: str | None, admin: Admin, as_json: bool) -> None:
    """The split of one model, or of all that have one."""
    document = admin.call("GET", of_model("splits", model) if model else "/splits")
    print_json(document) if as_json else _print([document] if model else document["splits"])


@command.command("set")
@click.argument("model")
@click.argument("weights", nargs=-1, required=True, metavar="VERSION=WEIGHT...")
@click.option("--salt", help="What keys are hashed with; else that of the split before, or the model's name.")
@revision_option
@wait_option
@admin_options
@json_option
def set_(
    model: str,
    weights: tuple[str, ...],
    salt: str | None,
    revision: int | None,
    wait: int | None,
    admin: Admin,
    as_json: bool,
) -> None:
    """Share a model's traffic between versions or labels: sluice split set fraud 1=90 canary=10."""
    body: dict[str, Any] = {"weights": _weights(weights)}
    if salt is not None:
        body["salt"] = salt
    document = admin.call("PUT", of_model("splits", model), body, revision, wait=wait)
    print_json(document) if as_json else _print([document])


@command.command()
@click.argument("model")
@revision_option
@wait_option
@admin_options
@json_option
def clear(model: str, revision: int | None, wait: int | None, admin: Admin, as_json: bool) -> None:
    """Forget what was set: the split of the settings counts again, if there is one."""
    document = admin.call("DELETE", of_model("splits", model), None, revision, wait=wait)
    if as_json:
        print_json(document)
    elif document["split"]:
        click.echo("the split of the settings counts again:")
        _print([document["split"]])
    else:
        click.echo(f"{model} has no split (revision {document['revision']})")


def _weights(given: tuple[str, ...]) -> dict[str, float]:
    weights: dict[str, float] = {}
    for part in given:
        name, equals, text = part.partition("=")
        try:
            weight = float(text)
        except ValueError:
            weight = -1.0
        if not (name and equals) or not 0 <= weight < float("inf"):
            raise click.UsageError(f"expected VERSION=WEIGHT, as in 1=90, found '{part}'")
        if name in weights:
            raise click.UsageError(f"'{name}' is there twice")
        weights[name] = weight
    return weights


def _print(splits: list[dict[str, Any]]) -> None:
    rows = []
    for split in splits:
        total = sum(split["weights"].values())
        for name, weight in split["weights"].items():
            rows.append((split["model"], name, weight, f"{100 * weight / total:.4g}%", split["source"]))
    print_table(("model", "version", "weight", "share", "set by"), rows, "no splits")
