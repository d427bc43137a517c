"""`sluice streams validate`, `dry-run` and `test`."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import click

from gateway.commands.streams.chosen import checked_by, stream_options, validated
from gateway.settings import Settings

if TYPE_CHECKING:
    from gateway.pipeline.declared.spec import Stream


@click.command()
@stream_options
@click.option("--url", metavar="URL", help="Of a gateway that runs: check against its models, not the models folder.")
@click.option("--ca-file", metavar="FILE", help="Who signed the server's certificate. [SLUICE_CA_FILE]")
def validate(settings: Settings, streams: list[Stream], url: str | None, ca_file: str | None) -> int:
    """Check streams against their models, their adapters and what they demand. None of their systems is asked.

    Says for each what holds for its records. Exit code 2 where something is wrong, with file and line.
    """
    ca_file = ca_file or os.environ.get("SLUICE_CA_FILE", "")
    for found in checked_by(settings, streams, url, ca_file) if url else validated(settings, streams):
        stream = found.stream
        click.echo(f"{stream.name} ({stream.places.file}): good")
        click.echo(f"  model      {stream.model.name}, version {', '.join(found.versions)}")
        click.echo(f"  writes     {', '.join(found.written) or 'replies'}")
        click.echo(f"  guarantee  {found.parts.guarantee}")
        click.echo(f"  order      {found.parts.order}")
    return 0


@click.command()
@stream_options
@click.option("-n", "--records", "count", type=click.IntRange(1), default=10, show_default=True, help="How many.")
@click.option(
    "--wait", type=click.FloatRange(0), default=5.0, show_default=True, help="Seconds to wait for that many records."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a record.")
def dry_run(settings: Settings, streams: list[Stream], count: int, wait: float, as_json: bool) -> int:
    """Read some records, score them, and print what would be written; nothing is written or acknowledged."""
    checked = validated(settings, streams)

    from gateway.app.loop import run_on_loop
    from gateway.app.trying import tried

    async def work() -> int:
        async for stream, message, value, reason in tried(settings, [each.stream for each in checked], count, wait):
            if as_json:
                found = {"stream": stream, "id": message.id, "in": _text(message.value)}
                told = {"dead": reason} if reason else {"out": _text(value)} if value is not None else {"skipped": True}
                click.echo(json.dumps(found | told))
            elif reason:
                click.secho(f"{message.id}  dead letter: {reason}", fg="red")
            else:
                click.echo(f"{message.id}  {'skipped' if value is None else _text(value)}")
        return 0

    return run_on_loop(work())


@click.command()
@stream_options
def test(settings: Settings, streams: list[Stream]) -> int:
    """Run the tests that lie beside streams (NAME.test.yaml, or the files of the folder NAME.test).

    Nothing is connected to: records go in from the tests, and what comes out is compared. Exit code 1 where it differs.
    """
    from gateway.app.loop import run_on_loop
    from gateway.app.trying import tested
    from gateway.pipeline.declared.cases import beside, read_cases

    checked = [each.stream for each in validated(settings, streams)]
    cases: dict[str, list[Any]] = {}
    for stream in checked:
        cases[stream.name] = [case for path in beside(stream) for case in read_cases(path, os.environ)]

    async def work() -> int:
        failed = 0
        async for stream, case, differences in tested(settings, checked, cases):
            failed += bool(differences)
            click.echo(f"{'FAILED' if differences else 'good  '}  {stream}: {case}")
            for difference in differences:
                click.echo(f"    {difference}")
        for stream in checked:
            if not cases[stream.name]:
                failed += 1
                click.echo(f"FAILED  {stream.name}: it has no tests, expected {stream.name}.test.yaml beside it")
        total = sum(map(len, cases.values()))
        click.echo(f"{total} tests, {failed} failed", err=bool(failed))
        return 1 if failed else 0

    return run_on_loop(work())


def _text(value: bytes | None) -> str | None:
    """As text where it is some, else as hex."""
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.hex()
