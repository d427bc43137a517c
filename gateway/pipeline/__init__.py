"""Streams: read, score, write, acknowledge, and what can go wrong on the way, written once for all systems."""
