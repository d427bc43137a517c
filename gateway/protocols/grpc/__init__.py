"""The gRPC port. Only `server` knows the engine, grpcio's aio server; everything else is bytes, messages and numbers,
so that another engine can take its place.
"""
