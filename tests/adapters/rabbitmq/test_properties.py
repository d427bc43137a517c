from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands, frame
from pamqp.header import ContentHeader

from adapters.rabbitmq.properties import build, parse

names = st.text(st.characters(codec="utf-8"), max_size=20).filter(lambda name: not name.startswith("amqp."))
short = st.binary(max_size=40)
headers = st.dictionaries(names, st.binary(max_size=60), max_size=4).map(lambda found: tuple(found.items()))


@given(headers, st.sampled_from([1, 2]), short, short, st.integers(0, 1 << 40))
def test_what_is_built_is_parsed(
    given: tuple[tuple[str, bytes], ...], mode: int, correlation: bytes, message: bytes, timestamp: int
) -> None:
    found = parse(
        build(
            given, mode=mode, content_type=b"a/b", correlation_id=correlation, message_id=message, timestamp=timestamp
        )
    )
    assert found.headers == tuple((name, value) for name, value in given)
    assert (found.correlation_id, found.message_id, found.timestamp) == (correlation, message, timestamp)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "content_type": st.just("text/plain"),
            "content_encoding": st.just("gzip"),
            "headers": st.just({"n": 7, "t": "text", "x": {"deep": [1, True, None]}}),
            "delivery_mode": st.just(2),
            "priority": st.just(9),
            "correlation_id": st.just("c"),
            "reply_to": st.just("r"),
            "expiration": st.just("60000"),
            "message_id": st.just("m"),
            "timestamp": st.just(datetime(2024, 1, 2, tzinfo=UTC)),
            "message_type": st.just("t"),
            "user_id": st.just("guest"),
            "app_id": st.just("a"),
        },
    )
)
def test_what_another_client_says(given: dict[str, object]) -> None:
    whole = frame.marshal(ContentHeader(0, 0, commands.Basic.Properties(**given)), 1)  # type: ignore[arg-type]
    found = parse(whole[7 + 12 : -1])
    assert found.correlation_id == given.get("correlation_id", "").encode()  # type: ignore[attr-defined]
    assert found.reply_to == given.get("reply_to", "").encode()  # type: ignore[attr-defined]
    assert found.message_id == given.get("message_id", "").encode()  # type: ignore[attr-defined]
    assert found.timestamp == (1704153600 if "timestamp" in given else 0)
    if "headers" in given:
        assert dict(found.headers) == {"n": b"7", "t": b"text", "x": b'{"deep": [1, true, null]}'}


@given(st.binary(max_size=60))
def test_garbage_is_named_or_read(data: bytes) -> None:
    try:
        parse(data)
    except ValueError as error:
        assert "properties" in str(error)  # noqa: PT017 - most garbage can be read


def test_a_string_that_ends_beyond_its_header() -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        parse(b"\x00\x80\x09abc")


def test_what_answers_a_request() -> None:
    headers = (("h", b"v"), ("amqp.reply_to", b"no header of the message"))
    found = parse(build(headers, mode=2, correlation_id=b"7", reply_to=b"q"))
    assert found.as_headers() == (("h", b"v"), ("amqp.correlation_id", b"7"), ("amqp.reply_to", b"q"))
