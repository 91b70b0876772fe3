"""A worker: claims due work, sends it, and writes down what came of it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

import structlog

from notification_service.application.batcher import Batcher
from notification_service.application.burial import bury
from notification_service.application.failing import Failing
from notification_service.application.pausing import pause
from notification_service.domain.channels import ChannelType
from notification_service.domain.errors import AmbiguousDeliveryError, DeliveryError, UnavailableError
from notification_service.domain.events import Letter, Parcel, buried
from notification_service.domain.notification import (
    Claim,
    Entry,
    Outcome,
    Reason,
    Settlement,
    Status,
)
from notification_service.domain.retry import RetryPolicy, Verdict, judge
from notification_service.observability.metrics import Metrics
from notification_service.observability.tracing import Span, span
from notification_service.ports import Broker, NotificationStore, Provider

AGAIN = timedelta(seconds=0.5)
"""How long to wait before asking a store again that was out of reach."""
GRACE = timedelta(seconds=0.5)
"""How long the provider, which knows how far a call came, has to say so after its deadline."""
SETTLE_PATIENCE = timedelta(seconds=10)
LARGEST_SETTLEMENT = 500
LONGEST_DETAIL = 500
LONGEST_ERROR_CODE = 64

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How one channel is delivered."""

    provider: Provider
    policy: RetryPolicy
    concurrency: int
    """Claims in hand: sending, or sent and not yet written down. Never more than the provider takes at once,
    so that none spends its time waiting for its turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long a worker may take over what it claimed."""

    lease: timedelta
    send_timeout: timedelta
    """The provider's own deadline; the worker's backstop comes `GRACE` later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ending:
    """How one provider call ended."""

    error: DeliveryError | None
    confirmed: bool = False


class _Slots:
    """How many more claims one channel may have in hand."""

    def __init__(self, size: int) -> None:
        self.free = size
        self._some = asyncio.Event()
        self._some.set()

    async def some_free(self) -> bool:
        await self._some.wait()
        return True

    def take(self, count: int) -> None:
        self.free -= count
        if not self.free:
            self._some.clear()

    def give_back(self, _: object) -> None:
        self.free += 1
        self._some.set()


class Deliver:
    """The use case of a worker. Any number may run: claims keep them apart."""

    def __init__(
        self,
        *,
        store: NotificationStore,
        broker: Broker,
        routes: Mapping[ChannelType, Route],
        pace: Pace,
        intake: Callable[[Sequence[Letter]], Awaitable[None]],
        metrics: Metrics,
        random: Callable[[], float],
    ) -> None:
        """Deliver what `routes` knows how to; messages that are not our events go to `intake`.

        `random` gives numbers in [0, 1) for the jitter of retries.
        """
        self._store = store
        self._broker = broker
        self._routes = routes
        self._pace = pace
        self._intake = intake
        self._failing = Failing()
        self._metrics = metrics
        self._random = random

    @property
    def channels(self) -> frozenset[ChannelType]:
        """What this worker can deliver."""
        return frozenset(self._routes)

    async def run(self, *, channels: Iterable[ChannelType], stopping: asyncio.Event) -> None:
        """Deliver until `stopping` is set; then claim nothing more and return when all in hand is settled."""
        settlements: Batcher[Settlement, bool] = Batcher(
            self._settle, largest=LARGEST_SETTLEMENT, capacity=1_000_000, patience=SETTLE_PATIENCE
        )
        wanted = self.channels.intersection(channels)
        async with self._broker.consuming(wanted), settlements, asyncio.TaskGroup() as tasks:
            for channel in sorted(wanted):
                tasks.create_task(self._pump(channel, stopping, settlements, tasks))

    async def _pump(
        self,
        channel: ChannelType,
        stopping: asyncio.Event,
        settlements: Batcher[Settlement, bool],
        tasks: asyncio.TaskGroup,
    ) -> None:
        """Keep one channel's slots filled; a slow channel never takes another's."""
        slots = _Slots(self._routes[channel].concurrency)
        more = True
        while await _unless(stopping, slots.some_free()):
            free = slots.free
            parcel = await _unless(stopping, self._receive(channel, limit=free, more=more))
            if parcel is None:
                return
            claimed = await self._claimed(channel, parcel, free, stopping)
            if claimed is None:  # the parcel stays with the broker
                return
            claims, asked_at = claimed
            more = len(claims) == free
            slots.take(len(claims) + len(parcel.letters))
            work = [self._deliver(claim, settlements, asked_at) for claim in claims]
            tasks.create_task(self._work_off(parcel, work, slots))

    async def _receive(self, channel: ChannelType, *, limit: int, more: bool) -> Parcel:
        while True:
            try:
                parcel = await self._broker.receive(channel, limit=limit, more=more)
            except UnavailableError as error:
                self._failing.met("receive_failed", error)
            except Exception:  # one channel's trouble is not the others'
                log.exception("receive_failed", channel=channel)
            else:
                self._failing.works("receive_failed")
                return parcel
            await asyncio.sleep(AGAIN.total_seconds())

    async def _work_off(
        self, parcel: Parcel, work: Sequence[Coroutine[Any, Any, None]], slots: _Slots
    ) -> None:
        """Deliver what a parcel led to, and tell the broker once all of it is written down."""
        async with asyncio.TaskGroup() as deliveries:
            for each in work:
                deliveries.create_task(each).add_done_callback(slots.give_back)
            if parcel.letters:
                taking_in = deliveries.create_task(self._take_in(parcel.letters))
                for _ in parcel.letters:
                    taking_in.add_done_callback(slots.give_back)
        await self._broker.settled(parcel)

    async def _take_in(self, letters: Sequence[Letter]) -> None:
        """Write the letters down, however long the store is out of reach."""
        while True:
            try:
                await self._intake(letters)
            except UnavailableError as error:
                self._failing.met("intake_failed", error)
            else:
                self._failing.works("intake_failed")
                return
            await asyncio.sleep(AGAIN.total_seconds())

    async def _claimed(
        self, channel: ChannelType, parcel: Parcel, limit: int, stopping: asyncio.Event
    ) -> tuple[Sequence[Claim], float] | None:
        """The parcel's claims and when they were asked for, monotonic; None when it is time to stop.

        Asks until the store answers, since the broker hands a parcel out only once.
        """
        while not stopping.is_set():
            asked_at = monotonic()
            claims = await self._claim(channel, parcel, limit)
            if claims is not None:
                return claims, asked_at
            await pause(AGAIN.total_seconds(), unless=stopping)
        return None

    async def _claim(self, channel: ChannelType, parcel: Parcel, limit: int) -> Sequence[Claim] | None:
        """None when the store did not answer: nobody knows whether anything was claimed."""
        if parcel.ids == ():
            return ()
        try:
            claims = await self._store.claim(channel, limit=limit, lease=self._pace.lease, ids=parcel.ids)
        except UnavailableError as error:
            self._failing.met("claim_failed", error)
            return None
        except Exception:  # one channel's trouble is not the others'
            log.exception("claim_refused", channel=channel)
            return None
        self._failing.works("claim_failed")
        if claims:
            waited = [(claim.claimed_at - claim.notification.due_at).total_seconds() for claim in claims]
            self._metrics.claimed(channel, waited)
        return claims

    async def _deliver(self, claim: Claim, settlements: Batcher[Settlement, bool], asked_at: float) -> None:
        """Send one claim and write down what came of it; `asked_at` is when it was asked for, monotonic."""
        trail, channel = claim.notification.trail, claim.notification.channel_type
        with (
            structlog.contextvars.bound_contextvars(
                notification_id=str(claim.notification.id),
                request_id=trail.request_id,
                correlation_id=trail.correlation_id,
            ),
            span(f"process {channel}", kind="consumer", parent=trail.traceparent) as work,
        ):
            settlement = await self._attempt(claim, work, asked_at)
            if await self._write_down(settlement, settlements):
                self._tell(settlement)
                if settlement.dead_letter and settlement.reason:
                    await bury(self._broker, [buried(claim.notification, settlement.reason)])

    async def _attempt(self, claim: Claim, work: Span, asked_at: float) -> Settlement:
        # The lease began after it was asked for, so this age is never too young.
        age = timedelta(seconds=monotonic() - asked_at)
        expires_at = claim.notification.expires_at
        if expires_at and expires_at <= claim.claimed_at + age:
            return _decided(claim, Status.EXPIRED, Reason.EXPIRED, Outcome.EXPIRED)
        if age + self._pace.send_timeout + GRACE >= self._pace.lease:
            # A frozen process wakes up: another may hold this already, so nothing is sent.
            return _decided(claim, Status.PENDING, Reason.LEASE_EXPIRED, Outcome.HELD, delay=timedelta())
        began = monotonic()
        ending = await self._send(claim, work)
        finished_at = claim.claimed_at + timedelta(seconds=monotonic() - began)
        verdict = judge(
            ending.error,
            attempts=claim.attempts_in_budget + 1,
            policy=self._routes[claim.notification.channel_type].policy,
            jitter=self._random(),
            confirmed=ending.confirmed,
        )
        provider = self._routes[claim.notification.channel_type].provider.name
        return _settlement(claim, verdict, ending.error, provider=provider, finished_at=finished_at)

    async def _send(self, claim: Claim, work: Span) -> _Ending:
        channel = claim.notification.channel_type
        provider = self._routes[channel].provider
        work.set("messaging.message.id", str(claim.notification.id))
        began = monotonic()
        try:
            return _Ending(error=None, confirmed=await self._call(provider, claim, work.traceparent))
        except DeliveryError as error:
            return _Ending(error=error)
        finally:
            self._metrics.provider_answered(channel, provider.name, monotonic() - began)

    async def _call(self, provider: Provider, claim: Claim, traceparent: str | None) -> bool:
        """Whether the provider, which took the message, also vouches for its arrival."""
        try:
            message = claim.message()
            carried = replace(message, trail=replace(message.trail, traceparent=traceparent))
            async with asyncio.timeout((self._pace.send_timeout + GRACE).total_seconds()):
                return (await provider.send(carried)).confirmed
        except DeliveryError:
            raise
        except TimeoutError:
            raise AmbiguousDeliveryError(
                "no answer within NS_SEND_TIMEOUT_SECONDS", provider=provider.name, error_code="timeout"
            ) from None
        except Exception as error:
            # A fault in the provider's own code: nobody knows how far it came.
            log.exception("provider_faulty", provider=provider.name)
            raise AmbiguousDeliveryError(
                "the provider's adapter failed", provider=provider.name, error_code=type(error).__name__
            ) from error

    async def _write_down(self, settlement: Settlement, settlements: Batcher[Settlement, bool]) -> bool:
        """Settle, however long the store is out of reach; false when another had taken over meanwhile."""
        while True:
            try:
                return await settlements.submit(settlement)
            except UnavailableError as error:
                self._failing.met("settle_failed", error)
                await asyncio.sleep(AGAIN.total_seconds())
            except Exception:
                # The sweeper takes it up when the lease has run out.
                log.exception("settle_refused")
                return False

    async def _settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        effective = await self._store.settle(settlements)
        self._failing.works("settle_failed")
        self._metrics.settle_batch(len(settlements))
        return [each.claim.notification.id in effective for each in settlements]

    def _tell(self, settlement: Settlement) -> None:
        notification = settlement.claim.notification
        facts = {"channel": notification.channel_type, "attempt": settlement.claim.attempt}
        match settlement.status:
            case Status.SENT | Status.DELIVERED:
                took = settlement.entry.finished_at - notification.created_at
                self._metrics.sent(notification.channel_type, took.total_seconds())
                log.info("delivered", provider=settlement.entry.provider, **facts)
            case Status.PENDING:
                code = settlement.entry.error_code
                log.info(
                    "retry_scheduled", error_code=code, delay_seconds=_seconds(settlement.delay), **facts
                )
            case Status.FAILED:
                self._metrics.failed(settlement.reason or Reason.PROVIDER_REJECTED)
                log.warning(
                    "sent_to_dlq", reason=settlement.reason, error_code=settlement.entry.error_code, **facts
                )
            case _:
                log.info("not_sent", reason=settlement.reason, **facts)


async def _unless[Result](stopping: asyncio.Event, awaitable: Awaitable[Result]) -> Result | None:
    """The awaitable's result; None, and the awaitable cancelled, once `stopping` is set."""
    work = asyncio.ensure_future(awaitable)
    stop = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        return work.result() if work.done() and not stopping.is_set() else None
    finally:
        work.cancel()
        stop.cancel()


