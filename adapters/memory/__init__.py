"""Topics within the process: for tests, dry runs, and whoever feeds a pipeline from Python.

A topic is known by its name to everything in the process, and gone with it. It can do whatever a real system can, one
at a time, and fail on demand, by a seed: a pipeline that is tried on it has met every kind of failure.
"""

from __future__ import annotations

from typing import Final

from adapters.memory.input import MemoryInput
from adapters.memory.output import MemoryOutput
from adapters.memory.settings import Faults, MemorySink, MemorySource
from adapters.memory.topics import Topic, add, forget, topic
from gateway.core.errors import InvalidArgument
from gateway.core.stream import Adapter, Context, Door

__all__ = [
    "Faults",
    "MemoryInput",
    "MemoryOutput",
    "MemorySink",
    "MemorySource",
    "Topic",
    "adapter",
    "add",
    "forget",
    "topic",
]


def _redrive(settings: MemorySource, context: Context) -> MemoryOutput:
    """Puts records back behind the others of the topic."""
    return MemoryOutput(MemorySink(topic=settings.topic), context)


def _input(settings: MemorySource, context: Context) -> MemoryInput:
    if "/" in settings.topic:
        raise InvalidArgument(f"topic is '{settings.topic}', expected a name without '/'")
    return MemoryInput(settings, context)


adapter: Final = Adapter(
    "memory",
    "topics within the process, for tests and dry runs",
    input=Door(MemorySource, _input),
    output=Door(MemorySink, MemoryOutput),
    redrive=Door(MemorySource, _redrive),
)
