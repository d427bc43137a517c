"""Port 8002: metrics, probes, and what operators do."""

from gateway.protocols.admin.app import admin_app, admin_routes, streams_routes

__all__ = ["admin_app", "admin_routes", "streams_routes"]
