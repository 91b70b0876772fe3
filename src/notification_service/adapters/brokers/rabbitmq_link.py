"""A connection to RabbitMQ that is made anew whenever it is lost."""

import asyncio
import logging
import random
import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Self

import structlog
from aio_pika import Connection
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.connection import make_url
from aio_pika.exceptions import AMQPConnectionError, AuthenticationError
from aiormq.exceptions import (
    ChannelAccessRefused,
    ConnectionNotAllowed,
    InvalidFrameError,
    ProbableAuthenticationError,
)
from pamqp.common import FieldTable

from notification_service.adapters.brokers.rabbitmq_properties import read_what_can_be_read
from notification_service.adapters.brokers.rabbitmq_topology import QueueDiffersError, Topology

HEARTBEAT = 2
"""Seconds. The library calls a connection dead after 3 * (HEARTBEAT + 1) of silence."""
CONNECTED_WITHIN = 5.0
CLOSED_WITHIN = 2.0
SHORTEST_PAUSE, LONGEST_PAUSE = 0.1, 0.8
"""Seconds between two attempts: what waits should go out within a second of the server's return."""
PAUSE_AFTER_REFUSAL = 10.0
"""Seconds before asking again for what a person has to change first."""
REFUSALS = (
    QueueDiffersError,
    AuthenticationError,
    ProbableAuthenticationError,
    ConnectionNotAllowed,
    InvalidFrameError,
    ChannelAccessRefused,
)
NOT_YET = "RabbitMQ is not connected yet; try again shortly"

log = structlog.get_logger(__name__)


class Line:
    """One living connection."""

    def __init__(self, connection: AbstractConnection) -> None:
        """Watch the connection: whatever breaks on it ends it."""
        self.connection = connection
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        connection.close_callbacks.add(self._closed)

    @property
    def server(self) -> str:
        """Product and version, for people."""
        properties = self._properties()
        return f"{properties.get('product', 'RabbitMQ')} {properties.get('version', '?')}"

    @property
    def cluster(self) -> str:
        """The cluster's name."""
        return str(self._properties().get("cluster_name", "?"))

    async def channel(self) -> AbstractChannel:
        """Open a channel; when it breaks, so does the connection, and all is set up again."""
        channel = self.connection.channel(on_return_raises=True)
        async with asyncio.timeout(CONNECTED_WITHIN):
            await channel.initialize()
        self.ends_with(channel)
        return channel

    def ends_with(self, channel: AbstractChannel) -> None:
        """Give this connection up when the channel breaks."""
        channel.close_callbacks.add(self._closed)

    def give_up(self, error: BaseException) -> None:
        """End this connection for a reason; a new one follows."""
        if not self._lost.done():
            self._lost.set_exception(error)

    async def lost(self) -> None:
        """Wait for its end and raise the reason."""
        await asyncio.shield(self._lost)

    async def close(self) -> None:
        """Close it, without waiting for a server that doesn't answer."""
        self._lost.cancel() if not self._lost.done() else self._lost.exception()
        with suppress(Exception):
            async with asyncio.timeout(CLOSED_WITHIN):
                await self.connection.close()

    def _closed(self, _: object, error: BaseException | None) -> None:
        reason = error if isinstance(error, Exception) else ConnectionError("closed")
        self.give_up(reason)

    def _properties(self) -> dict[str, Any]:
        transport = self.connection.transport
        return dict(transport.connection.server_properties) if transport else {}


type Use = Callable[[Line], AbstractAsyncContextManager[None]]


class Link:
    """Keeps a line to RabbitMQ with everything declared, for as long as it is entered.

    `use` is entered for each line once everything is declared, and left before it is closed.
    """

    def __init__(self, url: str, *, name: str, topology: Topology, use: Use) -> None:
        """Connect to `url`; `name` tells people what this connection is for."""
        self._url = url
        self._name = name
        self._properties: FieldTable = {"connection_name": name}
        self._topology = topology
        self._use = use
        self._task: asyncio.Task[None] | None = None
        self.trouble: str | None = NOT_YET
        """Why there is no line, and what to do about it; None while there is one."""

    async def __aenter__(self) -> Self:
        """Begin to connect."""
        for library in ("aio_pika", "aiormq"):  # they repeat, with tracebacks, what is said here once
            logging.getLogger(library).setLevel(logging.CRITICAL)
        read_what_can_be_read()
        self._task = asyncio.create_task(self._keep())
        return self

    async def __aexit__(self, *details: object) -> None:
        """Close the line."""
        if self._task:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _keep(self) -> None:
        pause = SHORTEST_PAUSE
        while True:
            try:
                await self._live()
            except Exception as error:
                pause = SHORTEST_PAUSE if self.trouble is None else min(2 * pause, LONGEST_PAUSE)
                self._note(error)
                wait = PAUSE_AFTER_REFUSAL if _refused(error) else pause * random.uniform(0.75, 1.25)  # noqa: S311
                await asyncio.sleep(wait)

    async def _live(self) -> None:
        # Not aio_pika.connect(): what fails there is left to the garbage collector half open.
        connection = Connection(make_url(self._url, heartbeat=HEARTBEAT), client_properties=self._properties)
        line = Line(connection)
        try:
            async with asyncio.timeout(CONNECTED_WITHIN):
                await connection.connect()
            await self._topology.declare(connection)
            async with self._use(line):
                self.trouble = None
                log.info("broker_connected", broker="rabbitmq", connection=self._name, server=line.server)
                await line.lost()
        finally:
            await line.close()

    def _note(self, error: Exception) -> None:
        """Say once for each outage, and for each new reason, what is wrong."""
        trouble = explain(error)
        if trouble != self.trouble:
            event = "broker_unusable" if _refused(error) else "broker_lost"
            log.warning(event, broker="rabbitmq", connection=self._name, reason=trouble)
        self.trouble = trouble


def explain(error: BaseException) -> str:
    """Say what is wrong and what to do; never holds a password."""
    match error:
        case QueueDiffersError():
            told = str(error)
        case ProbableAuthenticationError() | AuthenticationError():
            told = "RabbitMQ refuses this user or password; correct NS_RABBITMQ_URL"
        case ConnectionNotAllowed() | InvalidFrameError():  # what aiormq makes of the refusal
            told = "RabbitMQ does not let this user into the virtual host of NS_RABBITMQ_URL; correct either"
        case ChannelAccessRefused():
            told = f"the user of NS_RABBITMQ_URL needs the right to configure, write and read ({error})"
        case TimeoutError():
            told = "RabbitMQ does not answer; look at its state and at NS_RABBITMQ_URL"
        case ssl.SSLError():
            told = f"no TLS with RabbitMQ ({error.reason}); correct NS_RABBITMQ_URL"
        case AMQPConnectionError() | OSError():
            told = f"RabbitMQ is out of reach ({type(error).__name__}); start it or correct NS_RABBITMQ_URL"
        case _:
            told = f"RabbitMQ failed ({type(error).__name__}); its log says why"
    return told


def _refused(error: Exception) -> bool:
    return isinstance(error, REFUSALS)
