"""Dead letters of a queue, given back; it ends with the last one that was there when it began."""

from __future__ import annotations

from typing import Final

from adapters.rabbitmq import dead_letter
from adapters.rabbitmq.settings import RabbitInput, RabbitOutput
from adapters.rabbitmq.source import RabbitSource
from gateway.core.errors import InvalidArgument
from gateway.core.stream import Batch, Context, Credit, Token


class RabbitLetters(RabbitSource):
    """An Input of the queue that the output writes to: it keeps none with its results."""

    def __init__(self, settings: RabbitOutput, context: Context, kept: bool) -> None:
        queue = settings.redrive_from or ("" if settings.exchange else settings.routing_key)
        if not queue:
            raise InvalidArgument(
                "rabbitmq.redrive_from: dead letters are taken back from a queue, expected the one that the exchange"
                " leads to"
            )
        given = RabbitInput(
            url=settings.url, password_file=settings.password_file, tls=settings.tls,
            heartbeat_seconds=settings.heartbeat_seconds,
            connect_seconds=settings.connect_seconds, queue=queue,
        )  # fmt: skip
        super().__init__(given, context, ends=True)
        self._records: Final = settings.dead_letters == "record"

    async def read(self, credit: Credit) -> tuple[Batch, Token] | None:
        found = await super().read(credit)
        if found is None or not self._records:
            return found
        return dead_letter.letters(found[0]), found[1]
