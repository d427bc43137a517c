"""The gateway that the demo serves with: the real one, as a process of its own, and a client of it."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import yaml

from gateway.client import Client
from gateway.core.errors import SluiceError, Unavailable
from gateway.settings import find_token, load

#: seconds
START: Final = 30.0
STOP: Final = 40.0


class Server:
    """``sluice serve`` on 127.0.0.1. ``with`` starts it, waits until it is ready, and ends it."""

    def __init__(self, folder: Path, http_port: int, admin_port: int, grpc_port: int | str = "off") -> None:
        self.http_port = http_port
        self.config = folder / "sluice.yaml"
        self.url = f"http://127.0.0.1:{http_port}"
        self.admin_url = f"http://127.0.0.1:{admin_port}"
        self._settings = {
            "models": str(folder / "models"),
            "state": str(folder / "state"),
            "host": "127.0.0.1",
            "http_port": http_port,
            "grpc_port": grpc_port,
            "admin_port": admin_port,
        }
        self._log = folder / "gateway.log"
        self._process: subprocess.Popen[bytes]
        self._admin: Client

    def __enter__(self) -> Self:
        """Raises Unavailable with the last line of its log, if it ends or does not come up."""
        self.config.write_text(yaml.safe_dump(self._settings))
        command = [sys.executable, "-m", "gateway.cli", "serve", "--config", str(self.config)]
        # what the user has set for a gateway of their own is not for this one
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
        with self._log.open("wb") as log:
            # in a group of its own: Ctrl-C is for the demo, which then ends the server in good order
            self._process = subprocess.Popen(  # noqa: S603
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0
            )
        try:
            self._wait_ready()
        except BaseException:
            self._stop()
            raise
        self._admin = Client(self.admin_url, find_token(load(str(self.config), {})))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def split(self, model: str, weights: dict[str, int]) -> None:
        self._admin.call("PUT", f"/admin/v1/splits/{model}", {"weights": weights})

    def wait(self) -> None:
        """Until it ends by itself, which is an error."""
        self._process.wait()
        raise Unavailable(self._ended())

    def _wait_ready(self) -> None:
        client = Client(self.url, timeout=2.0)
        deadline = time.monotonic() + START
        while self._process.poll() is None:
            try:
                client.send("GET", "/v2/health/ready")
            except SluiceError:
                if time.monotonic() > deadline:
                    raise Unavailable(f"the server was not ready after {START:.0f} s; see {self._log}") from None
                time.sleep(0.02)
            else:
                return
        raise Unavailable(self._ended())

    def _ended(self) -> str:
        lines = self._log.read_text(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
        return f"the server ended with code {self._process.returncode}: {last.strip()}"

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Caller:
    """A client with one connection that stays open, as an application's would."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10.0)

    def predict(self, model: str, row: list[float]) -> tuple[str, int, float]:
        """Returns the version that answered, the class that it found, and the seconds that it took."""
        body = json.dumps(request(row))
        began = time.perf_counter()
        try:
            headers = {"Content-Type": "application/json"}
            self._connection.request("POST", f"/v2/models/{model}/infer", body, headers)
            response = self._connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"no answer from the server: {error}") from error
        seconds = time.perf_counter() - began
        if response.status != 200:
            raise Unavailable(f"{model} answered {response.status}: {content[:200].decode(errors='replace')}")
        document = json.loads(content)
        return document["model_version"], int(document["outputs"][0]["data"][0]), seconds

    def close(self) -> None:
        self._connection.close()


def request(row: list[float]) -> dict[str, Any]:
    """The body of an infer request for one row."""
    return {"inputs": [{"name": "X", "shape": [1, len(row)], "datatype": "FP32", "data": row}]}
