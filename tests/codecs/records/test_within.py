from typing import Any

import orjson

from gateway.codecs.records.columns import Field, Kind
from gateway.codecs.records.json import JsonDecoder
from gateway.codecs.records.within import WithinDecoder

FIELDS = [Field("id", Kind.INTEGER), Field("amount", Kind.NUMBER)]
ROW = {"id": 7, "amount": 12.5}


def test_a_record_within_a_field() -> None:
    text = orjson.dumps(ROW).decode()
    decoder = WithinDecoder(JsonDecoder(FIELDS), "pay load")
    held: list[Any] = [text, ROW, None, 5, "{", "x"]
    values = [orjson.dumps({"id": 1, "pay load": each}) for each in held]
    columns = decoder.decode([*values, b"{}", None, b"[]", b"{"])
    assert columns.fields["id"].tolist()[:2] == [7, 7]
    assert columns.errors[2] == columns.errors[6] == "field 'pay load' is missing: it should hold the record"
    assert columns.errors[3] == "the record is of type integer, expected object"
    assert sorted(columns.errors) == [*range(2, 10)]
    assert "tombstone" in columns.errors[7]
