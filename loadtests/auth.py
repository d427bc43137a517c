"""What it costs to say who asks: an API key with every request of T, beside the same without, interleaved.

`python -m loadtests.auth [--quick]` writes results/auth.md and auth.json.
"""

from __future__ import annotations

import argparse
import json
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.jwk import RSAKey

from loadtests.bench import TREE_SETTINGS, Bench, prepare
from loadtests.contenders import Folder, Sluice
from loadtests.load import Request
from loadtests.process import ROOT
from loadtests.report import Figure, Report

#: policies that fit other callers, as a gateway with some clients has them
OTHERS = [{"who": f"key:client-{number}", "allow": ["infer"], "models": [f"m{number}-*"]} for number in range(20)]
REQUIRED = 0.93


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests.auth", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few and short rounds: a look, no evidence")
    arguments = parser.parse_args()
    folder = prepare()
    report = Report("What it costs to say who asks")
    bench = Bench(folder, report, rounds=2 if arguments.quick else 7, seconds=1 if arguments.quick else 2)
    for connections in (64, 1):
        _compare(bench, folder, connections)
    path: Path = report.write("auth")
    print(report.table(), f"\nwritten to {path.relative_to(ROOT)}")


def _compare(bench: Bench, folder: Folder, connections: int) -> None:
    with ExitStack() as stack:
        tree = folder.path / "tree"
        token = _issued(folder)
        opened = stack.enter_context(Sluice(folder, tree, TREE_SETTINGS, "open"))
        closed = stack.enter_context(Sluice(folder, tree, {**TREE_SETTINGS, "auth": _settings(folder)}, "closed"))
        request = folder.request(opened.infer("T"), "T")
        asked = {
            "open": (opened, request),
            "API key": (closed, Request(closed.infer("T"), request.body, token=_key(closed))),
            "JWT": (closed, Request(closed.infer("T"), request.body, token=token)),
            "open, heads that differ": (opened, Request(request.url, request.body, fresh=True)),
            "API key, heads that differ": (
                closed,
                Request(closed.infer("T"), request.body, token=_key(closed), fresh=True),
            ),
        }
        for name, (_, each) in asked.items():
            assert each.send()[0] == 200, name
        samples = bench.interleave(f"T, {connections} connections", asked, connections)
    for name, beside, required in (
        ("API key", "open", REQUIRED),
        ("JWT", "open", None),
        ("API key, heads that differ", "open, heads that differ", None),
    ):
        ours, theirs = samples[name], samples[beside]
        rates = [a.rate / b.rate for a, b in zip(ours, theirs, strict=True)]
        costs = [b.cpu / a.cpu for a, b in zip(ours, theirs, strict=True)]
        title = f"T, {connections} connections: {name} / {beside}"
        bench.report.figures += [Figure(title, rates, required), Figure("the same by CPU a request", costs)]


def _settings(folder: Folder) -> dict[str, Any]:
    return {
        "policies": [*OTHERS, {"who": "jwt:bench", "allow": ["infer"], "models": ["T"]}],
        "jwt": {"issuer": "bench", "audience": ["sluice"], "jwks_file": str(folder.scratch / "jwks.json")},
    }


def _issued(folder: Folder) -> str:
    """A token, whose issuer's key is in a file."""
    key = RSAKey.generate_key(2048)
    document = {"keys": [{**key.as_dict(private=False), "kid": "k"}]}
    (folder.scratch / "jwks.json").write_text(json.dumps(document))
    claims = {"iss": "bench", "aud": "sluice", "sub": "bench", "exp": 4e9}
    return jwt.encode({"alg": "RS256", "kid": "k"}, claims, key, algorithms=["RS256"])


def _key(server: Sluice) -> str:
    request = urllib.request.Request(
        f"{server.admin_url}/admin/v1/keys",
        json.dumps({"name": "bench", "allow": ["infer:T"]}).encode(),
        {"Authorization": "Bearer bench"},
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        found: str = json.loads(reply.read())["key"]
        return found


if __name__ == "__main__":
    main()
