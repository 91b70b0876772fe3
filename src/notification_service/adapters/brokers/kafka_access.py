"""How a Kafka cluster is reached, and what to say when it isn't."""

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, override

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import (
    AuthenticationFailedError,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)
from aiokafka.helpers import create_ssl_context

from notification_service.domain.errors import BrokerUnavailableError

CLOSING = timedelta(seconds=2)
"""How long a client may take to say goodbye: without a broker it would never be done."""
RECENT = timedelta(seconds=10)
OUTAGES = (KafkaError, OSError, AssertionError)  # TimeoutError is an OSError; aiokafka asserts what it misses

log = structlog.get_logger(__name__)


class _Refusals(logging.Handler):
    """Remembers why no connection came about: aiokafka writes that into its log and raises something else."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._last: tuple[float, Exception] | None = None

    @override
    def emit(self, record: logging.LogRecord) -> None:
        for each in record.args or ():
            if isinstance(each, Exception):
                self._last = (time.monotonic(), each)

    @property
    def last(self) -> Exception | None:
        """The reason, unless it is an old one."""
        if self._last and time.monotonic() - self._last[0] < RECENT.total_seconds():
            return self._last[1]
        return None


# It tells each failed attempt of each client; one line for each outage is ours to write.
_refusals = _Refusals()
_library = logging.getLogger("aiokafka")
_library.setLevel(logging.ERROR)
_library.propagate = False
_library.addHandler(_refusals)


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaAccess:
    """Addresses and credentials, as every client of the cluster needs them."""

    bootstrap: str
    """`host:port`, comma separated."""
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str = "PLAIN"
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)
    ssl_cafile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None

    def arguments(self, *, request_timeout: timedelta) -> dict[str, Any]:
        """What to construct a client of aiokafka with."""
        encrypted = self.security_protocol.endswith("SSL")
        return {
            "bootstrap_servers": self.bootstrap,
            "client_id": "notification-service",
            "request_timeout_ms": round(request_timeout.total_seconds() * 1000),
            "security_protocol": self.security_protocol,
            "ssl_context": self._ssl_context() if encrypted else None,
            "sasl_mechanism": self.sasl_mechanism,
            "sasl_plain_username": self.sasl_username,
            "sasl_plain_password": self.sasl_password,
        }

    def unavailable(self, error: BaseException) -> BrokerUnavailableError:
        """What to raise, with a reason that says what to do and holds no secret."""
        if isinstance(error, BrokerUnavailableError):
            return error
        return BrokerUnavailableError(self.reason(error))

    def reason(self, error: BaseException) -> str:
        """Say what to do about it."""
        if type(error) is KafkaConnectionError:
            error = _refusals.last or error
        match error:
            case AuthenticationFailedError() | SaslAuthenticationFailed() | UnsupportedSaslMechanismError():
                return "Kafka refuses this user; correct NS_KAFKA_SASL_USERNAME, _PASSWORD and _MECHANISM"
            case TopicAuthorizationFailedError() | GroupAuthorizationFailedError():
                return (
                    "Kafka does not let this user in; let it create, read and write the topics of NS_KAFKA_*"
                )
            case ssl.SSLError():
                return f"TLS with Kafka fails ({error.reason}); correct NS_KAFKA_SSL_*"
            case TimeoutError():
                return f"Kafka at {self.bootstrap} does not answer"
            case _:
                kind = type(error).__name__
                return f"Kafka is out of reach ({kind}); start it at {self.bootstrap} or correct NS_KAFKA_*"

    def _ssl_context(self) -> Any:
        return create_ssl_context(
            cafile=self.ssl_cafile, certfile=self.ssl_certfile, keyfile=self.ssl_keyfile
        )


class Outage:
    """Which parts of the adapter have lost the cluster: one line when the first does, one when none has."""

    def __init__(self) -> None:
        """Nothing has been reached yet."""
        self._lost: set[str] = set()
        self._reached = False

    def lost(self, part: str, reason: str) -> None:
        """A part is cut off; repeated, it says nothing."""
        if not self._lost:
            log.warning("broker_lost", broker="kafka", part=part, reason=reason)
        self._lost.add(part)

    def reached(self, part: str) -> None:
        """A part works."""
        if self._lost == {part} or not (self._lost or self._reached):
            log.info("broker_connected", broker="kafka")
        self._lost.discard(part)
        self._reached = True


async def bounded(closing: Awaitable[Any], within: timedelta = CLOSING) -> None:
    """Wait for a client's end, but not for ever, and whatever comes of it.

    In a task of its own: aiokafka lets the cancelling of its own tasks out of `stop` as if it were ours.
    """
    task = asyncio.ensure_future(closing)
    done, _ = await asyncio.wait([task], timeout=within.total_seconds())
    if not done:
        task.cancel()
    elif not task.cancelled():
        task.exception()


async def close_consumer(consumer: AIOKafkaConsumer) -> None:
    """Leave the group if that goes quickly; then make sure that nothing of the consumer goes on."""
    await bounded(consumer.stop())
    for part in (consumer._coordinator, consumer._fetcher, consumer._client):
        if part is not None:
            await bounded(part.close())


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel a task of ours and wait for its end."""
    task.cancel()
    await asyncio.wait([task])
