"""`sluice demo`."""

from __future__ import annotations

import signal

import click


@click.group(invoke_without_command=True)
@click.option("--once", is_flag=True, help="End after the story, instead of serving on.")
@click.option("--http-port", type=click.IntRange(1, 65535), default=8000, show_default=True, help="REST.")
@click.option("--grpc-port", type=click.IntRange(1, 65535), default=8001, show_default=True, help="gRPC.")
@click.option(
    "--admin-port", type=click.IntRange(1, 65535), default=8002, show_default=True, help="Metrics and splits."
)
@click.pass_context
def command(context: click.Context, once: bool, http_port: int, grpc_port: int, admin_port: int) -> int:
    """Train two honest versions of a classifier, serve them, and shift traffic while it shows what happens."""
    if context.invoked_subcommand is not None:
        return 0
    from gateway.demo import run

    _end_as_by_control_c()

    return run(once=once, http_port=http_port, grpc_port=grpc_port, admin_port=admin_port)


@command.command()
@click.option("--once", is_flag=True, help="End when all records are scored, instead of running on.")
@click.option("--port", type=click.IntRange(1, 65535), default=8012, show_default=True, help="Metrics and streams.")
@click.option("--records", type=click.IntRange(1000), default=10_000, show_default=True, help="Of each stream.")
def streams(once: bool, port: int, records: int) -> int:
    """Score rows of tables, messages and a mainframe's file where they are, and put dead letters back.

    SQLite and files always; PostgreSQL, RabbitMQ and Kafka where they are installed.
    """
    from gateway.demo.streams import run

    _end_as_by_control_c()
    return run(once=once, port=port, records=records)


def _end_as_by_control_c() -> None:
    """By SIGTERM, and when the terminal is closed, too: the servers that it has started end with it."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, signal.default_int_handler)
