"""Which streams a command is about, and with which settings."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gateway.settings import Settings, SettingsError, load

if TYPE_CHECKING:
    from gateway.pipeline.declared.spec import Stream

R = TypeVar("R")


def stream_options(command: Callable[..., R]) -> Callable[..., R | int]:
    """Gives a command its `settings` and `streams`, and `references` to them if it takes those; problems in files are
    told line by line, exit code 2."""
    wants_references = "references" in inspect.signature(command).parameters

    @click.argument("files", nargs=-1, metavar="[FILE]...")
    @click.option("--config", metavar="FILE", help="Settings file; else sluice.yaml, if there is one. [SLUICE_CONFIG]")
    @click.option("--models", metavar="DIR", help="The models folder.")
    @click.option("--state", metavar="DIR", help="Folder of the control state, and of the streams' own.")
    @click.option("--set", "others", metavar="KEY=VALUE", multiple=True, help="Any setting, as in docs/settings.md.")
    @functools.wraps(command)
    def wrapped(
        *args: Any,
        files: tuple[str, ...],
        config: str | None,
        models: str | None,
        state: str | None,
        others: tuple[str, ...],
        **kw: Any,
    ) -> R | int:
        from gateway.pipeline.declared.problem import StreamError
        from gateway.pipeline.declared.reading import read_all

        overrides: dict[str, Any] = {"models": models, "state": state, **kw.pop("overrides", {})}
        for other in others:
            key, equals, value = other.partition("=")
            if not equals:
                raise SettingsError(f"--set: expected KEY=VALUE, found '{other}'")
            overrides[key.strip()] = value
        settings = load(config or os.environ.get("SLUICE_CONFIG"), os.environ, overrides)
        references = [_meant(file, settings) for file in files] or list(settings.streams)
        if wants_references:
            kw["references"] = references
        if not references:
            raise SettingsError("no streams: name their files, or folders of them, or set `streams` in the settings")
        try:
            streams = read_all(references, os.environ)
            return command(*args, settings=settings, streams=streams, **kw)
        except StreamError as error:
            for problem in error.problems:
                click.echo(f"sluice: {problem}", err=True)
            return 2

    return wrapped


def _meant(file: str, settings: Settings) -> str:
    """The name of a stream of the settings stands for it."""
    named = [each for each in settings.streams if each.endswith(f"#{file}") or Path(each).stem == file]
    return named[0] if named and not Path(file).exists() else file


def validated(settings: Settings, streams: list[Stream]) -> list[Any]:
    """Against the models folder and the control state, as it is now. Raises StreamError."""
    import asyncio

    from gateway.app.storage import view
    from gateway.pipeline.declared.validation import signatures, validate

    async def decided() -> Any:
        async with view(settings) as found:
            return await found.read()

    if not Path(settings.models).is_dir():
        raise SettingsError(f"models: expected a folder, found no folder at '{settings.models}'")
    return list(validate(streams, signatures(settings, asyncio.run(decided())), Path(settings.state)))


def checked_by(settings: Settings, streams: list[Stream], url: str, ca_file: str) -> list[Any]:
    """Against the models of a gateway that runs. Raises StreamError, Unavailable."""
    from pathlib import Path

    from gateway.commands.connection import client
    from gateway.commands.streams.remote import RemoteSignatures
    from gateway.pipeline.declared.validation import validate

    key = os.environ.get("SLUICE_API_KEY", "")
    return list(validate(streams, RemoteSignatures(client("--url", url, key, ca_file, 30.0)), Path(settings.state)))
