"""aiokafka's log, as far as an operator wants it: what it warns of, each thing once in a while."""

from __future__ import annotations

import logging
import time
from typing import Final

from aiokafka.errors import NotEnoughReplicasError

_LOGGERS: Final = (
    "aiokafka",
    "aiokafka.conn",
    "aiokafka.cluster",
    "aiokafka.consumer.consumer",
    "aiokafka.consumer.fetcher",
    "aiokafka.consumer.group_coordinator",
    "aiokafka.consumer.subscription_state",
    "aiokafka.producer.producer",
    "aiokafka.producer.sender",
)
#: seconds
_OFTEN: Final = 10.0


class _Quiet(logging.Filter):
    """It tries again every few milliseconds, and logs each time.

    Kafka 4 may answer the first produce of a transaction from a client as old as aiokafka with NOT_ENOUGH_REPLICAS,
    while it looks whether the transaction has that partition. Of that nothing follows: it is never shown.
    """

    def __init__(self) -> None:
        super().__init__()
        self._shown: Final[dict[object, float]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        for argument in record.args if isinstance(record.args, tuple) else ():
            if argument is NotEnoughReplicasError or str(argument).startswith("NOT_ENOUGH_REPLICAS"):
                return False
        now = time.monotonic()
        if now - self._shown.get(record.msg, -_OFTEN) < _OFTEN:
            return False
        self._shown[record.msg] = now
        return True


_quiet: Final = _Quiet()


def quiet() -> None:
    """May be called again. A level that somebody has set stays."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_quiet)
    whole = logging.getLogger("aiokafka")
    if whole.level == logging.NOTSET:
        whole.setLevel(logging.WARNING)
