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
_WHOLE: Final = logging.getLogger("aiokafka")
_UNREACHED: Final = 'Unable connect to "%s:%s": %s'
_LOOKING: Final = ("NOT_ENOUGH_REPLICAS", "Unable to verify the partition has been added to the transaction")
#: seconds
_OFTEN: Final = 10.0


class _Quiet(logging.Filter):
    """It tries again every few milliseconds, and logs each time.

    Kafka 4 may refuse the first produce of a transaction for a moment, while it looks whether the transaction has that
    partition. Of that nothing follows: it is never shown.
    """

    def __init__(self) -> None:
        super().__init__()
        self._shown: Final[dict[object, float]] = {}
        #: host and port → why the last try to connect to it failed, of which aiokafka tells its log alone
        self.unreached: Final[dict[tuple[str, str], str]] = {}
        #: what is less is not shown: the level that the whole had before it had to let errors through to here
        self.least = logging.NOTSET

    def filter(self, record: logging.LogRecord) -> bool:
        if record.msg == _UNREACHED and isinstance(record.args, tuple) and len(record.args) == 3:
            host, port, error = record.args
            self.unreached[str(host), str(port)] = str(error) or type(error).__name__
        if record.levelno < self.least and _WHOLE.level == logging.ERROR:
            return False
        for argument in record.args if isinstance(record.args, tuple) else ():
            if argument is NotEnoughReplicasError or str(argument).startswith(_LOOKING):
                return False
        now = time.monotonic()
        if now - self._shown.get(record.msg, -_OFTEN) < _OFTEN:
            return False
        self._shown[record.msg] = now
        return True


_quiet: Final = _Quiet()


def reasons(bootstrap: str) -> str:
    """Why brokers could not be connected to that an error of aiokafka names, as ``('127.0.0.1', 9092, …)``."""
    found = [why for (host, port), why in _quiet.unreached.items() if f"('{host}', {port}," in bootstrap]
    return "; ".join(dict.fromkeys(found))


def quiet() -> None:
    """May be called again. A level that somebody has set stays, as far as it can be seen."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_quiet)
    if _WHOLE.level == logging.NOTSET:
        _WHOLE.setLevel(logging.WARNING)
    elif _WHOLE.level > logging.ERROR:
        _quiet.least = _WHOLE.level
        _WHOLE.setLevel(logging.ERROR)
