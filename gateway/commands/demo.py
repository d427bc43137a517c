"""`sluice demo`."""

from __future__ import annotations

import click


@click.command()
@click.option("--once", is_flag=True, help="End after the story, instead of serving on.")
@click.option("--http-port", type=click.IntRange(1, 65535), default=8000, show_default=True, help="REST.")
@click.option("--grpc-port", type=click.IntRange(1, 65535), default=8001, show_default=True, help="gRPC.")
@click.option(
    "--admin-port", type=click.IntRange(1, 65535), default=8002, show_default=True, help="Metrics and splits."
)
def command(once: bool, http_port: int, grpc_port: int, admin_port: int) -> int:
    """Train two honest versions of a classifier, serve them, and shift traffic while it shows what happens."""
    from gateway.demo import run

    return run(once=once, http_port=http_port, grpc_port=grpc_port, admin_port=admin_port)
