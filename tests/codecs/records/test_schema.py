import orjson
import pytest

from gateway.codecs.records.columns import Field, Kind
from gateway.codecs.records.json import JsonDecoder
from gateway.codecs.records.schema import SchemaDecoder
from gateway.core.errors import InvalidArgument

SCHEMA = {
    "type": "object",
    "required": ["age"],
    "properties": {"age": {"$ref": "#/$defs/age"}, "who": {"properties": {"name": {"minLength": 2}}}},
    "$defs": {"age": {"type": "number", "minimum": 0}},
}


def decoder(schema: object) -> SchemaDecoder:
    return SchemaDecoder(JsonDecoder([Field("age", Kind.NUMBER)]), orjson.dumps(schema), "s.json")


def test_records_that_do_not_meet_it_are_told_where() -> None:
    values = [b'{"age": 3}', b'{"age": -3}', b'{"who": {"name": "x"}, "age": 1}', b"{}", b"{", None, b'{"age": NaN}']
    columns = decoder(SCHEMA).decode(values)
    assert columns.fields["age"][0] == 3
    assert columns.errors[1] == "field 'age' does not meet the schema: -3 is less than the minimum of 0"
    assert columns.errors[2] == "field 'who.name' does not meet the schema: 'x' is too short"
    assert columns.errors[3] == "the record does not meet the schema: 'age' is a required property"
    assert columns.errors[4].startswith("it is no JSON object")
    assert "tombstone" in columns.errors[5]
    assert columns.errors[6] == "it is no JSON: a schema needs values that JSON has"


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        (b"{", "schema 's.json' is no JSON: "),
        (b"5", "expected an object"),
        (b'{"type": "nothing"}', "schema 's.json' is no JSON Schema: 'nothing' is not valid"),
        (b'{"$ref": "https://example.com/x.json"}', "refers to 'https://example.com/x.json', which is not in the same"),
        (b'{"items": [{"$ref": "#/$defs/no"}]}', "is no JSON Schema"),
        (b'{"not": {"$ref": "#/$defs/no"}}', "refers to '#/$defs/no'"),
    ],
)
def test_what_is_no_schema_is_refused_at_once(schema: bytes, says: str) -> None:
    with pytest.raises(InvalidArgument, match=r"s\.json") as raised:
        SchemaDecoder(JsonDecoder([]), schema, "s.json")
    assert says in raised.value.message


def test_one_that_never_ends_ends() -> None:
    assert "refers to itself" in decoder({"$ref": "#"}).decode([b'{"age": 1}']).errors[0]
