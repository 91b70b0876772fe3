"""Spans by OpenTelemetry; imported only when tracing is on."""

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from threading import Thread
from types import TracebackType
from typing import Self

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from notification_service.observability.tracing import Attribute, Kind, valid_traceparent

LONGEST_GOODBYE_SECONDS = 3.0

KINDS: dict[Kind, SpanKind] = {
    "server": SpanKind.SERVER,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
    "client": SpanKind.CLIENT,
    "internal": SpanKind.INTERNAL,
}


class RecordedSpan:
    """A span that goes to the collector."""

    __slots__ = ("_current", "_span")

    def __init__(self, current: AbstractContextManager[trace.Span]) -> None:
        self._current = current
        self._span: trace.Span = trace.INVALID_SPAN

    @property
    def traceparent(self) -> str | None:
        """The header that makes others children of this span."""
        context = self._span.get_span_context()
        if not context.is_valid:
            return None
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & 1:02x}"

    def set(self, name: str, value: Attribute) -> None:
        """Add what became known while the work went on."""
        self._span.set_attribute(name, value)

    def __enter__(self) -> Self:
        """Start, and be the parent of the spans opened inside."""
        self._span = self._current.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End; an exception's message may hold an address, so only its type is recorded."""
        if kind is not None:
            self._span.set_attribute("error.type", f"{kind.__module__}.{kind.__qualname__}")
            self._span.set_status(Status(StatusCode.ERROR))
        self._current.__exit__(kind, error, traceback)


class Spans:
    """Makes spans and sends them in batches from a thread of its own."""

    def __init__(self, service_name: str, process: str, endpoint: str) -> None:
        """`endpoint` takes OTLP over HTTP; the sampler is the one OTEL_TRACES_SAMPLER names."""
        self._provider = TracerProvider(resource=Resource.create(_resource(service_name, process)))
        self._exporter = OTLPSpanExporter(endpoint=endpoint)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("notification_service")

    def make(
        self,
        name: str,
        *,
        kind: Kind,
        parent: str | None,
        links: Sequence[str | None],
        attributes: Mapping[str, Attribute] | None,
    ) -> RecordedSpan:
        """Prepare a span; it starts when it is entered."""
        contexts = [context for context in map(_context, links) if context is not None]
        current = self._tracer.start_as_current_span(
            name,
            context=_below(parent),
            kind=KINDS[kind],
            attributes=attributes,
            links=[Link(context) for context in contexts],
            record_exception=False,
            set_status_on_exception=False,
        )
        return RecordedSpan(current)

    def close(self) -> None:
        """Send what is left and stop; gives up on a collector that is down."""
        goodbye = Thread(target=self._provider.shutdown, daemon=True)
        goodbye.start()
        goodbye.join(LONGEST_GOODBYE_SECONDS)
        if goodbye.is_alive():
            # Wakes it from the wait before its next try.
            self._exporter.shutdown()  # type: ignore[no-untyped-call]  # the library has no annotation here


def _resource(service_name: str, process: str) -> dict[str, str]:
    """Describe this process; a service name set the way OpenTelemetry does wins over ours."""
    described = {"service.instance.id": f"{process}-{os.getpid()}"}
    return described if os.environ.get("OTEL_SERVICE_NAME") else described | {"service.name": service_name}


def _below(parent: str | None) -> Context | None:
    """Return the context of a caller elsewhere, or None for the span that is open here."""
    context = _context(parent)
    return trace.set_span_in_context(NonRecordingSpan(context), Context()) if context else None


def _context(traceparent: str | None) -> SpanContext | None:
    checked = valid_traceparent(traceparent)
    if checked is None:
        return None
    _, trace_id, span_id, flags = checked.split("-")
    return SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16))
    )
