"""The limit that REST is measured against: uvicorn with an app that reads the body and answers a fixed reply.

`python raw_asgi.py PORT REPLY`, where REPLY is a file.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import uvicorn

REPLY = Path(sys.argv[2]).read_bytes()
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(REPLY)).encode())],
}
BODY = {"type": "http.response.body", "body": REPLY}


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    await send(START)
    await send(BODY)


if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="warning",
    )
