"""`sluice`: arguments to commands. An error is one line with a hint; exit codes are 0, 1, 2 and 130."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Final

import click

from gateway import __version__
from gateway.core.errors import SluiceError

#: command → its module in gateway.commands, and its help in one line, so that `--help` imports none of them
COMMANDS: Final = {
    "serve": "Serve a folder of models.",
    "demo": "Train two versions of a model, serve them, and shift traffic from one to the other.",
    "models": "List, show, load and unload models.",
    "split": "Show, set and clear traffic splits between versions.",
    "labels": "Show, set and remove names of versions, such as stable and canary.",
    "infer": "Send rows from a file to a model.",
    "workers": "List the worker processes, and replace them without losing a request.",
    "streams": "Score records of databases, queues, topics and files.",
    "keys": "Create, list and revoke API keys.",
    "audit": "Show who changed what, and when.",
    "machines": "Show the gateways that share a store, and what each has in force.",
}

GOOD, FAILED, WRONG_USE, INTERRUPTED = 0, 1, 2, 130


class Commands(click.Group):
    """Loads a command's module when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"gateway.commands.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            close = get_close_matches(args[0], COMMANDS, 1)
            hint = f", did you mean '{close[0]}'?" if close else ""
            raise click.UsageError(f"no command '{args[0]}'{hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="sluice", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error; allowed anywhere. [SLUICE_DEBUG]")
def sluice(debug: bool) -> None:
    """Serve versioned ONNX models, and shift traffic between their versions."""


def main() -> None:
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Returns the exit code."""
    given = list(arguments)
    debug = "--debug" in given or os.environ.get("SLUICE_DEBUG", "") not in ("", "0", "false")
    given = [argument for argument in given if argument != "--debug"]
    try:
        code = sluice.main(args=given, prog_name="sluice", standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing more may be written, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:  # noqa: BLE001 - whatever it was, it is told in one line
        if debug:
            traceback.print_exc()
        return _tell(error)
    return code if isinstance(code, int) else GOOD


def _tell(error: Exception) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.ctx.get_help() if error.ctx else error.message)
        return WRONG_USE
    code, message = FAILED, f"internal error: {type(error).__name__}: {error}; --debug shows where"
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "sluice"
        code, message = WRONG_USE, f"{error.format_message().rstrip('.')}; see `{path} --help`"
    elif isinstance(error, click.ClickException):
        code, message = error.exit_code, error.format_message()
    elif isinstance(error, SluiceError):
        from gateway.settings import SettingsError

        code, message = WRONG_USE if isinstance(error, SettingsError) else FAILED, error.message
    elif isinstance(error, OSError):
        message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    click.echo(f"sluice: {' '.join(message.split())}", err=True)
    return code


if __name__ == "__main__":
    main()
