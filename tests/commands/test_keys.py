"""`sluice keys`, and a key in the hands of other commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from gateways import put, running
from small_models import affine

from gateway.cli import run

TOKEN = "t0ken"


def test_a_key_from_its_making_to_its_end(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def sluice(*arguments: str) -> tuple[int, str, str]:
        code = run(arguments)
        return code, *capfd.readouterr()

    put(tmp_path / "models", "affine", 1, affine(2.0))
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps({"x": [[1.0, 2.0, 3.0, 4.0]]}))
    with running(tmp_path / "models", tmp_path / "state", admin_token=TOKEN) as server:
        monkeypatch.setenv("SLUICE_ADMIN_URL", server.admin)
        monkeypatch.setenv("SLUICE_ADMIN_TOKEN", TOKEN)
        monkeypatch.setenv("SLUICE_URL", server.rest)
        infer = ("infer", "affine", "--input", str(rows))
        assert sluice("keys", "list") == (0, "", "no keys\n")
        assert sluice(*infer)[0] == 0

        code, key, said = sluice(
            "keys", "create", "ann", "--allow", "infer:aff*", "--allow", "read", "--expires", "12h"
        )
        assert code == 0
        assert key.startswith("sluice_")
        assert "only time that the key is shown" in said
        assert "It is the first key: from now on REST and gRPC answer nobody without credentials." in said

        code, _, said = sluice(*infer)
        assert code == 1
        assert "credentials are needed" in said
        assert sluice(*infer, "--api-key", key.strip())[0] == 0
        monkeypatch.setenv("SLUICE_API_KEY", key.strip())
        assert sluice(*infer)[0] == 0
        # the key is for readers of the admin port, too, and for no more
        assert sluice("models", "list", "--token", key.strip())[0] == 0
        code, _, said = sluice("keys", "list", "--token", key.strip())
        assert code == 1
        assert "'key:ann' may not 'admin'" in said

        code, listed, _ = sluice("keys", "list")
        assert "ann" in listed
        assert "infer:aff* read:*" in listed
        assert key.strip().rpartition("_")[2] not in listed
        (view,) = _json(sluice("keys", "list", "--json"))["keys"]
        assert (view["state"], view["name"], view["id"]) == ("good", "ann", key.split("_")[1])

        second = _json(sluice("keys", "create", "bob", "--json"))
        assert second["first"] is False
        assert sluice("keys", "revoke", "ann")[0] == 0
        assert sluice(*infer)[0] == 1
        assert sluice("keys", "revoke", "ann")[0] == 1
        assert sluice("keys", "revoke", second["id"])[0] == 0
        assert sluice(*infer, "--api-key", "")[0] == 1, "the gateway does not open again by itself"
        said = sluice("audit")[1]
        assert said.count("key.create") == said.count("key.revoke") == 2


@pytest.mark.parametrize("span", ["0d", "90", "d", "1y", "-1d", "1.5h"])
def test_spans_that_are_none(span: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "create", "ann", "--expires", span, "--admin-url", "http://127.0.0.1:1"]) == 2
    assert "expected a span as in 12h, 90d or 52w" in capfd.readouterr().err


def _json(done: tuple[int, str, str]) -> Any:
    assert done[0] == 0, done
    return json.loads(done[1])
