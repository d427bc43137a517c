"""What onnxruntime says when it fails, in words for who asked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from gateway.core.errors import DeadlineExceeded, Internal, InvalidArgument, SluiceError

_STATUS: Final = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
_NODE: Final = re.compile(
    r"^Non-zero status code returned while running (\w+) node\. Name:'(.*?)' Status Message: ", re.S
)
#: where in the runtime's source, and in which function, a check failed; with or without the check itself
_ENFORCED: Final = re.compile(
    r"^/\S+:\d+ .*? was false\.?\s*(?=\S)|^/\S+:\d+ [^()]*\(.*?\)(?: const)?(?: \[with [^\]]*\])? ", re.S
)
_FOLDERS: Final = re.compile(r"/(?:[^\s/:'\"]+/)+")
#: Fail and RuntimeException cover everything; these words mean that a kernel refused what it was given.
_DATA: Final = re.compile(
    r"shape|dim|rank|ax[ei]s|broadcast|ind(?:ex|ices)|bound|range|size|length|element|mismatch|must|expect|invalid"
    r"|cast|parse|convert|negative|missing",
    re.I,
)
_RESOURCES: Final = re.compile(r"bad_alloc|allocat", re.I)


def cleaned(error: BaseException, folder: Path | None = None) -> str:
    """The runtime's message without its codes, its source's file names and our folders."""
    text = _STATUS.sub("", str(error)).strip()
    if folder is not None:
        text = text.replace(f"{folder}/", "")
    node = _NODE.match(text)
    text = text[node.end() :] if node else text
    text = _FOLDERS.sub("", _ENFORCED.sub("", text)).strip() or type(error).__name__
    return f"{node[1]} node '{node[2]}': {text}" if node else text


def translated(error: Exception) -> SluiceError:
    if isinstance(error, SluiceError):
        return error
    text = str(error)
    if "terminate flag" in text:
        return DeadlineExceeded("the run was terminated at its limit of time")
    if isinstance(error, UnicodeEncodeError):
        return InvalidArgument("an element of a BYTES input is not valid Unicode")
    in_node = "returned while running" in text
    if "INVALID_ARGUMENT" in text or (in_node and _DATA.search(text) and not _RESOURCES.search(text)):
        return InvalidArgument(cleaned(error))
    return Internal(f"the model failed: {cleaned(error)}")
