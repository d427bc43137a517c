"""The stands of all adapters."""

from contract.kafka import kafka_input, kafka_plain, kafka_transactional
from contract.memory import (
    memory_idempotent,
    memory_input,
    memory_plain,
    memory_stores_offsets,
    memory_transactional,
)

__all__ = [
    "kafka_input",
    "kafka_plain",
    "kafka_transactional",
    "memory_idempotent",
    "memory_input",
    "memory_plain",
    "memory_stores_offsets",
    "memory_transactional",
]
