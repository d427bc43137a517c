"""The protocol's protobuf messages, in a pool of their own.

Generated modules would register in the default pool, where those of tritonclient already are, under the
same names: one process could not hold both. Here the classes are made from the committed descriptors
(`descriptors.binpb`, written by protos/generate.py) on first use, and nothing of protobuf is imported before.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from google.protobuf.descriptor import ServiceDescriptor
    from google.protobuf.descriptor_pool import DescriptorPool


@cache
def pool() -> DescriptorPool:
    """Every message, enum and service of protos/."""
    from google.protobuf.descriptor_pb2 import FileDescriptorSet
    from google.protobuf.descriptor_pool import DescriptorPool

    found = DescriptorPool()
    content = Path(__file__).with_name("descriptors.binpb").read_bytes()
    for file in FileDescriptorSet.FromString(content).file:  # dependencies come first in a descriptor set
        found.AddSerializedFile(file.SerializeToString())
    return found


@cache
def message(name: str, package: str = "inference") -> Any:
    """The class of a message by its name: "ModelConfig", "ModelWarmup.Input".

    Raises KeyError for an unknown one.
    """
    from google.protobuf.message_factory import GetMessageClass

    return GetMessageClass(pool().FindMessageTypeByName(f"{package}.{name}"))


@cache
def service(name: str) -> ServiceDescriptor:
    """A service by its full name. Raises KeyError for an unknown one."""
    found: ServiceDescriptor = pool().FindServiceByName(name)
    return found
