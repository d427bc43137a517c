"""`sluice models`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from gateway.commands.connection import Admin, admin_options, of_model, wait_option
from gateway.commands.output import json_option, print_json, print_table

_COLUMNS = ("model", "version", "state", "labels", "split", "succeeded", "failed", "reason")


@click.group()
def command() -> None:
    """List, show, load and unload models."""


@command.command("list")
@admin_options
@json_option
def list_(admin: Admin, as_json: bool) -> None:
    """All models and their versions."""
    document = admin.call("GET", "/models")
    if as_json:
        print_json(document)
        return
    rows = [row for model in document["models"] for row in _rows(model)]
    print_table(_COLUMNS, rows, "no models: the models folder is empty, or none was loaded")


@command.command()
@click.argument("model")
@admin_options
@json_option
def show(model: str, admin: Admin, as_json: bool) -> None:
    """One model: versions, inputs and outputs."""
    document = admin.call("GET", of_model("models", model))
    print_json(document) if as_json else _print_model(document)


@command.command()
@click.argument("model")
@click.option(
    "--model-config", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="ModelConfig as JSON."
)
@wait_option
@admin_options
@json_option
def load(model: str, model_config: Path | None, wait: int | None, admin: Admin, as_json: bool) -> None:
    """Load a model, or load it anew (control mode explicit)."""
    body: dict[str, Any] = {}
    if model_config:
        try:
            body["config"] = json.loads(model_config.read_bytes())
        except ValueError as error:
            raise click.UsageError(f"{model_config}: not JSON: {error}") from error
    document = admin.call("POST", of_model("models", model, "/load"), body, wait=wait)
    print_json(document) if as_json else _print_model(document)


@command.command()
@click.argument("model")
@wait_option
@admin_options
@json_option
def unload(model: str, wait: int | None, admin: Admin, as_json: bool) -> None:
    """Unload a model (control mode explicit)."""
    document = admin.call("POST", of_model("models", model, "/unload"), wait=wait)
    print_json(document) if as_json else click.echo(f"unloaded {model} (revision {document['revision']})")


def _print_model(document: dict[str, Any]) -> None:
    print_table(_COLUMNS, _rows(document), "no versions")
    tensors = [
        (kind, tensor["name"], tensor["datatype"], str(tensor["shape"]))
        for kind in ("input", "output")
        for tensor in document.get(kind + "s", ())
    ]
    if tensors:
        print_table(("", "tensor", "datatype", "shape"), tensors, "")


def _rows(model: dict[str, Any]) -> list[tuple[Any, ...]]:
    weights = model.get("split", {})
    total = sum(weights.values()) or 1
    if not model["versions"]:
        return [(model["name"], None, "not loaded", None, None, None, None, model.get("reason"))]
    rows = []
    for version in model["versions"]:
        names = [version["version"], *version["labels"]]
        share = sum(weights.get(name, 0) for name in names) / total
        rows.append(
            (
                model["name"],
                version["version"],
                version["state"],
                ", ".join(version["labels"]),
                f"{100 * share:.4g}%" if weights else None,
                version.get("succeeded"),
                version.get("failed"),
                version.get("reason"),
            )
        )
    return rows
