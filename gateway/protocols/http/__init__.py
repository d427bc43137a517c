"""HTTP/1.1 on httptools: the wire that answers infer requests itself and bridges the rest to an ASGI app."""
