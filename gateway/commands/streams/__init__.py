"""`sluice streams`."""

from __future__ import annotations

import importlib
from typing import Final

import click

#: command → its module here, and its help in one line, so that `--help` imports none of them
COMMANDS: Final = {
    "validate": ("checks", "Check streams against their models, their adapters and what they demand."),
    "dry-run": ("checks", "Read some records, score them, and print what would be written; change nothing."),
    "test": ("checks", "Run the tests that lie beside streams: records in, results out."),
    "run": ("running", "Run streams, in a process of their own."),
    "list": ("operating", "What runs, how far behind it is, and what holds for its records."),
    "show": ("operating", "Everything about one stream."),
    "reload": ("operating", "Take up what has changed in the streams' files."),
    "pause": ("operating", "Read no more, until the stream is resumed; this survives a restart."),
    "resume": ("operating", "Go on."),
    "redrive": ("operating", "Put dead letters back to where their records were read."),
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"gateway.commands.streams.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_").replace("list", "list_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=_Commands)
def command() -> None:
    """Score records of databases, queues, topics and files."""
