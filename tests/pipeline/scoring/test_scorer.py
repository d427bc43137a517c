"""Records to results with real models: order, versions, pieces, and records at fault that cost only themselves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper
from pipeline.plant import on_loop
from pipeline.scoring.site import ALL_VERSIONS, MAPPING, NAMES, answers, batch, record, site
from small_models import affine, model

from gateway.codecs.records.columns import Columns, Decoder, Field
from gateway.codecs.records.json import JsonDecoder
from gateway.codecs.records.jsonencoder import JsonEncoder
from gateway.codecs.records.oip import OipDecoder, OipEncoder
from gateway.codecs.records.skipping import Skipping
from gateway.codecs.records.table import TableDecoder, TableEncoder
from gateway.core.errors import NotFound, Unavailable
from gateway.core.stream import Batch, Message
from gateway.core.table import Table
from gateway.pipeline.scoring.scorer import Scorer
from gateway.routing.split import Split


@on_loop
async def test_results_are_in_the_order_of_their_records(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        scored = await there.scorer().score(batch([record(n) for n in range(500)]))
        assert answers(scored) == [(n, 5.0 * n) for n in range(500)]
        assert list(scored.rows) == list(range(500))
        assert scored.errors == {}
        assert list(scored.batch.ids) == [f"in/{n}" for n in range(500)]
        assert scored.batch.headers[0] == (("sluice-model", b"m"), ("sluice-version", b"5"))


@on_loop
async def test_a_record_at_fault_costs_only_itself(tmp_path: Path) -> None:
    values: list[bytes | None] = [record(n) for n in range(20)]
    values[3] = b"{broken"
    values[7] = record(7, a="text")
    values[11] = None
    values[13] = b'{"id": 13, "a": 1}'
    values[17] = b'{"id": 17, "a": 1e300, "b": 1, "c": 1, "d": 1}'
    async with site(tmp_path) as there:
        given = Batch([f"in/{n}" for n in range(20)], values, faults={18: "the file ends in its middle"})
        scored = await there.scorer().score(given)
        assert sorted(scored.errors) == [3, 7, 11, 13, 17, 18]
        assert "field 'a' is of type string" in scored.errors[7]
        assert "tombstone" in scored.errors[11]
        assert "field 'b' is missing" in scored.errors[13]
        assert "beyond FP32" in scored.errors[17]
        assert scored.errors[18] == "the file ends in its middle"
        good = [n for n in range(20) if n not in scored.errors]
        assert list(scored.rows) == good
        assert answers(scored) == [(n, 5.0 * n) for n in good]


@on_loop
async def test_of_what_is_skipped_nothing_comes(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        decoder = Skipping(JsonDecoder((*MAPPING.fields(there.dataplane.resolve("m", "", "")[1]), Field("id"))))
        for split in (None, Split("salt", [("2", 50), ("3", 50)])):
            if split is not None:
                there.splits.replace("m", split)
            scored = await there.scorer(decoder=decoder).score(batch([record(0), None, b"{", record(3), None]))
            assert (list(scored.rows), sorted(scored.errors)) == ([0, 3], [2])
            assert [value["id"] for value in map(json.loads, scored.batch.values)] == [0, 3]
        scored = await there.scorer(decoder=decoder).score(batch([None, None]))
        assert (len(scored.batch), scored.errors) == (0, {})


@on_loop
async def test_a_batch_of_nothing_but_faults(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        scored = await there.scorer().score(batch([b"x", None]))
        assert (len(scored.batch), sorted(scored.errors)) == (0, [0, 1])


@on_loop
async def test_the_split_decides_by_key_else_id_and_each_result_says_who_answered(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        split = Split("salt", [("2", 50), ("3", 30), ("5", 20)])
        there.splits.replace("m", split)
        keys = [f"key-{n % 40}".encode() if n % 5 else None for n in range(300)]
        values = [record(n) for n in range(300)]
        values[9] = b"broken"
        scored = await there.scorer().score(batch(values, keys))
        present = there.manager.present("m")
        assert sorted(scored.errors) == [9]
        assert list(scored.rows) == [n for n in range(300) if n != 9]
        seen = set()
        for row, value, headers in zip(scored.rows, scored.batch.values, scored.batch.headers, strict=True):
            found = json.loads(value or b"")
            key = keys[row]
            expected = split.pick(key.decode() if key else f"in/{row}", present)
            assert found == {"id": row, "y": float(expected) * row, "version": expected, "model": "m"}
            assert dict(headers)["sluice-version"] == expected.encode()
            seen.add(expected)
        assert seen == {"2", "3", "5"}


@on_loop
async def test_a_version_that_is_named_wins_over_the_split(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        there.splits.replace("m", Split("salt", [("2", 1)]))
        there.manager.set_labels("m", {"canary": "3"})
        values = [record(1)]
        assert answers(await there.scorer("5").score(batch(values))) == [(1, 5.0)]
        assert answers(await there.scorer("canary").score(batch(values))) == [(1, 3.0)]
        assert answers(await there.scorer().score(batch(values))) == [(1, 2.0)]
        assert there.scorer("canary").answers == "m/canary"


@on_loop
async def test_a_model_that_is_not_there_is_nobodys_fault(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        scorer = there.scorer()
        await there.manager.unload("m")
        with pytest.raises((NotFound, Unavailable)):
            await scorer.score(batch([record(1)]))
        await there.manager.load("m")
        assert answers(await scorer.score(batch([record(1)]))) == [(1, 5.0)]


@on_loop
async def test_a_version_that_takes_other_inputs_is_waited_for_to_go_away(tmp_path: Path) -> None:
    text = model([helper.make_node("Identity", ["x"], ["y"])], {"x": ("BYTES", ["n", 4])}, {"y": ("BYTES", ["n", 4])})
    async with site(tmp_path, ALL_VERSIONS, {"2": affine(2), "9": text}) as there:
        scorer = there.scorer("2")
        there.splits.replace("m", Split("salt", [("9", 1)]))
        split = Scorer(
            there.dataplane, "m", "", scorer._decoder, MAPPING, scorer._encoder,
            signature=there.dataplane.resolve("m", "2", "")[1],
        )  # fmt: skip
        with pytest.raises(Unavailable, match="takes other inputs"):
            await split.score(batch([record(1)]))


@on_loop
async def test_a_field_that_cannot_be_written_is_no_records_fault(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        scorer = there.scorer(encoder=JsonEncoder({"z": "no_such_output"}))
        with pytest.raises(Unavailable, match="field 'no_such_output' is to be written"):
            await scorer.score(batch([record(1)]))


@on_loop
async def test_a_column_that_is_gone_is_no_records_fault(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        _, signature = there.dataplane.resolve("m", "", "")
        scorer = there.scorer(decoder=TableDecoder((*MAPPING.fields(signature), Field("id"))))
        table = Table(("id", "a", "b", "c"), [[1], [1.0], [1.0], [1.0]])
        with pytest.raises(Unavailable, match="column 'd' is not among those"):
            await scorer.score(batch(table))


@on_loop
async def test_tables_stay_columns(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        _, signature = there.dataplane.resolve("m", "", "")
        decoder = TableDecoder((*MAPPING.fields(signature), Field("id")))
        scorer = there.scorer(decoder=decoder, encoder=TableEncoder({"id": "id", "y": "y[0]"}))
        table = Table(("id", *NAMES), [[1, 2, 3], [1.0, None, 3.0], *[[1.0, 1.0, 1.0]] * 3])
        scored = await scorer.score(batch(table))
        assert isinstance(scored.batch.values, Table)
        assert scored.batch.values.columns == [[1, 3], [5.0, 15.0]]
        assert list(scored.errors) == [1]


@on_loop
async def test_whole_requests_are_answered_as_rest_would(tmp_path: Path) -> None:
    async with site(tmp_path, "max_batch_size: 5\n" + ALL_VERSIONS) as there:
        _, signature = there.dataplane.resolve("m", "", "")
        scorer = Scorer(
            there.dataplane, "m", "", OipDecoder("m", signature), None, OipEncoder("m", signature), signature=signature
        )

        def ask(n: int, rows: int) -> bytes:
            data = [float(n)] * (4 * rows)
            tensor = {"name": "x", "shape": [rows, 4], "datatype": "FP32", "data": data}
            return json.dumps({"id": f"q{n}", "inputs": [tensor]}).encode()

        sizes = [1, 3, 5, 2, 4, 1, 6, 5]
        values = [ask(n, rows) for n, rows in enumerate(sizes)]
        values[3] = b"{}"
        for split in (None, Split("salt", [("2", 1), ("3", 1)])):
            there.splits.replace("m", split)
            scored = await scorer.score(batch(values))
            assert sorted(scored.errors) == [3, 6]  # the one exceeds the largest batch
            for row, value in zip(scored.rows, scored.batch.values, strict=True):
                reply = json.loads(value or b"")
                assert reply["id"] == f"q{row}"
                (output,) = reply["outputs"]
                assert output["shape"] == [sizes[row], 4]
                assert set(output["data"]) == {row * float(reply["model_version"])}


@on_loop
async def test_headers_travel_on_and_old_stamps_do_not(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        trace = ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        headers = [(trace, ("h", b"\xff")), (), (("sluice-model", b"old"), trace, ("sluice-attempts", b"3"))]
        scored = await there.scorer().score(batch([record(n) for n in range(3)], headers=headers))
        stamp = (("sluice-model", b"m"), ("sluice-version", b"5"))
        assert list(scored.batch.headers) == [(trace, ("h", b"\xff"), *stamp), stamp, (trace, *stamp)]


@on_loop
async def test_keys_and_times_of_results_are_those_of_their_records(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        messages = [Message(f"i{n}", record(n) if n != 2 else b"", f"k{n}".encode(), (), 1000 + n) for n in range(4)]
        scored = await there.scorer().score(Batch.of(messages))
        assert list(scored.batch.keys) == [b"k0", b"k1", b"k3"]
        assert list(scored.batch.timestamps) == [1000, 1001, 1003]


class Refusing:
    """An encoder that cannot write every third row."""

    def encode(self, columns: Columns) -> Any:
        found = JsonEncoder({"id": "id", "y": "y[0]"}).encode(columns)
        for row in range(0, columns.rows, 3):
            found.errors[row] = "it does not fit"
        return found


@on_loop
async def test_a_row_that_cannot_be_written_costs_only_itself(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        values = [record(n) for n in range(9)]
        values[0] = b"broken"
        scored = await there.scorer(encoder=Refusing()).score(batch(values))
        assert sorted(scored.errors) == [0, 1, 4, 7]
        assert list(scored.rows) == [2, 3, 5, 6, 8]
        assert answers(scored) == [(n, 5.0 * n) for n in (2, 3, 5, 6, 8)]
        assert np.array_equal([int(name.split("/")[1]) for name in scored.batch.ids], scored.rows)


class Breaking:
    """A decoder with a fault of its own."""

    def __init__(self, inner: Decoder) -> None:
        self._inner = inner

    def decode(self, values: Sequence[bytes | None]) -> Columns:
        if any(b"boom" in value for value in values if value):
            raise ZeroDivisionError("a fault of the decoder")
        return self._inner.decode(values)


@on_loop
async def test_a_record_that_a_codec_breaks_down_on_costs_only_itself(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        scorer = there.scorer()
        scorer = there.scorer(decoder=Breaking(scorer._decoder))  # type: ignore[arg-type]
        values = [record(n) for n in range(100)]
        values[0] = values[41] = record(41, d="boom")
        values[77] = b"broken"
        scored = await scorer.score(batch(values))
        assert sorted(scored.errors) == [0, 41, 77]
        assert scored.errors[41] == "it cannot be scored: ZeroDivisionError: a fault of the decoder"
        assert answers(scored) == [(n, 5.0 * n) for n in range(100) if n not in scored.errors]
        assert list(scored.rows) == [n for n in range(100) if n not in scored.errors]
        assert [int(name.split("/")[1]) for name in scored.batch.ids] == scored.rows
