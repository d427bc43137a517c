"""`sluice streams run`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gateway.commands.streams.chosen import stream_options, validated
from gateway.settings import Settings

if TYPE_CHECKING:
    from gateway.pipeline.declared.spec import Stream


@click.command()
@stream_options
def run(settings: Settings, references: list[str], streams: list[Stream]) -> int:
    """Run streams, in a process of their own, until SIGTERM; those named, else those of the settings.

    Several such processes share the work: where the system itself gives each record to one of them, all read; else one
    reads and the others stand by. Metrics, probes and what `sluice streams list` asks are on `streams_port`.
    """
    validated(settings, streams)

    from gateway.app.streams import run as serve

    return serve(settings, references, streams)
