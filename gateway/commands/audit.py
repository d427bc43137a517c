"""`sluice audit`."""

from __future__ import annotations

import json
from typing import Any

import click

from gateway.commands.connection import Admin, admin_options
from gateway.commands.output import json_option, print_json, print_table


@click.command()
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many entries.")
@click.option("--before", type=click.IntRange(1), help="Entries older than the one of this id.")
@admin_options
@json_option
def command(limit: int, before: int | None, admin: Admin, as_json: bool) -> None:
    """Show who changed what, and when; the newest first."""
    document = admin.call("GET", f"/audit?limit={limit}" + (f"&before={before}" if before else ""))
    if as_json:
        print_json(document)
        return
    rows = [
        (e["id"], e["at"], e["actor"], _origin(e), e["action"], e["target"], e["after"], json.dumps(e["detail"]))
        for e in document["entries"]
    ]
    print_table(("id", "at", "who", "from", "action", "model", "revision", "detail"), rows, "nothing was changed yet")


def _origin(entry: dict[str, Any]) -> str:
    origin, machine = entry["origin"], entry.get("machine")
    return f"{origin} at {machine}" if machine else origin
