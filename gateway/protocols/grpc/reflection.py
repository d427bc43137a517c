"""The standard reflection service: what tools such as grpcurl learn the services and their messages from.

https://github.com/grpc/grpc/blob/master/doc/server-reflection.md
"""

from __future__ import annotations

from typing import Any, Final

from gateway import pb

PACKAGE: Final = "grpc.reflection.v1"
SERVICE: Final = f"{PACKAGE}.ServerReflection"
#: the same messages under the name that older tools ask for
OLDER: Final = "grpc.reflection.v1alpha.ServerReflection"

NOT_FOUND, UNIMPLEMENTED = 5, 12


class Reflection:
    def __init__(self, services: tuple[str, ...]) -> None:
        self._services = (*services, SERVICE)

    def answer(self, body: bytes) -> bytes:
        request = pb.message("ServerReflectionRequest", PACKAGE).FromString(body)
        response = pb.message("ServerReflectionResponse", PACKAGE)(valid_host=request.host, original_request=request)
        try:
            self._fill(response, request)
        except KeyError as error:
            response.error_response.error_code = NOT_FOUND
            response.error_response.error_message = str(error.args[0])
        reply: bytes = response.SerializeToString()
        return reply

    def _fill(self, response: Any, request: Any) -> None:
        """Raises KeyError."""
        match request.WhichOneof("message_request"):
            case "list_services":
                for name in self._services:
                    response.list_services_response.service.add(name=name)
            case "file_by_filename":
                _add_file(response, pb.pool().FindFileByName(request.file_by_filename))
            case "file_containing_symbol":
                _add_file(response, pb.pool().FindFileContainingSymbol(request.file_containing_symbol))
            case "all_extension_numbers_of_type":
                # proto3 has no extensions: a type that is known has none
                name = request.all_extension_numbers_of_type
                pb.pool().FindMessageTypeByName(name)
                response.all_extension_numbers_response.base_type_name = name
            case "file_containing_extension":
                raise KeyError(f"no extensions of {request.file_containing_extension.containing_type}")
            case _:
                response.error_response.error_code = UNIMPLEMENTED
                response.error_response.error_message = "the request asks for nothing that is known"


def _add_file(response: Any, file: Any) -> None:
    """The file and everything that it depends on, each once."""
    found = {file.name: file}
    waiting = [file]
    while waiting:
        for each in waiting.pop().dependencies:
            if each.name not in found:
                found[each.name] = each
                waiting.append(each)
    response.file_descriptor_response.file_descriptor_proto.extend(each.serialized_pb for each in found.values())
