"""The admin port of a process: its routes behind the doorman."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Final

from gateway.app import ports
from gateway.app.security import Security
from gateway.protocols.admin import admin_app
from gateway.protocols.http.listener import Listener
from gateway.protocols.http.service import Service
from gateway.protocols.route import Call
from gateway.settings import Settings

#: seconds that requests which are under way have to end in
DRAIN: Final = 1.0


def admin_port(routes: Sequence[Call], listening: socket.socket, security: Security, settings: Settings) -> Listener:
    """Not started. Whoever starts it does so before models load: probes answer, and say "not ready"."""
    doorman = security.admin(routes)
    service = Service(admin_app(routes, doorman), limits=ports.limits(settings), doorman=doorman)
    return Listener(service, listening, tls=ports.tls(settings) if settings.tls.admin else None, drain_timeout=DRAIN)
