import base64
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.codecs.records.columns import SKIPPED, Columns, Field, Kind
from gateway.codecs.records.envelope import EnvelopeDecoder
from gateway.codecs.records.json import JsonDecoder
from gateway.codecs.records.within import WithinDecoder

FIELDS = [Field("id", Kind.INTEGER), Field("amount", Kind.NUMBER)]
ROW = {"id": 7, "amount": 12.5}
#: 12.50 as a DECIMAL(10, 2)
DECIMAL = base64.b64encode((1250).to_bytes(2, "big")).decode()


def decimal(field: str, scale: int = 2) -> dict[str, Any]:
    parameters = {"scale": str(scale), "connect.decimal.precision": "10"}
    return {"field": field, "type": "bytes", "name": "org.apache.kafka.connect.data.Decimal", "parameters": parameters}


def struct(*fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "struct", "fields": list(fields), "optional": False, **more}


def event(op: str, after: Any = None, **more: Any) -> dict[str, Any]:
    return {"before": None, "after": after, "source": {"table": "payments"}, "op": op, "ts_ms": 1, **more}


def decode(kind: Any, *values: Any) -> Columns:
    data = [value if isinstance(value, bytes) or value is None else orjson.dumps(value) for value in values]
    return EnvelopeDecoder(JsonDecoder(FIELDS), kind).decode(data)


def test_a_change_event_is_the_row_after_it() -> None:
    schema = struct(struct({"field": "id", "type": "int32"}, field="before"), {"field": "op", "type": "string"})
    columns = decode(
        "debezium",
        event("c", ROW), event("r", ROW), event("u", orjson.dumps(ROW).decode()),
        {"schema": schema, "payload": event("u", ROW)},
    )  # fmt: skip
    assert columns.errors == {}
    assert columns.fields["id"].tolist() == [7, 7, 7, 7]
    assert columns.fields["amount"].tolist() == [12.5] * 4


def test_what_leaves_no_row_is_skipped() -> None:
    values = [event("d", before=ROW), event("t"), event("m", message={}), None, {"schema": None, "payload": None}]
    columns = decode("debezium", *values, event("c", ROW))
    assert columns.errors == dict.fromkeys(range(5), SKIPPED)
    assert columns.kept().tolist() == [5]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (b"{", "it is no JSON object"),
        (b"\x00\x00\x00\x00\x07abc", "it is no JSON object"),
        (b"[1]", "the record is of type array, expected object"),
        ({"id": 7}, "it has no 'op' and no 'after', as no change event has"),
        (event("x", ROW), "its 'op' is 'x' and an 'after'"),
        ({"op": "c"}, "its 'op' is 'c' and no 'after'"),
        ({"op": 3, "after": ROW}, "field 'op' is of type integer, expected string"),
        (event("u"), "its 'op' is 'u' and an 'after' of null"),
    ],
)
def test_what_is_no_change_event_is_told(value: Any, says: str) -> None:
    assert says in decode("debezium", value).errors[0]


def test_the_payload_of_connect_is_the_record() -> None:
    schema = struct({"field": "id", "type": "int32"}, {"field": "amount", "type": "double"})
    text = {"schema": {"type": "string"}, "payload": orjson.dumps(ROW).decode()}
    columns = decode("connect", {"schema": schema, "payload": ROW}, text, ROW, {"schema": schema, "payload": None})
    assert columns.fields["id"].tolist()[:2] == [7, 7]
    assert "schemas.enable=true" in columns.errors[2]
    assert "tombstone" in columns.errors[3]


@pytest.mark.parametrize("written", [DECIMAL, 12.5])
def test_a_decimal_is_the_number_that_it_is(written: Any) -> None:
    row = {"id": 7, "amount": written}
    fields = struct({"field": "id", "type": "int32"}, decimal("amount"))
    whole = struct({**fields, "field": "before"}, {**fields, "field": "after"}, {"field": "op", "type": "string"})
    assert decode("connect", {"schema": fields, "payload": row}).fields["amount"].tolist() == [12.5]
    assert decode("debezium", {"schema": whole, "payload": event("c", row)}).fields["amount"].tolist() == [12.5]


def test_decimals_within_structs_and_lists_and_of_any_scale() -> None:
    variable = struct(name="io.debezium.data.VariableScaleDecimal", field="amount")
    schema = struct(variable, {"field": "all", "type": "array", "items": decimal("")}, struct(decimal("x"), field="in"))
    value = {"id": 1, "amount": {"scale": 1, "value": DECIMAL}, "all": [DECIMAL, None], "in": {"x": DECIMAL}}
    wanted = [Field("amount", Kind.NUMBER), Field("all", Kind.NUMBER, 2), Field("in.x", Kind.NUMBER)]
    decoder = EnvelopeDecoder(JsonDecoder(wanted), "connect")
    columns = decoder.decode([orjson.dumps({"schema": schema, "payload": value})])
    assert columns.fields["amount"].tolist() == [125.0]
    assert columns.fields["all"][0, 0] == 12.5
    assert columns.fields["in.x"].tolist() == [12.5]


def test_a_schema_that_contradicts_its_values_costs_its_record_only() -> None:
    schema = struct({"field": "id", "type": "int32"}, decimal("amount"))
    broken = struct({"type": "bytes", "name": "org.apache.kafka.connect.data.Decimal"})
    values = [
        {"schema": schema, "payload": {"id": 1, "amount": "no base 64!"}},
        {"schema": broken, "payload": ROW},
        {"schema": [1], "payload": ROW},
        {"schema": struct(decimal("amount", 1 << 40)), "payload": {"id": 1, "amount": DECIMAL}},
        {"schema": schema, "payload": {"id": 2, "amount": DECIMAL}},
        {"schema": schema, "payload": {"id": 2, "amount": "A" * 401}},
        {"schema": {"type": "struct", "fields": [1]}, "payload": ROW},
    ]
    columns = decode("connect", *values)
    assert "'no base 64!' is no decimal" in columns.errors[0]
    assert "cannot be opened" in columns.errors[1]
    assert columns.fields["id"].tolist()[2] == 7
    assert 3 in columns.errors
    assert columns.fields["amount"].tolist()[4] == 12.5
    assert "a decimal has 401 characters" in columns.errors[5]
    assert 6 in columns.errors


@given(st.integers(-(1 << 120), 1 << 120), st.integers(-5, 30))
def test_every_decimal_comes_out_as_written(unscaled: int, scale: int) -> None:
    data = base64.b64encode(unscaled.to_bytes(16, "big", signed=True)).decode()
    found = decode("connect", {"schema": struct(decimal("amount", scale)), "payload": {"id": 1, "amount": data}})
    assert found.fields["amount"].tolist() == [float(Decimal(unscaled).scaleb(-scale))]


def test_the_outbox_of_a_change_event() -> None:
    decoder = EnvelopeDecoder(WithinDecoder(JsonDecoder(FIELDS), "payload"), "debezium")
    columns = decoder.decode(
        [orjson.dumps(event("c", {"id": "u", "payload": orjson.dumps(ROW).decode()})), orjson.dumps(event("d"))]
    )
    assert columns.fields["amount"][0] == 12.5
    assert columns.errors == {1: SKIPPED}