def _settlement(
    claim: Claim, verdict: Verdict, error: DeliveryError | None, *, provider: str, finished_at: datetime
) -> Settlement:
    entry = Entry(
        kind="attempt",
        outcome=verdict.outcome,
        provider=provider,
        started_at=claim.claimed_at,
        finished_at=finished_at,
        error_code=_printable(error.error_code)[:LONGEST_ERROR_CODE] if error else None,
        detail=_printable(error.detail)[:LONGEST_DETAIL] if error else None,
    )
    return Settlement(
        claim=claim,
        status=verdict.status,
        reason=verdict.reason,
        entry=entry,
        delay=verdict.delay,
        dead_letter=verdict.is_dead,
    )


def _decided(
    claim: Claim, status: Status, reason: Reason, outcome: Outcome, *, delay: timedelta | None = None
) -> Settlement:
    """What ends a claim without an attempt."""
    moment = claim.claimed_at
    entry = Entry(kind="decision", outcome=outcome, started_at=moment, finished_at=moment)
    return Settlement(claim=claim, status=status, reason=reason, entry=entry, delay=delay)


def _printable(detail: str) -> str:
    """What a database takes and a page shows."""
    return "".join(each if each.isprintable() else " " for each in detail)


def _seconds(delay: timedelta | None) -> float:
    return round(delay.total_seconds(), 3) if delay else 0.0
