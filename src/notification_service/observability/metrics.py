"""What the service counts and times, and how Prometheus reads it.

To add up several processes call `observability.multiprocess.enable_multiprocess()` before importing this.
"""

from collections.abc import Iterable, Sequence
from functools import cache

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector

from notification_service.observability.multiprocess import is_multiprocess

FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds within a request or a provider call."""
SLOW = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
"""Seconds in a queue: retries and a broker that is down make them long."""
SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """Every metric of one process in a registry of its own; methods take plain values and never fail.

    Labels must come from small, closed sets: channel types, reasons, provider names, route templates.
    """

    def __init__(self, channels: Iterable[str] = ()) -> None:
        """Series of `channels` stand at zero from the start, so that their first event is a rate."""
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no annotation here
        self._registry = CollectorRegistry()
        self._counters()
        self._timers()
        self._batches()
        self._gauges()
        self._http()
        for channel in channels:
            self._created(channel)
            self._sent(channel)
        ProcessCollector(registry=self._registry)

    def accepted(self, channel: str, count: int = 1) -> None:
        """Count notifications that were stored."""
        self._created(channel).inc(count)

    def accept_answered(self, seconds: float) -> None:
        """Time one accepted request, from its arrival to its answer."""
        self._accept_seconds.observe(seconds)

    def accept_batch(self, size: int) -> None:
        """Note how many requests shared one transaction."""
        self._accept_batch.observe(size)

    def claimed(self, channel: str, queue_seconds: Sequence[float]) -> None:
        """Note one claimed batch: how long each of its notifications had been due."""
        observe = self._queue_seconds(channel).observe
        for seconds in queue_seconds:
            observe(max(seconds, 0.0))
        self._claim_batch.observe(len(queue_seconds))

    def provider_answered(self, channel: str, provider: str, seconds: float) -> None:
        """Time one provider call, however it ended."""
        self._provider_seconds(channel, provider).observe(seconds)

    def sent(self, channel: str, accept_to_sent_seconds: float) -> None:
        """Count a notification that its provider took, and the time since it was accepted."""
        self._sent(channel).inc()
        self._accept_to_sent_seconds(channel).observe(max(accept_to_sent_seconds, 0.0))

    def failed(self, reason: str) -> None:
        """Count a notification that became a dead letter."""
        self._failed(reason).inc()

    def settle_batch(self, size: int) -> None:
        """Note how many endings were written down by one statement."""
        self._settle_batch.observe(size)

    def lease_lost(self, count: int = 1) -> None:
        """Count claims whose lease ran out before they were settled."""
        self._lease_lost.inc(count)

    def republished(self, count: int) -> None:
        """Count notifications that the broker lost and that are published again."""
        self._republished.inc(count)

    def replayed(self) -> None:
        """Count a request that got the stored answer of its Idempotency-Key."""
        self._replayed.inc()

    def rate_limited(self, count: int = 1) -> None:
        """Count notifications refused for their receiver's rate limit."""
        self._rate_limited.inc(count)

    def set_backlog(
        self, *, pending: int, queued: int, sending: int, oldest_due_seconds: float, dead_letters: int
    ) -> None:
        """Show how much work there is."""
        self._pending.set(pending)
        self._queued.set(queued)
        self._sending.set(sending)
        self._oldest_due.set(oldest_due_seconds)
        self._dead_letters.set(dead_letters)

    def set_oldest_status_event(self, seconds: float) -> None:
        """Show for how long the longest waiting status event has waited."""
        self._oldest_status_event.set(seconds)

    def http_answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count and time one HTTP answer; `route` is the template, never the path as it was sent."""
        verb = method if method in METHODS else "OTHER"
        self._http_requests(verb, route, str(status)).inc()
        self._http_seconds(verb, route).observe(seconds)

    def render(self) -> tuple[bytes, str]:
        """Return the body and content type of `/metrics`, of all processes when they are several."""
        if not is_multiprocess():
            return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4
        everybody = CollectorRegistry()
        MultiProcessCollector(everybody)  # type: ignore[no-untyped-call]  # the library has no annotation here
        return generate_latest(everybody), CONTENT_TYPE_PLAIN_0_0_4

    # A cached `labels` looks a child up in a dictionary, without the lock and the checks of the library.

    def _counters(self) -> None:
        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(name, meaning, labels, registry=self._registry)

        self._created = cache(counter("notifications_created", "Notifications stored", "channel").labels)
        self._sent = cache(counter("notifications_sent", "Notifications a provider took", "channel").labels)
        self._failed = cache(counter("notifications_failed", "Dead letters", "reason").labels)
        self._lease_lost = counter("notifications_lease_lost", "Claims whose lease ran out")
        self._republished = counter("notifications_republished", "Notifications that the broker had lost")
        self._replayed = counter("idempotent_replays", "Requests answered from their Idempotency-Key")
        self._rate_limited = counter("rate_limited", "Notifications refused for the rate limit")

    def _timers(self) -> None:
        def timer(name: str, meaning: str, buckets: Sequence[float], *labels: str) -> Histogram:
            return Histogram(name, meaning, labels, buckets=buckets, registry=self._registry)

        self._accept_seconds = timer("notification_accept_seconds", "Request to answer", FAST)
        self._queue_seconds = cache(
            timer("notification_queue_seconds", "Due to claimed", SLOW, "channel").labels
        )
        self._provider_seconds = cache(
            timer("notification_provider_seconds", "Provider call", FAST, "channel", "provider").labels
        )
        self._accept_to_sent_seconds = cache(
            timer("notification_accept_to_sent_seconds", "Accepted to sent", SLOW, "channel").labels
        )

    def _batches(self) -> None:
        def sizes(name: str, meaning: str) -> Histogram:
            return Histogram(name, meaning, buckets=SIZES, registry=self._registry)

        self._accept_batch = sizes("notification_accept_batch_size", "Notifications stored at once")
        self._claim_batch = sizes("notification_claim_batch_size", "Notifications claimed at once")
        self._settle_batch = sizes("notification_settle_batch_size", "Endings written at once")

    def _gauges(self) -> None:
        def gauge(name: str, meaning: str) -> Gauge:
            """Every process sees the same database, so the newest reading is the true one."""
            return Gauge(name, meaning, registry=self._registry, multiprocess_mode="mostrecent")

        self._pending = gauge("notifications_pending", "Stored, waiting for their time or the queue")
        self._queued = gauge("notifications_queued", "In the queue that workers read")
        self._sending = gauge("notifications_sending", "Claimed by a worker")
        self._oldest_due = gauge("notifications_oldest_due_seconds", "Wait of the longest due")
        self._dead_letters = gauge("dead_letters", "Dead letters nobody has redriven")
        self._oldest_status_event = gauge("status_events_oldest_seconds", "Wait of the oldest status event")

    def _http(self) -> None:
        requests = Counter(
            "http_requests", "HTTP answers", ("method", "route", "status"), registry=self._registry
        )
        seconds = Histogram(
            "http_request_seconds",
            "HTTP requests",
            ("method", "route"),
            buckets=FAST,
            registry=self._registry,
        )
        self._http_requests = cache(requests.labels)
        self._http_seconds = cache(seconds.labels)
