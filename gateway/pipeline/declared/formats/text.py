"""Settings that formats of characters share."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

Delimiter = Annotated[str, Meta(description="One ASCII character between two fields.")]
Quote = Annotated[str, Meta(description="One ASCII character round a field that holds delimiters or line ends.")]
Charset = Annotated[str, Meta(description="ascii, latin-1, or an EBCDIC code page such as cp037, cp500, cp1140.")]
