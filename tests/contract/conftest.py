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
from contract.redis import redis_input, redis_plain, redis_transactional
from contract.sql import (
    mariadb_input,
    mariadb_insert,
    mariadb_results,
    postgresql_input,
    postgresql_insert,
    postgresql_results,
    sqlite_input,
    sqlite_insert,
    sqlite_results,
)

__all__ = [
    "files_input",
    "files_output",
    "kafka_input",
    "kafka_plain",
    "kafka_transactional",
    "mariadb_input",
    "mariadb_insert",
    "mariadb_results",
    "memory_idempotent",
    "memory_input",
    "memory_plain",
    "memory_stores_offsets",
    "memory_transactional",
    "postgresql_input",
    "postgresql_insert",
    "postgresql_results",
    "rabbitmq_input",
    "rabbitmq_output",
    "redis_input",
    "redis_plain",
    "redis_transactional",
    "sqlite_input",
    "sqlite_insert",
    "sqlite_results",
]
