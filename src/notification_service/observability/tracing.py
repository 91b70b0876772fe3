"""Spans that follow a notification from the HTTP request through the queue to the provider call.

Tracing is off until `configure()` finds a collector; then a span costs a function call and OpenTelemetry is
not even imported. Attributes hold no address, body or secret. Their names are OpenTelemetry's:

- `messaging.system` (`embedded`, `kafka`, `rabbitmq`), `messaging.destination.name` (the topic or queue),
  `messaging.operation.type` (`create`, `send`, `receive`, `process`, `settle`), `messaging.operation.name`,
  `messaging.message.id` (the notification's id), `messaging.batch.message_count`;
- `http.request.method`, `http.route`, `http.response.status_code` for the server's span;
- `server.address` and `error.type` (set here when a span ends by an exception).

A span is named `{operation} {destination}` (`send notifications`, `process email`) or `{method} {route}`.
"""

import asyncio
import os
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol, Self

if TYPE_CHECKING:
    from notification_service.observability.spans import Spans

type Kind = Literal["server", "producer", "consumer", "client", "internal"]
type Attribute = str | bool | int | float

TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)


class Span(Protocol):
    """A piece of work that is timed; a context manager."""

    @property
    def traceparent(self) -> str | None:
        """The W3C header that makes others children of this span, or what was carried here."""

    def set(self, name: str, value: Attribute) -> None:
        """Add what became known while the work went on."""

    def __enter__(self) -> Self:
        """Start."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End; of an exception only the type is recorded."""


class CarriedSpan:
    """No span: passes the caller's traceparent on as it came."""

    __slots__ = ("traceparent",)

    def __init__(self, traceparent: str | None) -> None:
        self.traceparent = traceparent

    def set(self, name: str, value: Attribute) -> None:
        """Do nothing."""

    def __enter__(self) -> Self:
        """Do nothing."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Do nothing."""


_spans: "Spans | None" = None


def configure(service_name: str, process: str, *, endpoint: str | None = None) -> bool:
    """Turn tracing on when a collector is named; return whether it is on.

    `endpoint` is the base URL of an OTLP/HTTP collector, by default OTEL_EXPORTER_OTLP_ENDPOINT. The other
    variables of OpenTelemetry count too: OTEL_TRACES_SAMPLER(_ARG), OTEL_SERVICE_NAME, OTEL_SDK_DISABLED, …
    To be called once by each process, after it was forked.
    """
    global _spans  # noqa: PLW0603 - one tracer for each process, like the log
    shutdown()
    if not (target := _target(endpoint)):
        return False
    from notification_service.observability.spans import Spans  # noqa: PLC0415 - takes 100 ms, only when on

    _spans = Spans(service_name, process, target)
    return True


def shutdown() -> None:
    """Send what is left to the collector and turn tracing off.

    Blocks, for up to three seconds when the collector is down; call it in a thread where a loop runs.
    """
    global _spans
    spans, _spans = _spans, None
    if spans is not None:
        spans.close()


@asynccontextmanager
async def tracing(service_name: str, process: str, *, endpoint: str | None) -> AsyncGenerator[None]:
    """Trace within the block when a collector is named, and send it what is left at the end."""
    configure(service_name, process, endpoint=endpoint)
    try:
        yield
    finally:
        await asyncio.to_thread(shutdown)


def span(
    name: str,
    *,
    kind: Kind = "internal",
    parent: str | None = None,
    links: Sequence[str | None] = (),
    attributes: Mapping[str, Attribute] | None = None,
) -> Span:
    """Prepare the timing of a piece of work, which the `with` statement starts and ends.

    `parent` is a traceparent, by default the span that is open around this one. `links` are the traceparents
    of the items of a batch, which has no one parent; those that are None or malformed are passed over.
    """
    if _spans is None:
        return CarriedSpan(parent)
    return _spans.make(name, kind=kind, parent=parent, links=links, attributes=attributes)


def valid_traceparent(value: str | None) -> str | None:
    """Return the header as version 00 of W3C Trace Context writes it, or None when it is malformed."""
    match = TRACEPARENT.fullmatch(value or "")
    if not match:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more) or not (trace_id.strip("0") and span_id.strip("0")):
        return None
    return value if version == "00" else f"00-{trace_id}-{span_id}-{int(flags, 16) & 1:02x}"


def _target(endpoint: str | None) -> str | None:
    """Return the URL that takes traces, or None when tracing is off."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    whole = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "").strip()
    base = (endpoint or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")).strip()
    return whole or (f"{base.rstrip('/')}/v1/traces" if base else None)
