from gateway.codecs.records.columns import SKIPPED, Field, Kind
from gateway.codecs.records.json import JsonDecoder
from gateway.codecs.records.skipping import Skipping

FIELDS = [Field("id", Kind.INTEGER)]


def test_tombstones_are_skipped_where_that_is_wanted() -> None:
    columns = Skipping(JsonDecoder(FIELDS)).decode([b'{"id": 7}', None, b"{"])
    assert columns.errors[1] == SKIPPED
    assert columns.faults().keys() == {2}
    assert "no value" in JsonDecoder(FIELDS).decode([None]).errors[0]
