"""What it costs to say who asks: an API key with every request of T, beside a server that is open.

`python -m loadtests.auth [--quick]` writes results/auth.md and auth.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.request
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from loadtests.bench import TREE_SETTINGS, prepare
from loadtests.contenders import Folder, Sluice
from loadtests.load import Request, Sample, apply
from loadtests.process import ROOT
from loadtests.report import Figure, Report

REQUIRED = 0.93
CONNECTIONS = (64, 1)
#: keys of others, as a gateway with some clients has them
OTHERS = 20

Asked = tuple[Sluice, Request]
Pairs = list[tuple[Sample, Sample]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests.auth", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few starts: a look, no evidence")
    arguments = parser.parse_args()
    folder = prepare()
    report = Report("What it costs to say who asks")
    found: dict[int, Pairs] = {connections: [] for connections in CONNECTIONS}
    for number in range(2 if arguments.quick else 5):
        _measure(folder, found)
        told = ", ".join(f"{each} connections {pairs[-1][0].rate:,.0f}/s" for each, pairs in found.items())
        print(f"start {number + 1}: {told}", file=sys.stderr)
    for connections, pairs in found.items():
        title = f"T, {connections} connections"
        report.samples[title] = {"API key": [ours for ours, _ in pairs], "open": [theirs for _, theirs in pairs]}
        rates = [ours.rate / theirs.rate for ours, theirs in pairs]
        costs = [theirs.cpu / ours.cpu for ours, theirs in pairs]
        report.figures += [
            Figure(f"{title}: API key / open", rates, REQUIRED),
            Figure("the same by CPU a request", costs),
        ]
    report.notes.append(
        "Two processes of the same server differ by more than a key costs: both are started anew every four rounds."
    )
    path: Path = report.write("auth")
    print(report.table(), f"\nwritten to {path.relative_to(ROOT)}")


def _measure(folder: Folder, found: dict[int, Pairs]) -> None:
    """One start of both, short rounds by turns: what the machine does meanwhile meets both alike."""
    with ExitStack() as stack:
        opened, closed = (
            stack.enter_context(Sluice(folder, folder.path / "tree", TREE_SETTINGS, name))
            for name in ("open", "closed")
        )
        request = folder.request(opened.infer("T"), "T")
        asked: list[Asked] = [
            (closed, replace(request, url=closed.infer("T"), token=_keys(closed))),
            (opened, request),
        ]
        for each in asked:
            apply(*each, 64, 1)
        for connections, pairs in found.items():
            for number in range(4):
                turns = asked if number % 2 else asked[::-1]
                samples = {server.name: apply(server, sent, connections, 1) for server, sent in turns}
                pairs.append((samples["closed"], samples["open"]))


def _keys(server: Sluice) -> str:
    """The key of this client, after those of others."""
    for number in range(OTHERS):
        _key(server, f"client-{number}", f"infer:m{number}-*")
    return _key(server, "bench", "infer:T")


def _key(server: Sluice, name: str, allow: str) -> str:
    request = urllib.request.Request(
        f"{server.admin_url}/admin/v1/keys",
        json.dumps({"name": name, "allow": [allow]}).encode(),
        {"Authorization": "Bearer bench"},
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        found: str = json.loads(reply.read())["key"]
        return found


if __name__ == "__main__":
    main()
