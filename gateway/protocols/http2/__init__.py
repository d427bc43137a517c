"""The HTTP/2 wire, as gRPC needs it: connections, streams and flow control on asyncio's own transports.

Format: RFC 9113; header compression, RFC 7541, is the package hpack's.
"""
