"""Loads, unloads, versions and executes models."""
