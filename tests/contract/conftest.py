"""The stands of all adapters."""

from contract.memory import (
    memory_idempotent,
    memory_input,
    memory_plain,
    memory_stores_offsets,
    memory_transactional,
)

__all__ = [
    "memory_idempotent",
    "memory_input",
    "memory_plain",
    "memory_stores_offsets",
    "memory_transactional",
]
