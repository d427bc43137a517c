"""What a record costs from its bytes to the answer's: decode, map, score with T and encode, a batch at a time.

`python -m loadtests.records [DIR]` prints CPU microseconds a record: the best and the median of many batches.
"""

from __future__ import annotations

import gc
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
import orjson

from gateway.codecs.records.columns import Columns, Decoder, Encoder, Field, Kind
from gateway.codecs.records.copybook.decoder import CopybookDecoder
from gateway.codecs.records.copybook.encoder import CopybookEncoder
from gateway.codecs.records.copybook.layout import RecordLayout
from gateway.codecs.records.csv import CsvDecoder, CsvEncoder
from gateway.codecs.records.json import JsonDecoder
from gateway.codecs.records.jsonencoder import JsonEncoder
from gateway.codecs.records.mapping import Entry, Mapping, Pick
from gateway.core.signature import Signature
from gateway.core.tensor import DATA_TYPES, TensorSpec
from gateway.models.onnx.reader import read_graph
from loadtests.models import make
from loadtests.report import Figure

ROWS: Final = 1000
RUNS: Final = 60
SIGNATURE: Final = Signature(
    [TensorSpec("X", DATA_TYPES["FP32"], (-1, 30))],
    [TensorSpec("label", DATA_TYPES["INT64"], (-1,)), TensorSpec("probabilities", DATA_TYPES["FP32"], (-1, 2))],
    batched=True,
)
#: of the whole, µs of CPU a record
REQUIRED: Final = {"JSON of 30 numbers": 6.0, "copybook of 30 fields": 3.0}
ANSWER: Final = """
       01  ANSWER.
           05  ID                PIC 9(8).
           05  LABEL-OF          PIC 9.
           05  SCORE             PIC S9V9(6) COMP-3.
"""


def features() -> tuple[list[str], Any]:
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    return [str(name) for name in data.feature_names], np.resize(data.data, (ROWS, 30))


def copybook(names: Sequence[str]) -> RecordLayout:
    """An id and 30 numbers of nine digits, by turns zoned and packed."""
    lines = ["       01  SAMPLE.", "           05  ID PIC 9(8)."]
    for number, name in enumerate(names):
        usage = " COMP-3" if number % 2 else ""
        lines += [f"           05  {name}", f"               PIC S9(5)V9(4){usage}."]
    return RecordLayout.read("\n".join(lines))


def scorer(folder: Path) -> Callable[[Any], dict[str, Any]]:
    make(folder)
    model = read_graph(folder / "tree" / "T" / "1" / "model.onnx").without_zipmap()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def score(inputs: Any) -> dict[str, Any]:
        label, probabilities = session.run(names, inputs)
        return {"label": label, "probabilities": probabilities}

    return score


def measure(what: str, work: Callable[[], Any]) -> list[float]:
    """µs of CPU a record, of each run, ascending."""
    times = []
    for _ in range(RUNS):
        begin = time.process_time_ns()
        work()
        times.append((time.process_time_ns() - begin) / 1e3 / ROWS)
    times.sort()
    print(f"  {what:10} {times[0]:6.2f} {times[RUNS // 2]:6.2f}")
    return times


def report(
    name: str,
    decoder: Decoder,
    encoder: Encoder,
    mapping: Mapping,
    values: list[bytes],
    score: Callable[[Any], dict[str, Any]],
) -> list[float]:
    """Prints what each step takes; µs of CPU a record of the whole, of each run."""

    def whole() -> None:
        columns = decoder.decode(values)
        inputs = mapping.apply(columns, SIGNATURE)
        encoder.encode(columns.good().joined(score(inputs)))

    columns = decoder.decode(values)
    inputs = mapping.apply(columns, SIGNATURE)
    answers = columns.good().joined(score(inputs))
    print(f"{name}, {len(values[0])} bytes, {len(columns.errors)} at fault (best, median)")
    measure("decode", lambda: decoder.decode(values))
    measure("map", lambda: mapping.apply(columns, SIGNATURE))
    measure("score", lambda: score(inputs))
    measure("encode", lambda: encoder.encode(answers))
    return measure("whole", whole)


def formats(folder: Path) -> dict[str, list[float]]:
    """Prints all of it; what the whole takes, by format."""
    score = scorer(folder)
    names, rows = features()
    hosts = [name.upper().replace(" ", "-") for name in names]
    mapping = Mapping([Entry("X", tuple(Pick(name) for name in names))])
    mapping_of_host = Mapping([Entry("X", tuple(Pick(name) for name in hosts))])
    ids = Field("id", Kind.INTEGER)
    fields = (*mapping.fields(SIGNATURE), ids)
    columns = Columns(ROWS, {name: rows[:, at] for at, name in enumerate(names)}).joined({"id": np.arange(ROWS)})
    answer = {"id": "id", "label": "label", "score": "probabilities[1]"}

    texts = [orjson.dumps({"id": i, **dict(zip(names, row, strict=True))}) for i, row in enumerate(rows.tolist())]
    lines = CsvEncoder({name: name for name in ("id", *names)}).encode(columns).values
    layout = copybook(hosts)
    records = CopybookEncoder(layout, {"ID": "id", **dict(zip(hosts, names, strict=True))}).encode(columns).values
    on_host = CopybookDecoder(layout, (*mapping_of_host.fields(SIGNATURE), Field("ID")))
    to_host = CopybookEncoder(RecordLayout.read(ANSWER), {"ID": "ID", "LABEL-OF": "label", "SCORE": "probabilities[1]"})
    gc.collect()
    gc.freeze()  # as a stream worker does it once it is up
    found = {}
    for name, poison in (("", 0), (" with 1 in 500 broken", 500)):
        for batch in (texts, lines, records):
            for at in range(0, ROWS, poison) if poison else ():
                batch[at] = batch[at][:-3]
        for what, decoder, encoder, mapped, batch in (
            ("JSON of 30 numbers", JsonDecoder(fields), JsonEncoder(answer), mapping, texts),
            ("CSV of 30 numbers", CsvDecoder(["id", *names], fields), CsvEncoder(answer), mapping, lines),
            ("copybook of 30 fields", on_host, to_host, mapping_of_host, records),
        ):
            found[what + name] = report(what + name, decoder, encoder, mapped, batch, score)
    return found


def figures(folder: Path) -> list[Figure]:
    title = "decode, map, score, encode alone, batches of 1,000: "
    return [
        Figure(title + name, times, REQUIRED.get(name), most=True, unit="µs CPU a record")
        for name, times in formats(folder).items()
    ]


if __name__ == "__main__":
    if len(sys.argv) > 1:
        formats(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            formats(Path(temporary))
