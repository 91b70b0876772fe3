"""Runs the API in this process, or in several behind one port."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import structlog
from starlette.applications import Starlette

from notification_service.entrypoints.cli.configuration import configure_logging, traced, warn_of
from notification_service.entrypoints.cli.console import CommandError, ExitCode, guarded
from notification_service.entrypoints.cli.supervisor import Supervisor
from notification_service.entrypoints.server import (
    ServerOptions,
    allow_many_connections,
    listen,
    run,
    serve,
    url_of,
)
from notification_service.entrypoints.stopping import stop_signals
from notification_service.observability.multiprocess import enable_multiprocess
from notification_service.settings import Settings, SettingsError
from notification_service.settings.secret_keys import private_folder

type Greet = Callable[[Starlette, str], Awaitable[None]]


def options_of(settings: Settings) -> ServerOptions:
    """Return what the settings say about serving."""
    return ServerOptions(
        shutdown=timedelta(seconds=settings.shutdown_seconds),
        trusted_proxies=tuple(str(network) for network in settings.trusted_proxies),
    )


def run_api(settings: Settings) -> int:
    """Serve the API until SIGTERM or SIGINT, in as many processes as the settings say."""
    allow_many_connections()
    warn_of(settings)
    count = settings.api_processes
    sockets = listen(settings.host, settings.port, shares=count)
    if count == 1:
        return run(_serve(settings, sockets))
    _share_metrics(settings)
    patience = timedelta(seconds=settings.shutdown_seconds)
    return Supervisor(_child(settings), sockets, patience=patience).run()


def run_everything(settings: Settings, *, greet: Greet) -> int:
    """Serve the API and deliver, all in this process; `greet` is awaited once it listens."""
    allow_many_connections()
    warn_of(settings)
    return run(_serve(settings, listen(settings.host, settings.port), with_worker=True, greet=greet))


def _share_metrics(settings: Settings) -> None:
    """Let `/metrics` of any process tell of all; each port has a folder of its own."""
    try:
        private_folder(settings.data_dir)
        enable_multiprocess(settings.data_dir / "metrics" / f"api-{settings.port}")
    except (OSError, SettingsError):
        raise CommandError(
            "NS_DATA_DIR: must be writable to add up the metrics of several processes", ExitCode.USAGE
        ) from None


def _child(settings: Settings) -> Callable[[socket.socket, Callable[[], None]], int]:
    def serve_child(listening: socket.socket, serves: Callable[[], None]) -> int:
        async def greet(_application: Starlette, _url: str) -> None:
            serves()

        configure_logging(settings, "api")  # again, for the child's own number in its lines
        return guarded("app", lambda: run(_serve(settings, [listening], greet=greet, is_child=True)))

    return serve_child


async def _nobody(_application: Starlette, _url: str) -> None:
    pass


async def _serve(
    settings: Settings,
    sockets: Sequence[socket.socket],
    *,
    with_worker: bool = False,
    is_child: bool = False,
    greet: Greet = _nobody,
) -> int:
    # The application is imported late: prometheus_client asks at its import whether metrics are shared.
    from notification_service.entrypoints.api.app import create_app  # noqa: PLC0415

    url = url_of(sockets[0])

    listening = asyncio.Event()

    async def on_listening() -> None:
        listening.set()

    async def announce(application: Starlette) -> None:
        await listening.wait()
        await application.state.service.prepared.wait()
        structlog.get_logger().info(
            "api_started", listening=url, environment=settings.environment, delivers=with_worker
        )
        await greet(application, url)

    with stop_signals(timedelta(seconds=settings.shutdown_seconds), hasty=not is_child) as stop:
        application = create_app(settings, with_worker=with_worker, stopping=stop)
        async with traced(settings, "up" if with_worker else "api"), asyncio.TaskGroup() as tasks:
            announcing = tasks.create_task(announce(application))
            await serve(
                application, sockets, options=options_of(settings), stop=stop, on_listening=on_listening
            )
            announcing.cancel()
    return 0
