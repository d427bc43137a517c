"""From settings to an exit code."""

from __future__ import annotations

import logging
import resource
from typing import Final

import msgspec

from gateway.app.loop import run_on_loop
from gateway.models.staging import sweep
from gateway.settings import Settings, granted
from gateway.telemetry import logs

logger = logging.getLogger("sluice")

#: files that are open beside connections
OTHER_FILES: Final = 512


def run(settings: Settings) -> int:
    """Serves until SIGTERM or SIGINT, and returns the exit code. Raises SluiceError where it cannot start."""
    logs.configure(settings.log.format, settings.log.level, settings.access_log)
    allow_files(settings.limits.connections + OTHER_FILES)
    tidy()
    count = granted() if settings.workers == "auto" else settings.workers
    if count == 1:
        from gateway.app.alone import serve
    else:
        from gateway.app.supervisor import serve

        settings = msgspec.structs.replace(settings, workers=count)
    return run_on_loop(serve(settings))


def tidy() -> None:
    """Whoever was killed left the files of its models behind."""
    if removed := sweep():
        logger.info("removed %d temporary folders of processes that were killed", removed)


def allow_files(wanted: int) -> None:
    """As many as the connections that are allowed need; the usual 1024 are a soft limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
