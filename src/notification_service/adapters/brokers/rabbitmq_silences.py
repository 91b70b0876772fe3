"""Which queues RabbitMQ confirms nothing for, so that one that hangs doesn't hold up the others."""

from time import monotonic

import structlog

from notification_service.domain.errors import BrokerUnavailableError

TOO_LONG = 3.0
"""Seconds without any confirm after which a queue counts as silent."""
TRIED_AGAIN_AFTER = 15.0

log = structlog.get_logger(__name__)


class SilentError(BrokerUnavailableError):
    """RabbitMQ confirms nothing; look at its alarms, its log, and whether it serves every queue"""


class Silences:
    """What has been waited for and how long, by routing key.

    RabbitMQ stops reading a connection that has sent too much to a queue that hangs. So what is found silent
    is worth a new connection; on that one each queue that owed a confirm gets a single message, and more
    once this is confirmed.
    """

    def __init__(self) -> None:
        """Begin with nothing waited for."""
        self._since: dict[str, float] = {}
        self._next_try: dict[str, float] = {}

    def allow(self, routing_key: str) -> bool:
        """Whether to publish by this key now; raises `SilentError` when it is just found to be silent."""
        now = monotonic()
        if routing_key in self._next_try:
            return self._try(routing_key, now)
        if now - self._since.setdefault(routing_key, now) < TOO_LONG:
            return True
        log.warning("queue_confirms_nothing", broker="rabbitmq", routing_key=routing_key)
        self._next_try.update(dict.fromkeys(self._since, now))
        raise SilentError

    def renew(self) -> None:
        """Wait for nothing any more: there is a new connection."""
        self._since.clear()

    def end(self, routing_key: str) -> None:
        """Note that something was confirmed."""
        self._since.pop(routing_key, None)
        self._next_try.pop(routing_key, None)

    def _try(self, routing_key: str, now: float) -> bool:
        if now < self._next_try[routing_key]:
            return False
        self._next_try[routing_key] = now + TRIED_AGAIN_AFTER
        return True
