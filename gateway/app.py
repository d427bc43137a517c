"""The composition root: builds every part in one visible order, and takes it down in reverse."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import platform
import resource
import signal
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

import numpy as np
import uvloop

from gateway import __version__
from gateway.codecs.sharedmemory import Regions
from gateway.control.plane import ControlPlane
from gateway.dataplane import Dataplane
from gateway.models.batcher import BatchPolicy
from gateway.models.engine import onnx_engine
from gateway.models.manager import Manager
from gateway.models.memory import trim
from gateway.models.onnx import Runtime, runtime_name
from gateway.models.repository import Repository
from gateway.protocols.admin import admin_app
from gateway.protocols.http.listener import Listener, TlsFiles, bind
from gateway.protocols.http.service import Compression, Limits, Service
from gateway.protocols.oip.calls import Calls
from gateway.protocols.rest.app import rest_app
from gateway.routing.split import Splits
from gateway.samples import arms, versions, wire
from gateway.settings import Settings, admin_token, granted
from gateway.store.sqlite import SqliteStore
from gateway.telemetry import logs
from gateway.telemetry.metrics import CONTENT_TYPE, GrpcSample, Loads, Metrics
from gateway.telemetry.tracing import Tracer

logger = logging.getLogger("sluice")

GOOD, INTERRUPTED = 0, 130

#: instances that may be busy at the same time, over all models
MOST_INSTANCES = 256
#: seconds that runs of a model have to end which nobody waits for any more
LAST_RUNS = 2.0
#: files that are open beside connections
OTHER_FILES = 512
#: bytes of a load call that brings its files
LOAD_FILES_BYTES = 512 << 20


def run(settings: Settings) -> int:
    """Serves until SIGTERM or SIGINT, and returns the exit code. Raises SluiceError where it cannot start."""
    logs.configure(settings.log.format, settings.log.level, settings.access_log)
    # a number too large for its float type becomes infinite without a word, as in the reference server
    np.seterr(over="ignore")
    _allow_files(settings.limits.connections + OTHER_FILES)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(serve(settings))


async def serve(settings: Settings) -> int:
    began = time.perf_counter()
    stop = _Stop()
    async with AsyncExitStack() as stack:
        tracer = None
        if settings.tracing.endpoint:
            tracing = settings.tracing
            tracer = await stack.enter_async_context(
                Tracer(tracing.endpoint, ratio=tracing.sample_ratio, service_name=tracing.service_name)
            )
        # sockets are bound before anything is loaded: a port that is taken is known at once
        rest_socket = stack.enter_context(bind(settings.host, settings.http_port))
        admin_socket = stack.enter_context(bind(settings.admin_host, settings.admin_port))

        store = await stack.enter_async_context(SqliteStore(Path(settings.state)))
        token = admin_token(settings)

        pool = ThreadPoolExecutor(MOST_INSTANCES, thread_name_prefix="sluice-run")
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        threads = granted() if settings.threads == "auto" else settings.threads
        loads = Loads()
        engine = onnx_engine(Runtime(threads, settings.providers), pool, _batch_policy(settings), loads.add)
        repository = Repository(Path(settings.models))
        manager = Manager(repository, engine, mode=settings.control_mode, poll_interval=settings.poll_interval)
        stack.push_async_callback(stop.close, manager)
        splits = Splits()
        plane = ControlPlane(store, manager, splits, settings)
        stack.push_async_callback(plane.close)
        dataplane = Dataplane(manager, splits)

        regions = None if settings.restricted.shared_memory == "off" else Regions()
        calls = Calls(
            manager,
            plane,
            ready=lambda: stop.ready,
            restricted=settings.restricted,
            token=token,
            regions=regions,
            tracer=tracer,
        )
        grpc = None
        if settings.grpc_port != "off":
            # its libraries take memory and time: they are loaded where the port is on
            from gateway.protocols.grpc.port import grpc_port

            grpc = grpc_port(settings, dataplane, calls, regions, tracer)
            stop.watchers.append(grpc.health.changed)
        rest = Service(
            rest_app(calls, max_body=settings.limits.json_body, max_files=LOAD_FILES_BYTES),
            dataplane=dataplane,
            regions=regions,
            limits=_limits(settings),
            compression=Compression(min_bytes=settings.compression.min_size, level=settings.compression.level),
            tracer=tracer,
            access_log=settings.access_log,
        )
        metrics = Metrics(
            lambda: versions(manager),
            loads=loads,
            splits=lambda: arms(splits),
            wire=lambda: wire(rest),
            grpc=lambda: GrpcSample(grpc.inference.outcomes, grpc.inference.streams) if grpc else None,
            build={"version": __version__, "python": platform.python_version(), "runtime": runtime_name()},
        )
        admin = Service(
            admin_app(
                plane,
                manager,
                token=token,
                render=metrics.render,
                content_type=CONTENT_TYPE,
                ready=lambda: stop.ready,
            ),
            limits=_limits(settings),
        )
        tls = _tls(settings)
        drain = settings.drain_timeout
        # probes answer, and say "not ready", while models load; stopped last, so that metrics last longest
        await _start(stack, Listener(admin, admin_socket, tls=tls if settings.tls.admin else None, drain_timeout=1.0))
        listener = Listener(rest, rest_socket, tls=tls, drain_timeout=drain)
        await plane.start()
        await _start(stack, listener, *([grpc] if grpc else []))
        _settle_memory()
        stop.set_ready(True)
        logger.info(
            "ready in %.2f s: REST on %s:%d, gRPC %s, admin on %s:%d, models from %s",
            time.perf_counter() - began,
            *rest_socket.getsockname()[:2],
            f"on {settings.host}:{grpc.port}" if grpc else "off",
            *admin_socket.getsockname()[:2],
            settings.models,
        )
        polling = asyncio.create_task(manager.poll())
        stack.callback(polling.cancel)
        await stop.wait()
        await _drain(stop, listener, settings.drain_delay)
    logger.info("stopped")
    if stop.left_behind:
        _end(stop.code)
    return stop.code


class _Stop:
    """Whether traffic is welcome, and the signals that end it. A second signal ends it at once."""

    def __init__(self) -> None:
        self.ready = False
        self.code = GOOD
        #: a model still runs, in a thread that Python would wait for
        self.left_behind = False
        #: called when `ready` changes
        self.watchers: list[Callable[[], None]] = []
        self._asked = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number, code in ((signal.SIGTERM, GOOD), (signal.SIGINT, INTERRUPTED)):
            loop.add_signal_handler(number, self._on_signal, code)

    def set_ready(self, ready: bool) -> None:
        self.ready = ready
        for watcher in self.watchers:
            watcher()

    def _on_signal(self, code: int) -> None:
        self.code = code
        if self._asked.is_set():
            logger.warning("stopped at once")
            _end(code)
        self._asked.set()

    async def wait(self) -> None:
        await self._asked.wait()

    async def close(self, manager: Manager) -> None:
        """By now nobody waits for a run that has not ended."""
        try:
            async with asyncio.timeout(LAST_RUNS):
                await manager.close()
        except TimeoutError:
            logger.warning("a model still runs after %g s, it is left behind", LAST_RUNS)
            self.left_behind = True


def _end(code: int) -> None:
    logging.shutdown()
    os._exit(code)


def _allow_files(wanted: int) -> None:
    """As many as the connections that are allowed need; the usual 1024 are a soft limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


