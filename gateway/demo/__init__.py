"""`sluice demo`: real models on real data, and traffic that moves from one version to the other."""

from gateway.demo.story import run

__all__ = ["run"]
