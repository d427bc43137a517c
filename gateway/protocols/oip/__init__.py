"""The calls of the Open Inference Protocol besides inference: what they mean, whatever carries them.

REST and gRPC read their bytes into what these take, and write what they answer.
"""
