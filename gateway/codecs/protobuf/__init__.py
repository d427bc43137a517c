"""Infer requests out of protobuf's bytes, and replies into them: ModelInferRequest, ModelInferResponse and
ModelStreamInferResponse of protos/grpc_service.proto. Format: https://protobuf.dev/programming-guides/encoding/
"""

from gateway.codecs.protobuf.reply import encode, error_in_stream, in_stream
from gateway.codecs.protobuf.request import LARGE, decode, request_id

__all__ = ["LARGE", "decode", "encode", "error_in_stream", "in_stream", "request_id"]
