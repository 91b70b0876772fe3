"""Puts messages into RabbitMQ and learns which of them are safe."""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, cast

import structlog
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError, DeliveryError, PublishError
from aiormq import Channel

from notification_service.adapters.brokers.rabbitmq_link import Line
from notification_service.adapters.brokers.rabbitmq_messages import Outgoing
from notification_service.adapters.brokers.rabbitmq_silences import Silences, SilentError

CONFIRMED_WITHIN = 4.0
"""Seconds for a batch; what is not confirmed by then counts as not published."""
LARGEST_UNCONFIRMED = 5_000
"""A server that hangs takes no more than this from us, also when callers give up and come again."""

log = structlog.get_logger(__name__)


class Publisher:
    """Publishes on one line, any number at once."""

    def __init__(self, line: Line, silences: Silences) -> None:
        """Use this line; `silences` outlives it."""
        self._line = line
        self._silences = silences
        self._channels: dict[str, Channel] = {}
        """One for each routing key: a queue that hangs blocks the whole channel in the server."""
        self._opening = asyncio.Lock()
        self._returned = False
        silences.renew()

    async def publish(self, messages: Sequence[Outgoing]) -> list[bool]:
        """Publish all at once and tell, in the order given, which the server confirmed to be safe."""
        try:
            self._check_room()
            allowed = [self._silences.allow(each.routing_key) for each in messages]
            await self._open({each.routing_key for each in messages})
        except (SilentError, AMQPError, ChannelInvalidStateError, OSError) as error:
            self._line.give_up(TimeoutError() if isinstance(error, SilentError) else error)
            raise SilentError from None
        calls = [self._confirmed(each) for each, may in zip(messages, allowed, strict=True) if may]
        safe = iter(await _within(CONFIRMED_WITHIN, calls))
        if self._returned:  # a queue is gone: on a new line all is declared anew
            self._line.give_up(ConnectionError("a message was returned"))
        return [may and next(safe) for may in allowed]

    def _check_room(self) -> None:
        if sum(len(each.confirmations) for each in self._channels.values()) > LARGEST_UNCONFIRMED:
            raise SilentError

    async def _open(self, routing_keys: Iterable[str]) -> None:
        if self._channels.keys() >= set(routing_keys):
            return
        async with self._opening:
            for key in set(routing_keys).difference(self._channels):
                channel = await self._line.channel()
                self._channels[key] = cast("Channel", await channel.get_underlay_channel())

    async def _confirmed(self, message: Outgoing) -> bool:
        try:
            await self._channels[message.routing_key].basic_publish(
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
            safe = False
        except DeliveryError:
            if message.mandatory:  # else a queue of somebody else's is full, for as long as they like
                log.warning("message_refused", routing_key=message.routing_key)
            safe = False
        except (AMQPError, ChannelInvalidStateError, OSError):
            return False  # the line is lost, which is said once
        else:
            safe = True
        self._silences.end(message.routing_key)
        return safe


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
