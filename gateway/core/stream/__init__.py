"""The contracts of streams: what a connector is, what it promises, and what follows for the records.

An input gives batches and tokens; the runner decodes, scores, encodes, hands the result to an output, and only when
that is durable acknowledges the token. Reconnecting, backoff, drain and dead letters are the runner's: a connector
says what happened, by one of the errors here, and holds no policy.
"""

from gateway.core.stream.adapter import Adapter, Context, Door
from gateway.core.stream.batch import Batch, taken
from gateway.core.stream.delivery import Delivery, Guarantee, guarantee
from gateway.core.stream.errors import DataError, Fenced, OutcomeUnknown, Transient, at_fault
from gateway.core.stream.input import Credit, Input, Lag, Lagging, Source, Token
from gateway.core.stream.message import DeadLetter, Headers, Message
from gateway.core.stream.output import Ability, Holding, Output, PositionStore, Rows, Sink

__all__ = [
    "Ability",
    "Adapter",
    "Batch",
    "Context",
    "Credit",
    "DataError",
    "DeadLetter",
    "Delivery",
    "Door",
    "Fenced",
    "Guarantee",
    "Headers",
    "Holding",
    "Input",
    "Lag",
    "Lagging",
    "Message",
    "OutcomeUnknown",
    "Output",
    "PositionStore",
    "Rows",
    "Sink",
    "Source",
    "Token",
    "Transient",
    "at_fault",
    "guarantee",
    "taken",
]
