"""What the models of a gateway that runs take and give, by its REST port."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from gateway.client import Client, Refused
from gateway.core.errors import InvalidArgument, NotFound
from gateway.core.signature import Signature
from gateway.core.tensor import DATA_TYPES, TensorSpec


class RemoteSignatures:
    """As `pipeline.signatures.Signatures`, of the version that would answer now."""

    def __init__(self, client: Client) -> None:
        self._client: Final = client

    def of(self, model: str, version: str) -> dict[str, Signature]:
        """By the version's number. Raises NotFound, Unavailable."""
        path = f"/v2/models/{quote(model, safe='')}"
        if version:
            path += f"/versions/{quote(version, safe='')}"
        try:
            found = self._client.call("GET", path)
            config = self._client.call("GET", f"{path}/config")
        except Refused as error:
            raise NotFound(f"{self._client.url}: {error.message}") from error
        number = version or ", ".join(found.get("versions", ()))
        most = int(config.get("max_batch_size", 0))
        signature = Signature(_specs(found["inputs"]), _specs(found["outputs"]), batched=most > 0)
        return {number: signature}


def _specs(tensors: list[dict[str, Any]]) -> list[TensorSpec]:
    for tensor in tensors:
        if tensor["datatype"] not in DATA_TYPES:
            raise InvalidArgument(f"tensor '{tensor['name']}' is of type {tensor['datatype']}, which is not known here")
    return [TensorSpec(t["name"], DATA_TYPES[t["datatype"]], tuple(t["shape"])) for t in tensors]
