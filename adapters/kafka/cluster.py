"""The brokers of a cluster: how aiokafka is told to reach them, and what two settings of one have in common."""

from __future__ import annotations

import ssl
from typing import Any

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
