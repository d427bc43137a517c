"""The gRPC port: calls out of the streams of an HTTP/2 connection, on bytes, messages and numbers."""
