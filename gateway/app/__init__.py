"""The composition root: builds every part in one visible order, and takes it down in reverse.

stop     whether traffic is welcome, and the signals that end it
ports    listeners that start and stop together, and what the settings say of them
engine   what holds models and answers predictions, with its memory
serving  the REST and the gRPC port over it
alone    all of it in one process
"""

from gateway.app.run import run

__all__ = ["run"]
