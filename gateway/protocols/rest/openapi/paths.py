"""The paths that are there whatever is loaded."""

from __future__ import annotations

from typing import Any

from gateway.protocols.rest.openapi.operation import COUNT, FLAG, TEXT, Schema, binary, operation, record, ref


def fixed_paths() -> dict[str, Schema]:
    paths = {
        "/v2": {"get": operation("The server", "health", answer=ref("server"))},
        "/v2/openapi.json": {"get": operation("This document", "health", answer={"type": "object"})},
        "/v2/health/live": {"get": operation("Alive?", "health", answer=record(live=FLAG))},
        "/v2/health/ready": {
            "get": operation("Ready?", "health", answer=record(ready=FLAG), also={"503": record(ready=FLAG)})
        },
        "/v2/models/stats": {"get": operation("Statistics", "models", answer=ref("statistics"))},
        "/v2/logging": {
            "get": operation("Log settings", "logging", answer=ref("log-settings")),
            "post": operation(
                "Change log settings",
                "logging",
                body=ref("log-settings"),
                answer=ref("log-settings"),
            ),
        },
    }
    return paths | _trace_paths() | _model_paths() | _repository_paths() | _memory_paths()


def _trace_paths() -> dict[str, Schema]:
    paths: dict[str, Schema] = {}
    for path, of, parameters in (
        ("/v2/trace/setting", "the server", ()),
        ("/v2/models/{model}/trace/setting", "a model", ("model",)),
    ):
        settings = {"answer": ref("trace-settings"), "parameters": parameters}
        change = operation(
            f"Change trace settings of {of}",
            "trace",
            body=ref("trace-settings"),
            **settings,  # type: ignore[arg-type]
        )
        told = operation(f"Trace settings of {of}", "trace", **settings)  # type: ignore[arg-type]
        paths[path] = {"get": told, "post": change}
    return paths


def _model_paths() -> dict[str, Schema]:
    paths: dict[str, Schema] = {}
    for root, parameters in (
        ("/v2/models/{model}", ("model",)),
        ("/v2/models/{model}/versions/{version}", ("model", "version")),
    ):
        of = "a version" if "version" in parameters else "a model"
        for tail, summary, schema in (
            ("", "Metadata", "model"),
            ("/config", "Configuration", "config"),
            ("/stats", "Statistics", "statistics"),
        ):
            found = operation(f"{summary} of {of}", "models", answer=ref(schema), parameters=parameters)
            paths[root + tail] = {"get": found}
        ready = record(name=TEXT, ready=FLAG)
        either: Schema = {"anyOf": [ready, ref("error")]}
        found = operation(f"Is {of} ready?", "models", answer=ready, parameters=parameters, also={"503": either})
        paths[f"{root}/ready"] = {"get": found}
        found = operation(
            f"Infer by {of} of any name",
            "inference",
            body={"type": "object", "required": ["inputs"]},
            answer={"type": "object"},
            parameters=parameters,
        )
        paths[f"{root}/infer"] = {"post": binary(found)}
    return paths


def _repository_paths() -> dict[str, Schema]:
    model = "/v2/repository/models/{model}"
    flag: Schema = {"type": "object", "properties": {"ready": FLAG}}
    load: Schema = {
        "type": "object",
        "properties": {
            "parameters": {
                "type": "object",
                "properties": {"config": TEXT},
                "patternProperties": {"^file:.+": {"type": "string", "contentEncoding": "base64"}},
                "additionalProperties": False,
            }
        },
    }
    unload: Schema = {
        "type": "object",
        "properties": {"parameters": {"type": "object", "properties": {"unload_dependents": FLAG}}},
    }
    changes: dict[str, Any] = {"answer": None, "parameters": ("model",)}
    return {
        "/v2/repository/index": {
            "post": operation("The models that there are", "repository", body=flag, answer=ref("index"))
        },
        f"{model}/load": {"post": operation("Load a model", "repository", body=load, **changes)},
        f"{model}/unload": {"post": operation("Unload a model", "repository", body=unload, **changes)},
    }


def _memory_paths() -> dict[str, Schema]:
    paths: dict[str, Schema] = {}
    regions: Schema = {
        "type": "array",
        "items": record(name=TEXT, key=TEXT, offset=COUNT, byte_size=COUNT),
    }
    system: Schema = record(key=TEXT, byte_size={"type": "integer", "minimum": 1})
    system["properties"]["offset"] = COUNT
    for kind, body in (("system", system), ("cuda", {"type": "object"})):
        root, tag = f"/v2/{kind}sharedmemory", f"{kind} shared memory"
        one = {"parameters": ("region",)}
        for path, parameters in ((root, {}), (f"{root}/region/{{region}}", one)):
            which = "a region" if parameters else "all regions"
            paths[f"{path}/status"] = {
                "get": operation(f"Status of {which}", tag, answer=regions, **parameters)  # type: ignore[arg-type]
            }
            paths[f"{path}/unregister"] = {
                "post": operation(f"Unregister {which}", tag, answer=None, **parameters)  # type: ignore[arg-type]
            }
        paths[f"{root}/region/{{region}}/register"] = {
            "post": operation("Register a region", tag, body=body, answer=None, **one)  # type: ignore[arg-type]
        }
    return paths
