"""Many requests on a connection, and clients that leave: order, cancellation, deadlines."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any

import httpx
from gateways import Server
from rawhttp import Raw, chunked, infer, request, tensor

GOOD = infer("affine", tensor("x", [1, 4], "FP32", [1, 2, 3, 4]))
BODY = GOOD.partition(b"\r\n\r\n")[2]
#: some seconds, of which a test waits for no more than it says
LONG = 3000


def laps(count: int, **document: object) -> bytes:
    return infer("laps", tensor("n", [], "INT64", [count]), **document)


def row(number: int) -> bytes:
    return infer("affine", tensor("x", [1, 4], "FP32", [number] * 4), id=str(number))


def statistics(gateway: Server, model: str = "laps") -> Any:
    return httpx.get(f"{gateway.rest}/v2/models/{model}/stats").json()["model_stats"][0]


def until(condition: Any, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def failures(gateway: Server) -> int:
    return int(statistics(gateway)["inference_stats"]["fail"]["count"])


def executions(gateway: Server) -> int:
    return int(statistics(gateway)["execution_count"])


def test_a_thousand_at_once_are_answered_in_order(gateway: Server) -> None:
    with Raw(gateway.host) as client:
        client.send(b"".join(row(number) for number in range(1000)))
        for number in range(1000):
            reply = client.reply().json
            assert (reply["id"], reply["outputs"][0]["data"]) == (str(number), [2 * number] * 4)


def test_pieces_of_any_size_make_the_same_requests(gateway: Server) -> None:
    """Heads that are known, and heads that are not, cut anywhere."""
    data = b"".join(
        row(number) if number % 3 else chunked("/v2/models/affine/infer", BODY[:7], BODY[7:]) for number in range(60)
    )
    for step in (1, 2, 3, 5, 17, 64, 191, 1000):
        with Raw(gateway.host) as client:
            client.slowly(data, step) if step > 1 else client.slowly(data[:900]).send(data[900:])
            found = [client.reply().json.get("id") for _ in range(60)]
        assert found == [str(number) if number % 3 else None for number in range(60)]


def test_large_bodies_one_after_the_other(gateway: Server) -> None:
    """The end of one and the beginning of the next arrive together."""
    rows = 20_000
    blob = b"\0" * rows * 16
    asked = (
        '{"inputs":[{"name":"x","shape":[%d,4],"datatype":"FP32","parameters":{"binary_data_size":%d}}],"outputs":[]}'
    )
    document = (asked % (rows, len(blob))).encode()
    one = request(
        "/v2/models/affine/infer",
        document + blob,
        f"Inference-Header-Content-Length: {len(document)}",
        "X-Long: " + "a" * 900,
    )
    with Raw(gateway.host) as client:
        for _ in range(4):
            client.send(one + GOOD + one[:-1000])
            client.send(one[-1000:] + GOOD)
            sizes = [len(client.reply().json["outputs"][0]["data"]) for _ in range(4)]
            assert sizes == [rows * 4, 4, rows * 4, 4]


def test_fast_requests_wait_for_slow_ones_before_them(gateway: Server) -> None:
    with Raw(gateway.host) as client:
        client.send(
            laps(150, id="slow") + row(1) + request("/v2", method="GET") + laps(5, id="less") + row(2) + infer("none")
        )
        replies = [client.reply() for _ in range(6)]
        assert [reply.status for reply in replies] == [200, 200, 200, 200, 200, 404]
        assert [replies[at].json["id"] for at in (0, 1, 3, 4)] == ["slow", "1", "less", "2"]
        assert replies[2].json["name"] == "sluice"


def test_a_request_whose_client_vanished_never_runs(gateway: Server) -> None:
    with ExitStack() as stack:
        first, *others = (stack.enter_context(Raw(gateway.host)) for _ in range(11))
        first.send(laps(3000))
        until(lambda: busy(gateway))
        before, failed = executions(gateway), failures(gateway)
        for number, client in enumerate(others):
            client.send(laps(LONG) * (1 + number % 2))
        until(lambda: pending(gateway) == 15)
        for number, client in enumerate(others):
            client.vanish() if number % 3 else client.socket.close()
        until(lambda: failures(gateway) == failed + 15)
        assert pending(gateway) == 0
        assert first.reply().status == 200
        assert first.send(laps(1)).reply().status == 200
    assert executions(gateway) == before + 2


def pending(gateway: Server) -> int:
    text = httpx.get(f"{gateway.admin}/metrics").text
    line = next(
        line for line in text.splitlines() if line.startswith('nv_inference_pending_request_count{model="laps"')
    )
    return int(float(line.split()[-1]))


def busy(gateway: Server) -> bool:
    """The model's only instance is at work: what one sends to it now waits, as this one does, and gives up."""
    with Raw(gateway.host) as probe:
        probe.send(laps(1, parameters={"timeout": 1}))
        return probe.reply().status == 503


def test_one_that_vanished_while_it_ran_harms_nobody(gateway: Server) -> None:
    for _ in range(3):
        client = Raw(gateway.host)
        client.send(laps(20) + GOOD + request("/v2", method="GET"))
        client.vanish()
    with Raw(gateway.host) as last:
        assert last.send(laps(1)).reply().status == 200


def test_clients_that_vanish_anywhere(gateway: Server) -> None:
    data = chunked("/v2/models/affine/infer", BODY[:30], BODY[30:]) + GOOD + request("/v2/models/affine", method="GET")
    for at in range(0, len(data), 7):
        client = Raw(gateway.host)
        client.send(data[:at])
        client.vanish() if at % 2 else client.socket.close()


def test_what_waits_too_long_is_told_so_and_never_runs(gateway: Server) -> None:
    with Raw(gateway.host) as first, Raw(gateway.host) as second:
        first.send(laps(3000))
        until(lambda: busy(gateway))
        before = executions(gateway)
        began = time.monotonic()
        reply = second.send(laps(LONG, parameters={"timeout": 50_000})).reply()
        assert (reply.status, reply.error) == (503, "Request timeout expired")
        assert time.monotonic() - began < 0.7
        assert first.reply().status == 200
    assert executions(gateway) == before + 1


def test_requests_of_one_client_that_expire_apart_are_answered_in_order(gateway: Server) -> None:
    with Raw(gateway.host) as client:
        client.send(
            laps(3000, id="a")
            + laps(LONG, parameters={"timeout": 60_000})
            + laps(LONG, parameters={"timeout": 20_000})
            + laps(1, id="b", parameters={"timeout": 10**15})
            + row(3)
        )
        assert [client.reply().status for _ in range(5)] == [200, 503, 503, 200, 200]
