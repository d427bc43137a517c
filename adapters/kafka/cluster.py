"""The brokers of a cluster: how aiokafka is told to reach them, and what two settings of one have in common."""

from __future__ import annotations

import logging
import ssl
from typing import Any

from aiokafka.errors import NotEnoughReplicasError

from adapters.kafka.settings import Cluster, Tls
from gateway.core.errors import InvalidArgument

PORT = 9092


def domain(cluster: Cluster) -> str:
    """What a transaction can span: the same for the same brokers, in whatever order they are written."""
    hosts = {host.strip().lower() for host in cluster.brokers}
    return "kafka://" + ",".join(sorted(host if ":" in host else f"{host}:{PORT}" for host in hosts))


def connection(cluster: Cluster, client_id: str) -> dict[str, Any]:
    """aiokafka's keywords. Raises InvalidArgument for files that are no certificates."""
    secure = "SSL" if cluster.tls else "PLAINTEXT"
    found: dict[str, Any] = {
        "bootstrap_servers": list(cluster.brokers),
        "client_id": cluster.client_id or client_id,
        "request_timeout_ms": round(cluster.request_timeout * 1000),
        "security_protocol": f"SASL_{secure}" if cluster.sasl else secure,
    }
    if cluster.tls:
        found["ssl_context"] = _tls(cluster.tls)
    if cluster.sasl:
        found["sasl_mechanism"] = cluster.sasl.mechanism
        found["sasl_plain_username"] = cluster.sasl.username
        found["sasl_plain_password"] = cluster.sasl.password
    return found


def _tls(tls: Tls) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.ca or None)
        if tls.cert:
            context.load_cert_chain(tls.cert, tls.key or None)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(file for file in (tls.ca, tls.cert, tls.key) if file)
        raise InvalidArgument(f"tls: {files}: {error}") from error
    context.check_hostname = tls.verify_hostname
    return context


class _Expected(logging.Filter):
    """Kafka 4 answers the first produce of a transaction from a client as old as aiokafka so, while it looks whether
    the transaction has that partition: a line in the log for each transaction, of which nothing follows."""

    def filter(self, record: logging.LogRecord) -> bool:
        arguments = record.args if isinstance(record.args, tuple) else ()
        return NotEnoughReplicasError not in arguments and not any(
            isinstance(argument, str) and argument.startswith("NOT_ENOUGH_REPLICAS") for argument in arguments
        )


_EXPECTED = _Expected()


def quiet() -> None:
    """Keeps that line out of the log, and each step of each of aiokafka's clients; may be called again."""
    logging.getLogger("aiokafka.producer.sender").addFilter(_EXPECTED)
    whole = logging.getLogger("aiokafka")
    if whole.level == logging.NOTSET:
        whole.setLevel(logging.WARNING)
