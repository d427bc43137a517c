"""The page at ``/metrics``: plain numbers that others keep, put into Prometheus's text when it is scraped."""

from gateway.telemetry.metrics.exposition import CONTENT_TYPE, Family, Page, Sample, labelled
from gateway.telemetry.metrics.loads import Loads
from gateway.telemetry.metrics.ports import GrpcSample
from gateway.telemetry.metrics.scrape import NAMES, Metrics
from gateway.telemetry.metrics.splits import SplitSample
from gateway.telemetry.metrics.versions import VersionSample

__all__ = [
    "CONTENT_TYPE",
    "NAMES",
    "Family",
    "GrpcSample",
    "Loads",
    "Metrics",
    "Page",
    "Sample",
    "SplitSample",
    "VersionSample",
    "labelled",
]
