"""Compiles protos/*.proto into gateway/pb/descriptors.binpb, the one FileDescriptorSet that gateway.pb reads.

    python protos/generate.py            write it
    python protos/generate.py --check    exit with 1 if the committed one is not what the .proto files say

A set of descriptors, and no generated modules: those would register themselves in protobuf's default pool,
where tritonclient registers its own of the same names. Needs grpcio-tools; the server does not.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

PROTOS = Path(__file__).resolve().parent
TARGET = PROTOS.parent / "gateway" / "pb" / "descriptors.binpb"


def compiled() -> bytes:
    """The descriptors, serialized so that the bytes do not depend on protoc's version."""
    from google.protobuf.descriptor_pb2 import FileDescriptorSet
    from grpc_tools import protoc  # type: ignore[import-untyped,unused-ignore]

    files = sorted(path.name for path in PROTOS.glob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.binpb"
        well_known = Path(protoc.__file__).parent / "_proto"
        status = protoc.main(
            [
                "protoc",
                f"-I{PROTOS}",
                f"-I{well_known}",
                "--include_imports",
                f"--descriptor_set_out={out}",
                *files,
            ]
        )
        if status:
            raise SystemExit(status)
        found: bytes = FileDescriptorSet.FromString(out.read_bytes()).SerializeToString(deterministic=True)
        return found


def main(arguments: list[str]) -> int:
    fresh = compiled()
    if arguments == ["--check"]:
        if TARGET.is_file() and TARGET.read_bytes() == fresh:
            return 0
        print(f"{TARGET} is not what protos/*.proto say: run `make protos`", file=sys.stderr)
        return 1
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    TARGET.write_bytes(fresh)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