class _Port(Protocol):
    async def start(self) -> None: ...

    async def stop(self) -> None: ...


async def _start(stack: AsyncExitStack, *ports: _Port) -> None:
    """They stop together: each may take as long as its clients may."""
    for port in ports:
        await port.start()
    stack.push_async_callback(_stop_all, ports)


async def _stop_all(ports: Iterable[_Port]) -> None:
    async with asyncio.TaskGroup() as group:
        for port in ports:
            group.create_task(port.stop())


async def _drain(stop: _Stop, listener: Listener, delay: float) -> None:
    """Not ready, but still accepting for `delay` seconds: load balancers need that long to notice."""
    logger.info("stopping: not ready any more, accepting for another %g s", delay)
    stop.set_ready(False)
    listener.drain()
    await asyncio.sleep(delay)


def _settle_memory() -> None:
    """What is there now stays: the collector need not look at it again, and may come round less often.

    A request makes no cycles; at Python's own threshold of 700 the collector ran every few requests.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    trim()


def _batch_policy(settings: Settings) -> BatchPolicy:
    return BatchPolicy(
        max_rows=settings.batching.max_batch_size,
        inline_limit=settings.batching.inline_limit_us * 1e-6,
        max_requests=settings.queue.max_requests,
        max_bytes=settings.queue.max_bytes,
    )


def _limits(settings: Settings) -> Limits:
    given = settings.limits
    return Limits(
        head_bytes=given.header_bytes,
        head_count=given.header_count,
        url_bytes=given.url_bytes,
        json_bytes=given.json_body,
        binary_bytes=given.binary_body,
        load_bytes=LOAD_FILES_BYTES if settings.restricted.load_files else given.json_body,
        head_timeout=given.header_timeout,
        body_timeout=given.body_timeout,
        idle_timeout=given.idle_timeout,
        pipelined=given.pipelined,
        connections=given.connections,
    )


def _tls(settings: Settings) -> TlsFiles | None:
    files = settings.tls
    if not files.cert:
        return None
    return TlsFiles(
        cert=files.cert,
        key=files.key,
        client_ca=files.client_ca if files.client_auth != "none" else "",
        client_required=files.client_auth == "required",
    )
