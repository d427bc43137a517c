"""The tracer that the settings name."""

from __future__ import annotations

from contextlib import AsyncExitStack

from gateway.settings import Settings
from gateway.telemetry.tracing import Tracer


async def traced(settings: Settings, stack: AsyncExitStack) -> Tracer | None:
    """None where nobody is to hear of requests."""
    given = settings.tracing
    if not given.endpoint:
        return None
    tracer = Tracer(given.endpoint, ratio=given.sample_ratio, service_name=given.service_name)
    return await stack.enter_async_context(tracer)
