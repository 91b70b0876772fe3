"""Each broker the service can be run with: how it is started, killed, wiped and named in the settings."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import override

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from tests.chaos.servers import OwnServer, Server
from tests.chaos.warden import Warden
from tests.services.kafka import KafkaFolder
from tests.services.rabbitmq import an_own_server


class Kafka(OwnServer):
    """One Kafka broker that is its own controller; it sends its clients to the proxy."""

    name = "broker"

    def __init__(self, folder: Path, warden: Warden) -> None:
        """Make its storage."""
        super().__init__(folder, warden)
        self._files = KafkaFolder(self.folder / "kafka", self.port, advertised_port=self.proxy_port)

    @override
    def settings(self) -> dict[str, str]:
        return {"NS_KAFKA_BOOTSTRAP": f"127.0.0.1:{self.proxy_port}"}

    @override
    def command(self) -> list[str]:
        return self._files.command

    @override
    async def answers(self) -> bool:
        client = AIOKafkaAdminClient(bootstrap_servers=f"127.0.0.1:{self.port}", request_timeout_ms=2_000)
        try:
            await client.start()
        except (OSError, KafkaError):
            return False
        finally:
            await client.close()
        return True

    @override
    async def wipe(self) -> None:
        await self.kill()
        self._files.wipe()


class Rabbitmq(Server):
    """One RabbitMQ node with a name service of its own."""

    name = "broker"

    def __init__(self, folder: Path, warden: Warden) -> None:
        """Find its programs; it has a keeper of its own."""
        super().__init__(folder)
        self._own = an_own_server()
        self.port = self._own.port
        self._runs = False

    @override
    def settings(self) -> dict[str, str]:
        return {
            "NS_RABBITMQ_URL": f"amqp://guest:guest@127.0.0.1:{self.proxy_port}/",
            # Killed soon after it made a quorum queue, server 3.10 never serves that queue again.
            "NS_RABBITMQ_QUEUE_TYPE": "classic",
        }

    @override
    async def start(self) -> None:
        await asyncio.to_thread(self._own.start)
        self._runs = True

    @override
    async def kill(self) -> None:
        if self._runs:
            self._runs = False
            await asyncio.to_thread(self._own.kill)

    @override
    async def wipe(self) -> None:
        self._runs = False
        await asyncio.to_thread(self._own.wipe)

    @override
    async def end(self) -> None:
        await asyncio.to_thread(self._own.stop)

    @override
    def freeze(self) -> None:
        self._own.freeze()

    @override
    def thaw(self) -> None:
        self._own.thaw()


BROKERS: dict[str, Callable[[Path, Warden], Server] | None] = {
    "embedded": None,
    "kafka": Kafka,
    "rabbitmq": Rabbitmq,
}
"""None stands for the database itself."""


def a_broker(name: str, folder: Path, warden: Warden) -> Server | None:
    """Return the server of this broker, not yet started; None when there is none."""
    make = BROKERS[name]
    return make(folder, warden) if make else None
