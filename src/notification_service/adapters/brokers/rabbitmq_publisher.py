"""Puts messages into RabbitMQ and learns which of them are safe."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, cast

import structlog
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError, DeliveryError, PublishError
from aiormq import Channel

from notification_service.adapters.brokers.rabbitmq_link import Line
from notification_service.adapters.brokers.rabbitmq_messages import Outgoing
from notification_service.adapters.brokers.rabbitmq_silences import Silences
from notification_service.domain.errors import BrokerUnavailableError

CONFIRMED_WITHIN = 4.0
"""Seconds for a batch; what is not confirmed by then counts as not published."""
LARGEST_UNCONFIRMED = 5_000
"""A server that hangs takes no more than this from us, also when callers give up and come again."""

log = structlog.get_logger(__name__)


class Publisher:
    """Publishes on one line, any number at once."""

    def __init__(self, line: Line, channel: Channel) -> None:
        """Use a channel with confirms on this line."""
        self._line = line
        self._channel = channel
        self._silences = Silences()
        self._returned = False

    @classmethod
    async def on(cls, line: Line) -> "Publisher":
        """Open a channel for it."""
        return cls(line, cast("Channel", await (await line.channel()).get_underlay_channel()))

    async def publish(self, messages: Sequence[Outgoing]) -> list[bool]:
        """Publish all at once and tell, in the order given, which the server confirmed to be safe."""
        if len(self._channel.confirmations) > LARGEST_UNCONFIRMED:
            self._line.give_up(TimeoutError())
            raise BrokerUnavailableError(
                "RabbitMQ confirms nothing at the moment; look at its alarms and log"
            )
        allowed = [self._silences.allow(each.routing_key) for each in messages]
        calls = [self._confirmed(each) for each, may in zip(messages, allowed, strict=True) if may]
        safe = iter(await _within(CONFIRMED_WITHIN, calls))
        if self._returned:  # a queue is gone: on a new line all is declared anew
            self._line.give_up(ConnectionError("a message was returned"))
        return [may and next(safe) for may in allowed]

    async def _confirmed(self, message: Outgoing) -> bool:
        try:
            await self._channel.basic_publish(
                message.body,
                exchange=message.exchange,
                routing_key=message.routing_key,
                properties=message.properties,
                mandatory=message.mandatory,
                wait=False,
            )
        except PublishError:
            log.error("message_unroutable", routing_key=message.routing_key)  # noqa: TRY400 - its text is the message
            self._returned = True
            return False
        except DeliveryError:
            if message.mandatory:  # else a queue of somebody else's is full, for as long as they like
                log.warning("message_refused", routing_key=message.routing_key)
            return False
        except (AMQPError, ChannelInvalidStateError, OSError):
            return False  # the line is lost, which is said once
        self._silences.end(message.routing_key)
        return True


async def _within(seconds: float, calls: Sequence[Coroutine[Any, Any, bool]]) -> list[bool]:
    """Run all at once; what has not ended in time, or when this is cancelled, is cancelled and False."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
    finally:
        for task in tasks:
            task.cancel()
    return [task.done() and not task.cancelled() and task.result() for task in tasks]
