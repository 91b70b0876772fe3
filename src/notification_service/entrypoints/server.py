"""How an ASGI application is served: its sockets, its limits, its beginning and its end."""

import asyncio
import errno
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, override

import uvicorn
from starlette.applications import Starlette

from notification_service.domain.errors import NotificationServiceError
from notification_service.entrypoints.addresses import reachable_url
from notification_service.entrypoints.guarded_http import GuardedProtocol, Receive, Scope, Send
from notification_service.entrypoints.stopping import abandoned_by

BACKLOG = 4096
KEEP_ALIVE_SECONDS = 75
"""Longer than the 60 s of common load balancers: they close an idle connection first, so no request meets a
closing one."""


class CannotListenError(NotificationServiceError):
    """the address cannot be listened on; choose another"""

    code = "cannot_listen"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """What differs between the servers we run."""

    shutdown: timedelta
    trusted_proxies: tuple[str, ...] = ()


async def _nothing() -> None:
    pass


async def serve(
    application: Starlette,
    sockets: Sequence[socket.socket],
    *,
    options: ServerOptions,
    stop: asyncio.Event,
    on_listening: Callable[[], Awaitable[None]] = _nothing,
) -> None:
    """Serve until `stop` is set; then accept nothing more, finish the requests in flight, and return.

    The application's lifespan surrounds it all, and what goes wrong in it is raised as it is; a start that
    waits for something is abandoned by `stop`. `on_listening` is awaited once connections are accepted.
    """
    async with abandoned_by(stop) as started, application.router.lifespan_context(application) as state:
        started()
        served = _with_state(application, dict(state)) if state else application
        server = _Server(_config(served, options), stop, on_listening)
        await server.serve(sockets=list(sockets))


def run[Result](main: Coroutine[Any, Any, Result]) -> Result:
    """Run `main` in the fastest event loop there is."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(main)


def listen(host: str, port: int, *, shares: int = 1) -> list[socket.socket]:
    """Bind `shares` sockets to one address; port 0 finds a free one.

    Where the kernel spreads connections over several sockets of one port (Linux) each share is a socket of
    its own; elsewhere all shares are the same one. Raises `CannotListenError`.
    """
    first = _bind(host, port)
    if shares == 1 or sys.platform != "linux":
        return [first] * shares
    address = first.getsockname()
    first.close()  # it has shown that nobody else is there, which sharing sockets would not
    return [_bind(address[0], address[1], shared=True) for _ in range(shares)]


def url_of(listening: socket.socket) -> str:
    """Return the address under which a person on this machine reaches a socket."""
    host, port = listening.getsockname()[:2]
    return reachable_url(host, port)


def allow_many_connections() -> None:
    """Raise the number of files this process may open as far as the system lets it."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - not to be had on Windows

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError):  # some systems name a limit that they don't grant
        return


class _Server(uvicorn.Server):
    """Stops when it is told to, instead of handling signals itself and dying of them again."""

    def __init__(
        self, config: uvicorn.Config, stop: asyncio.Event, on_listening: Callable[[], Awaitable[None]]
    ) -> None:
        super().__init__(config)
        self._stop = stop
        self._on_listening = on_listening

    @override
    def capture_signals(self) -> Any:
        return nullcontext()

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        host, port = sockets[0].getsockname()[:2] if sockets else ("", 0)
        with _explained(host, port):  # somebody may have come between binding and listening
            await super().startup(sockets)
        await self._on_listening()

    @override
    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or self._stop.is_set()


def _with_state(application: Starlette, state: dict[str, Any]) -> Any:
    """Hand what the lifespan yielded to every request, as a server with its own lifespan would."""

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = dict(state)
        await application(scope, receive, send)

    return served


def _config(application: Any, options: ServerOptions) -> uvicorn.Config:
    shutdown = options.shutdown.total_seconds()
    # The rest is for the lifespan: connections to close, deliveries to settle.
    for_requests: Any = max(shutdown - 5, shutdown / 2)  # declared an int, waited for as it is
    return uvicorn.Config(
        application,
        http=GuardedProtocol,
        interface="asgi3",
        lifespan="off",
        workers=1,
        ws="none",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=bool(options.trusted_proxies),
        forwarded_allow_ips=list(options.trusted_proxies),
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=for_requests,
    )


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop  # noqa: PLC0415 - not to be had on Windows
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def _bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    with _explained(host, port):
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        with ExitStack() as unless_bound:
            bound = unless_bound.enter_context(socket.socket(family, kind, protocol))
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            bound.bind(address)
            unless_bound.pop_all()
            return bound


@contextmanager
def _explained(host: str, port: int) -> Generator[None]:
    """Say in one line why an address cannot be listened on."""
    try:
        yield
    except OSError as error:
        reasons = {
            errno.EADDRINUSE: f"port {port} of {host} is in use; stop what runs there, or use another --port",
            errno.EACCES: f"port {port} needs more rights; use a --port above 1023",
            errno.EADDRNOTAVAIL: f"{host} is no address of this machine; use another --host (NS_HOST)",
        }
        if isinstance(error, socket.gaierror):
            raise CannotListenError(f"there is no host '{host}'; use another --host (NS_HOST)") from None
        if error.errno not in reasons:
            raise
        raise CannotListenError(reasons[error.errno]) from None
