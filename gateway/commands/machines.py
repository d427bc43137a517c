"""`sluice machines`."""

from __future__ import annotations

import click

from gateway.commands.connection import Admin, admin_options
from gateway.commands.output import json_option, print_json, print_table


@click.command()
@admin_options
@json_option
def command(admin: Admin, as_json: bool) -> None:
    """Show the gateways that share a store, and what each has in force."""
    document = admin.call("GET", "/machines")
    if as_json:
        print_json(document)
        return
    rows = [
        (
            m["name"],
            m["program"],
            m["revision"],
            f"{m['silence']:.1f} s ago" + ("" if m["live"] else ", counts as gone"),
            "; ".join(m["troubles"].values()),
        )
        for m in document["machines"]
    ]
    print_table(
        ("machine", "sluice", "in force", "heard of", "trouble"), rows, "this gateway shares its store with none"
    )
