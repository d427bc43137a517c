"""config.pbtxt and the config of a load call: Triton's ModelConfig message as text or as JSON."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from gateway import pb
from gateway.core.errors import InvalidArgument
from gateway.models.config.file import read
from gateway.models.config.message import translate
from gateway.models.config.model import ModelConfig

CONFIG_FILE: Final = "config.pbtxt"
MAX_CONFIG_BYTES: Final = 4 << 20

#: for telling `max_batch_size: 0` from no max_batch_size: the message cannot
_STRING_OR_COMMENT: Final = re.compile(r"""#[^\n]*|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'""")
_MAX_BATCH_SIZE: Final = re.compile(r"(?<![\w.])max_batch_size\s*:")


def read_config(folder: Path) -> ModelConfig:
    """The config of a model's folder, empty where it has no config.pbtxt. Logs what it ignores.

    Raises InvalidArgument that names the file, and the line and column or the field.
    """
    found = read(folder, CONFIG_FILE, MAX_CONFIG_BYTES)
    if found is None:
        return ModelConfig(name=folder.name)
    source = f"{folder.name}/{CONFIG_FILE}"
    try:
        text = found.decode()
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"{source} is not UTF-8 at byte {error.start}") from error
    return parse_text(text, folder.name, source)


def parse_text(text: str, name: str, source: str = CONFIG_FILE) -> ModelConfig:
    """A config in protobuf's text format, for the model of that name."""
    from google.protobuf import text_format

    message = pb.message("ModelConfig")()
    try:
        text_format.Parse(text, message, descriptor_pool=pb.pool())
    except text_format.ParseError as error:
        # its text begins with "line:column : " where they are known
        where = re.sub(r"^(\d+):(\d+) : ", r"line \1, column \2: ", str(error))
        raise InvalidArgument(f"{source}: {_first_line(where)}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"{source}: not a ModelConfig: {_first_line(str(error))}") from error
    sized = _MAX_BATCH_SIZE.search(_STRING_OR_COMMENT.sub("", text)) is not None
    return translate(message, name, source, sized)


def parse_override(text: str, name: str) -> ModelConfig:
    """The `config` of a load call: the message as JSON, in snake or camel case, numbers also as strings.

    Raises InvalidArgument whose message contains "failed to load".
    """
    from google.protobuf import json_format

    source = f"failed to load '{name}': config"
    message = pb.message("ModelConfig")()
    if not text.lstrip().startswith("{"):
        raise InvalidArgument(f"{source} is not a ModelConfig in JSON: expected an object")
    try:
        json_format.Parse(text, message, descriptor_pool=pb.pool())
    except json_format.ParseError as error:
        raise InvalidArgument(f"{source}: {_first_line(str(error))}") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidArgument(f"{source} is not a ModelConfig in JSON: {_first_line(str(error))}") from error
    sized = re.search(r'"max_?[bB]atch_?[sS]ize"\s*:', text) is not None
    return translate(message, name, source, sized)


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0][:300]
