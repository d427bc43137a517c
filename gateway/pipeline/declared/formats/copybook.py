"""Records as a COBOL program has them."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, Struct

from gateway.codecs.records.columns import Decoder, Encoder
from gateway.pipeline.declared.formats.names import Names, sources
from gateway.pipeline.declared.formats.target import Target
from gateway.pipeline.declared.formats.text import Charset


class Copybook(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    copybook: Annotated[str, Meta(min_length=1, description="File with the COBOL text of the record.")]
    record: Annotated[str, Meta(description="Its item of level 01, where the copybook has several.")] = ""
    source: Annotated[
        Literal["auto", "fixed", "free"], Meta(description="Whether the text has COBOL's columns 1 to 72.")
    ] = "auto"
    replacing: Annotated[dict[str, str], Meta(description="What stands for which text, as in COPY … REPLACING.")] = {}
    slide: Annotated[
        bool, Meta(description="What follows a variable table lies right behind its last element, as on z/OS.")
    ] = True
    encoding: Charset = "cp037"
    floats: Annotated[
        Literal["", "ibm", "ieee-big", "ieee-little"],
        Meta(description="COMP-1 and COMP-2. Empty: `ibm` in EBCDIC, else `ieee-little`."),
    ] = ""
    native: Annotated[
        Literal["", "big", "little"], Meta(description="COMP-5. Empty: `big` in EBCDIC, else `little`.")
    ] = ""
    overpunched: Annotated[bool, Meta(description="Signs in ASCII as GnuCOBOL's -fsign=EBCDIC writes them.")] = False
    blanks: Annotated[
        bool,
        Meta(
            description="A number of blanks, LOW-VALUES or HIGH-VALUES alone is missing, else an error; LOW-VALUES"
            " behind a text are left out."
        ),
    ] = False

    def layout(self, target: Target) -> Any:
        from gateway.codecs.records.copybook.layout import RecordLayout
        from gateway.codecs.records.copybook.library import Library

        file = target.folder / self.copybook
        return RecordLayout.read(
            target.read(self.copybook).decode("utf-8", "replace"),
            record=self.record,
            format=self.source,
            replacing=self.replacing or None,
            slide=self.slide,
            name=file.name,
            texts=Library(file.parent),
        )

    def conventions(self) -> Any:
        from gateway.codecs.records.copybook.form import Conventions

        return Conventions(self.encoding, self.floats, self.native, self.overpunched, self.blanks)


class CopybookDecode(Copybook, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Records of a COBOL copybook; what of COBOL is read is listed in docs/copybooks.md."""

    documents: ClassVar[bool] = False

    def open(self, target: Target) -> Decoder:
        from gateway.codecs.records.copybook.decoder import CopybookDecoder

        return CopybookDecoder(self.layout(target), target.fields, self.conventions())


class CopybookEncode(Copybook, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Records of a COBOL copybook; fields that are not written are blank or zero."""

    fields: Names

    def open(self, target: Target) -> Encoder:
        from gateway.codecs.records.copybook.encoder import CopybookEncoder

        return CopybookEncoder(self.layout(target), sources(self), self.conventions())
