"""The stands of all adapters."""

from contract.files import files_input, files_output
from contract.kafka import kafka_input, kafka_plain, kafka_transactional
from contract.memory import (
    memory_idempotent,
    memory_input,
    memory_plain,
    memory_stores_offsets,
    memory_transactional,
)
from contract.rabbitmq import rabbitmq_input, rabbitmq_output

__all__ = [
    "files_input",
    "files_output",
    "kafka_input",
    "kafka_plain",
    "kafka_transactional",
    "memory_idempotent",
    "memory_input",
    "memory_plain",
    "memory_stores_offsets",
    "memory_transactional",
    "rabbitmq_input",
    "rabbitmq_output",
]
