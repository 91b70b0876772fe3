"""The worker process: delivers what is due, and tells on a port of its own how it is."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from socket import socket

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from notification_service.application.worker import Duty
from notification_service.bootstrap import Service, open_service
from notification_service.domain.channels import ChannelType
from notification_service.entrypoints.cli.configuration import traced, warn_of
from notification_service.entrypoints.server import (
    ServerOptions,
    allow_many_connections,
    listen,
    run,
    serve,
    url_of,
)
from notification_service.entrypoints.stopping import abandoned_by, stop_signals
from notification_service.settings import Settings


def run_worker(
    settings: Settings, *, channels: frozenset[ChannelType] | None = None, duty: Duty = Duty.ALL
) -> int:
    """Work until SIGTERM or SIGINT; then claim nothing more, settle what is in hand, and return 0."""
    allow_many_connections()
    warn_of(settings)
    sockets = listen(settings.host, settings.worker_port) if settings.worker_port else []
    return run(_work(settings, sockets, channels, duty))


async def _work(
    settings: Settings, sockets: Sequence[socket], channels: frozenset[ChannelType] | None, duty: Duty
) -> int:
    log, patience = structlog.get_logger(), timedelta(seconds=settings.shutdown_seconds)
    with stop_signals(patience) as stop:
        async with traced(settings, "worker"), open_service(settings) as service:
            wanted = service.worker.channels & (channels or service.worker.channels)
            for channel in sorted((channels or frozenset()) - wanted):
                log.warning("channel_not_configured", channel=channel, remedy="name a provider for it")
            await _serve_and_work(service, sockets, wanted, duty, stop)
            log.info("worker_stopped")
    return 0


async def _serve_and_work(
    service: Service,
    sockets: Sequence[socket],
    channels: frozenset[ChannelType],
    duty: Duty,
    stop: asyncio.Event,
) -> None:
    """Work until `stop`; the port answers until everything is settled."""
    settled = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        if sockets:
            options = ServerOptions(shutdown=timedelta(seconds=service.settings.shutdown_seconds))
            tasks.create_task(serve(_probes(service), sockets, options=options, stop=settled))
        async with abandoned_by(stop) as started:
            await service.prepare()
            started()
            structlog.get_logger().info(
                "worker_started",
                channels=[] if duty is Duty.RELAY else sorted(channels),
                duty=duty,
                concurrency=service.settings.worker_concurrency,
                listening=url_of(sockets[0]) if sockets else None,
            )
            await service.worker.run(stopping=stop, channels=channels, duty=duty)
        settled.set()


def _probes(service: Service) -> Starlette:
    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def metrics(_: Request) -> Response:
        body, content_type = service.metrics.render()
        return Response(body, headers={"content-type": content_type})

    routes = [
        Route(path, answer)
        for name, answer in (("/health", health), ("/metrics", metrics))
        for path in (name, f"{name}/")
    ]
    application = Starlette(routes=routes)
    application.router.redirect_slashes = False
    return application
