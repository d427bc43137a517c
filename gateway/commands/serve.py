"""`sluice serve`."""

from __future__ import annotations

import os
from typing import Any

import click

from gateway.settings import SettingsError, check_files, load


@click.command()
@click.option("--config", metavar="FILE", help="Settings file; else sluice.yaml, if there is one. [SLUICE_CONFIG]")
@click.option("--models", metavar="DIR", help="The models folder.")
@click.option("--control-mode", metavar="none|poll|explicit", help="Which models are served.")
@click.option("--load", metavar="NAMES", help="In mode explicit: models to load at start, by commas; * for all.")
@click.option("--workers", metavar="N", help="Serving processes.")
@click.option("--host", metavar="ADDRESS", help="Where the REST and the gRPC port listen.")
@click.option("--http-port", metavar="PORT", help="REST.")
@click.option("--grpc-port", metavar="PORT", help="gRPC; off for none.")
@click.option("--admin-host", metavar="ADDRESS", help="Where the admin port listens.")
@click.option("--admin-port", metavar="PORT", help="Metrics, probes, /admin/v1.")
@click.option("--state", metavar="DIR", help="Folder of the control state.")
@click.option("--access-log", is_flag=True, default=None, help="One line in the log for each request.")
@click.option("--log-format", metavar="console|json", help="For people, or for machines.")
@click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")
@click.option("--set", "others", metavar="KEY=VALUE", multiple=True, help="Any setting, as in docs/settings.md.")
def command(config: str | None, others: tuple[str, ...], **given: Any) -> int:
    """Serve a folder of models over REST and gRPC.

    Settings come from the command line, then SLUICE_… variables, then the settings file, then the defaults.
    """
    overrides = {key.replace("log_", "log.", 1) if key.startswith("log_") else key: given[key] for key in given}
    for other in others:
        key, equals, value = other.partition("=")
        if not equals:
            raise SettingsError(f"--set: expected KEY=VALUE, found '{other}'")
        overrides[key.strip()] = value
    settings = load(config or os.environ.get("SLUICE_CONFIG"), os.environ, overrides)
    check_files(settings)

    from gateway.app import run

    return run(settings) or 0
