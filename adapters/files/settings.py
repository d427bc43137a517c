"""What an operator says of a folder."""

from __future__ import annotations

import fnmatch
import string
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from gateway.core.errors import InvalidArgument
from gateway.core.framing import Bdw, Fixed, Framer, Lines, Rdw, Whole

Framing = Literal["lines", "fixed", "rdw", "bdw", "whole"]


class FilesInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A folder that is watched; folders within it are not."""

    path: Annotated[str, Meta(description="The folder.", min_length=1)]
    pattern: Annotated[str, Meta(description="Names of files to read, as a shell pattern.", min_length=1)] = "*"
    records: Annotated[
        Framing,
        Meta(
            description="Where a record ends: `lines`, `fixed` (of `length` bytes), `rdw` (record descriptor words, as"
            " RECFM=V and VS), `bdw` (these in blocks with descriptors, as RECFM=VB and VBS) or `whole` (the file is"
            " one record)."
        ),
    ] = "lines"
    length: Annotated[int, Meta(description="Bytes of a record, for `records: fixed`.", ge=0)] = 0
    quote: Annotated[
        str, Meta(description="Within this character a line end belongs to the record, as in CSV.", max_length=1)
    ] = ""
    stable_seconds: Annotated[
        float,
        Meta(
            description="A file is whole when its size and time have not changed for so long. 0: at once, for"
            " producers that rename into place.",
            ge=0,
        ),
    ] = 2.0
    marker: Annotated[
        str,
        Meta(
            description="A file `x` is whole when a file `x` plus this is there, `.ok` say; `stable_seconds` then does"
            " not count."
        ),
    ] = ""
    order: Annotated[Literal["time", "name"], Meta(description="Which file comes first: the oldest, or by name.")] = (
        "time"
    )
    after: Annotated[
        Literal["move", "keep", "delete"],
        Meta(description="What becomes of a file when all of its records are done with."),
    ] = "move"
    done: Annotated[
        str, Meta(description="Where to it is moved: a folder in the same file system; relative ones are below `path`.")
    ] = "done"
    poll_seconds: Annotated[float, Meta(description="How often the folder is looked at.", gt=0)] = 0.5
    follow: Annotated[bool, Meta(description="Wait for further files; else the stream ends with the last one.")] = True
    max_record_bytes: Annotated[
        int, Meta(description="A longer record becomes a dead letter, with its beginning.", ge=1)
    ] = 16 << 20
    same_content: Annotated[
        Literal["skip", "read"],
        Meta(
            description="What becomes of a file whose content has been read before, under whatever name: it is not read"
            " again, or is where it is another file."
        ),
    ] = "skip"
    remember: Annotated[int, Meta(description="How many contents are remembered, for `same_content`.", ge=1)] = 100_000

    def framer(self) -> Framer:
        if self.length > self.max_record_bytes:
            raise InvalidArgument(f"files.length is {self.length}, beyond max_record_bytes, {self.max_record_bytes}")
        return framer("files", self.records, self.length, self.quote)

    def takes(self, name: str) -> bool:
        return fnmatch.fnmatchcase(name, self.pattern)


class FilesOutput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A folder that results are written to."""

    path: Annotated[str, Meta(description="The folder; it is made if it is not there.", min_length=1)]
    name: Annotated[
        str,
        Meta(
            description="Name of a file of results. `{name}`, `{stem}` and `{suffix}` are those of the file that was"
            " read; for other inputs the stem is made of pipeline, lane and a number."
        ),
    ] = "{stem}.jsonl"
    records: Annotated[
        Literal["lines", "fixed", "rdw", "bdw"], Meta(description="How records are put one after the other.")
    ] = "lines"
    length: Annotated[int, Meta(description="Bytes of a record, for `records: fixed`.", ge=0)] = 0
    growing: Annotated[
        bool | None,
        Meta(
            description="Whether a file is seen while it grows; else it appears when it is whole. Left out: it grows"
            " where records are only appended, and appears whole where the position is stored with them."
        ),
    ] = None
    rotate_bytes: Annotated[int, Meta(description="A file of this size is ended, and the next one begun.", ge=1)] = (
        128 << 20
    )
    rotate_seconds: Annotated[float, Meta(description="So is one of this age.", gt=0)] = 60.0
    dead_letters: Annotated[
        str,
        Meta(
            description="Folder of the dead letters that share a transaction with the results; relative ones are below"
            " `path`."
        ),
    ] = "dead"

    def framer(self) -> Framer:
        return framer("files", self.records, self.length, "")

    def check(self) -> None:
        """Raises InvalidArgument where the name could not be one."""
        try:
            fields = {field for _, field, _, _ in string.Formatter().parse(self.name) if field is not None}
            sample = self.name.format(name="a.b", stem="a", suffix=".b")
        except (ValueError, IndexError, KeyError) as error:
            raise InvalidArgument(f"files.name: '{self.name}' cannot be filled in: {error}") from error
        if not fields & {"name", "stem"}:
            raise InvalidArgument(f"files.name: '{self.name}' is the same for each file, expected {{name}} or {{stem}}")
        if "/" in sample or sample.startswith("."):
            raise InvalidArgument(f"files.name: '{self.name}', expected a name without '/' that is not hidden")


def framer(where: str, records: Framing, length: int, quote: str) -> Framer:
    if (records == "fixed") != (length > 0):
        raise InvalidArgument(
            f"{where}.length is {length} and {where}.records is '{records}': a length goes with fixed records, and only"
            " with them"
        )
    if quote and records != "lines":
        raise InvalidArgument(f"{where}.quote goes with lines, and {where}.records is '{records}'")
    match records:
        case "lines":
            return Lines(quote=quote)
        case "fixed":
            return Fixed(length)
        case "rdw":
            return Rdw()
        case "bdw":
            return Bdw()
        case "whole":
            return Whole()
