"""The components that do not depend on what is loaded."""

from __future__ import annotations

from gateway.protocols.rest.openapi.operation import COUNT, FLAG, TEXT, Schema, record


def components() -> dict[str, Schema]:
    tensor = record(name=TEXT, datatype=TEXT, shape={"type": "array", "items": {"type": "integer"}})
    tensors: Schema = {"type": "array", "items": tensor}
    texts: Schema = {"type": "array", "items": TEXT}
    entry = record(name=TEXT)
    entry["properties"] |= {"version": TEXT, "state": TEXT, "reason": TEXT}
    shared: Schema = {
        "shared_memory_region": TEXT,
        "shared_memory_offset": COUNT,
        "shared_memory_byte_size": COUNT,
    }
    flags = dict.fromkeys(("log_info", "log_warning", "log_error"), FLAG)
    return {
        "error": record(error=TEXT),
        "server": record(name=TEXT, version=TEXT, extensions=texts),
        "model": record(name=TEXT, versions=texts, platform=TEXT, inputs=tensors, outputs=tensors),
        "config": {"type": "object", "required": ["name", "platform", "max_batch_size"]},
        "index": {"type": "array", "items": entry},
        "statistics": _statistics(),
        "log-settings": {
            "type": "object",
            "properties": {
                "log_file": TEXT,
                **flags,
                "log_verbose_level": COUNT,
                "log_format": {"enum": ["default", "ISO8601"]},
            },
            "additionalProperties": False,
        },
        "trace-settings": {
            "type": "object",
            "properties": {
                "trace_level": {
                    "type": ["array", "null"],
                    "items": {"enum": ["OFF", "TIMESTAMPS"]},
                },
                **{
                    name: {"type": ["string", "null"]}
                    for name in ("trace_rate", "trace_count", "log_frequency", "trace_mode")
                },
            },
            "additionalProperties": False,
        },
        "parameters": {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}},
        "input-parameters": {"type": "object", "properties": {"binary_data_size": COUNT, **shared}},
        "output-parameters": {
            "type": "object",
            "properties": {"binary_data": FLAG, "classification": COUNT, **shared},
        },
    }


def _statistics() -> Schema:
    duration = record(count=COUNT, ns=COUNT)
    computed = {f"compute_{step}": duration for step in ("input", "infer", "output")}
    inference = record(
        success=duration, fail=duration, queue=duration, **computed, cache_hit=duration, cache_miss=duration
    )
    model = record(
        name=TEXT,
        version=TEXT,
        last_inference=COUNT,
        inference_count=COUNT,
        execution_count=COUNT,
        inference_stats=inference,
        batch_stats={"type": "array", "items": record(batch_size=COUNT, **computed)},
    )
    return record(model_stats={"type": "array", "items": model})
