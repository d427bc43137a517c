"""`sluice infer`: a first prediction, without writing a client."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from gateway.client import Client, Reply
from gateway.codecs.binary import decode_raw, encode_raw
from gateway.commands.connection import PATIENCE, client
from gateway.commands.output import json_option, print_json, print_table
from gateway.commands.rows import as_numbers, batches, read_rows
from gateway.core.errors import Unavailable
from gateway.core.tensor import DATA_TYPES, Array, TensorSpec
from gateway.settings import Settings, load

_HEAD = "Inference-Header-Content-Length"


@click.command()
@click.argument("model")
@click.option(
    "--input", "file", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Rows: .csv or .tsv, .json, .npy or .npz.",
)  # fmt: skip
@click.option("--version", "version", default="", help="A version or a label; else the split decides.")
@click.option("--key", default="", help="What the split sticks to.")
@click.option("--columns", default="", help="Columns of the table to take, by commas; else all.")
@click.option("--batch-size", type=click.IntRange(0), default=0, help="Rows in a request; 0 for all in one.")
@click.option("--url", metavar="URL", help="Where the REST port is. [SLUICE_URL]")
@click.option("--api-key", metavar="TEXT", help="An API key, or a token. [SLUICE_API_KEY]")
@click.option("--ca-file", metavar="FILE", help="Who signed the server's certificate. [SLUICE_CA_FILE]")
@click.option("--config", metavar="FILE", help="The gateway's settings file. [SLUICE_CONFIG]")
@json_option
def command(
    model: str,
    file: Path,
    version: str,
    key: str,
    columns: str,
    batch_size: int,
    url: str | None,
    api_key: str | None,
    ca_file: str | None,
    config: str | None,
    as_json: bool,
) -> None:
    """Send rows from a file to a model: sluice infer fraud --input rows.csv

    A .csv with a header: columns go to inputs by name, or all of them are the features of the only input.
    """
    url = url or os.environ.get("SLUICE_URL") or _url_of(load(config or os.environ.get("SLUICE_CONFIG"), os.environ))
    api_key = api_key or os.environ.get("SLUICE_API_KEY", "")
    server = client("--url", url, api_key, ca_file or os.environ.get("SLUICE_CA_FILE", ""), PATIENCE)
    path = f"/v2/models/{quote(model, safe='')}" + (f"/versions/{quote(version, safe='')}" if version else "")
    specs = inputs_of(server.call("GET", path))
    inputs = read_rows(file, specs, [name for name in columns.split(",") if name])
    for batch in batches(inputs, batch_size):
        began = time.perf_counter()
        response, outputs = infer(server, path, batch, key)
        took = time.perf_counter() - began
        if as_json:
            _print_json(response, outputs)
        else:
            answered = f"{response['model_name']} version {response['model_version']}"
            click.echo(f"{answered}, {took * 1000:.1f} ms", err=True)
            _print_table(outputs)


def inputs_of(metadata: Mapping[str, Any]) -> dict[str, TensorSpec]:
    return {
        tensor["name"]: TensorSpec(tensor["name"], DATA_TYPES[tensor["datatype"]], tuple(tensor["shape"]))
        for tensor in metadata["inputs"]
    }


def infer(
    server: Client, path: str, inputs: Mapping[str, Array], key: str = ""
) -> tuple[dict[str, Any], dict[str, Array]]:
    """The response's JSON and its outputs. Both ways in binary: exact, and the only form of FP16 and BF16."""
    blobs = {name: bytes(encode_raw(array)) for name, array in inputs.items()}
    head = json.dumps(
        {
            "inputs": [
                {
                    "name": name,
                    "shape": list(array.shape),
                    "datatype": _datatype(array),
                    "parameters": {"binary_data_size": len(blobs[name])},
                }
                for name, array in inputs.items()
            ],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    headers = {"Content-Type": "application/octet-stream", _HEAD: str(len(head))}
    if key:
        headers["sluice-key"] = key
    return _decode(server.send("POST", path + "/infer", head + b"".join(blobs.values()), headers))


def _datatype(array: Array) -> str:
    return next(t.name for t in DATA_TYPES.values() if t.dtype == array.dtype)


def _decode(reply: Reply) -> tuple[dict[str, Any], dict[str, Array]]:
    size = int(reply.headers.get(_HEAD.lower(), len(reply.body)))
    document: dict[str, Any] = reply._replace(body=reply.body[:size]).json()
    blobs = memoryview(reply.body)[size:]
    outputs: dict[str, Array] = {}
    for output in document["outputs"]:
        length = output.pop("parameters", {}).get("binary_data_size")
        if length is None:
            raise Unavailable(f"output '{output['name']}' did not come in binary")
        datatype = DATA_TYPES[output["datatype"]]
        outputs[output["name"]] = decode_raw(output["name"], datatype, output["shape"], blobs[:length])
        blobs = blobs[length:]
    return document, outputs


def _print_json(response: dict[str, Any], outputs: Mapping[str, Array]) -> None:
    for output in response["outputs"]:
        output["data"] = as_numbers(outputs[output["name"]]).reshape(-1).tolist()
    print_json(response)


def _print_table(outputs: Mapping[str, Array]) -> None:
    """A line for each row where all outputs have the same number of rows, else a line for each output."""
    lengths = {array.shape[0] if array.ndim else -1 for array in outputs.values()}
    if len(lengths) == 1 and -1 not in lengths:
        columns, cells = ["row"], [list(range(lengths.pop()))]
        for name, array in outputs.items():
            flat = as_numbers(array).reshape(len(array), -1)
            columns += [name] if flat.shape[1] == 1 else [f"{name}[{i}]" for i in range(flat.shape[1])]
            cells += [flat[:, i].tolist() for i in range(flat.shape[1])]
        print_table(columns, list(zip(*cells, strict=True)), "no rows")
        return
    rows: list[Sequence[Any]] = [
        (name, list(array.shape), str(as_numbers(array).reshape(-1).tolist())) for name, array in outputs.items()
    ]
    print_table(("output", "shape", "values"), rows, "no outputs")


def _url_of(settings: Settings) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104
    return f"{'https' if settings.tls.cert else 'http'}://{host}:{settings.http_port}"
