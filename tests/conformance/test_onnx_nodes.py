"""The ONNX standard's node tests: what onnxruntime answers in this process, a server answers over HTTP.

https://github.com/onnx/onnx/blob/main/docs/OnnxBackendTest.md
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conformance.nodes import LEAST_BINARY, ULPS, Case, served
from conformance.oip import Client, same
from gateways import Server

LEAST_JSON = 1530


@pytest.fixture(scope="module")
def client(node_server: Server) -> Iterator[Client]:
    client = Client(node_server.rest)
    yield client
    client.close()


@pytest.mark.parametrize(("binary", "least"), [(True, LEAST_BINARY), (False, LEAST_JSON)], ids=["binary", "json"])
def test_answers_are_those_of_onnxruntime(
    cases: list[Case], client: Client, binary: bool, least: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def unfit(case: Case) -> str:
        return "FP16 and BF16 travel in binary only" if not binary and case.has_halves else ""

    how = "in binary" if binary else "in JSON"
    assert served(cases, how, unfit, lambda case: _difference(client, case, binary), capsys) >= least


def _difference(client: Client, case: Case, binary: bool) -> str:
    """What is wrong with the server's answer; "" if nothing."""
    parameters = {"parameters": {"binary_data_output": True}} if binary else {}
    reply = client.infer(case.name, case.feeds, binary=binary, **parameters)
    if reply.status != 200:
        return f"{reply.status} {reply.error}"
    outputs = reply.outputs()
    if [*outputs] != [*case.expected]:
        return f"outputs {[*outputs]} instead of {[*case.expected]}"
    for name, expected in case.expected.items():
        if not same(outputs[name], expected, ulps=ULPS):
            return f"{name} is {outputs[name]!r} instead of {expected!r}"
    return ""


def test_a_model_that_is_not_served_says_why(cases: list[Case], client: Client) -> None:
    index = {entry["name"]: entry for entry in client.post("/v2/repository/index", b"", {}).document}
    for case in cases:
        entry = index[case.name]
        if not case.skipped or case.skipped == "onnxruntime does not run it":
            assert entry["state"] == "READY", entry
        elif case.skipped.startswith("the protocol has no"):
            assert entry["state"] == "UNAVAILABLE"
            assert case.skipped.rpartition(" ")[2] in entry["reason"], entry
        elif "does not load" in case.skipped:
            assert entry["state"] == "UNAVAILABLE"
            assert entry["reason"]
