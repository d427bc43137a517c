"""What a format is made for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.codecs.records.columns import Field
from gateway.core.errors import InvalidArgument
from gateway.core.signature import Signature


@dataclass(frozen=True, slots=True)
class Target:
    """What a format is made for.

    fields   what the decoder is to read
    folder   of the stream's file, which the files that it names are relative to
    """

    model: str
    signature: Signature
    fields: Sequence[Field]
    folder: Path

    def read(self, name: str) -> bytes:
        """A file that the format names. Raises InvalidArgument."""
        try:
            return (self.folder / name).read_bytes()
        except OSError as error:
            raise InvalidArgument(f"file '{self.folder / name}' cannot be read: {error.strerror}") from error
