"""Traces: nothing without a collector, and with one a tree from the request to the provider."""

import asyncio
import subprocess
import sys
import time
import timeit
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from notification_service.observability import tracing
from tests.observability.collector import Collector, plain, running_collector

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = f"00-{TRACE_ID}-00f067aa0ba902b7-01"
OTHER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Run a collector."""
    with running_collector() as running:
        yield running


@pytest.fixture
def traced(collector: Collector) -> Collector:
    """Turn tracing on."""
    assert tracing.configure("notes", "worker", endpoint=collector.url)
    return collector


# --- off ---------------------------------------------------------------------------------------------


def test_without_a_collector_tracing_stays_off() -> None:
    assert not tracing.configure("notes", "api")

    with tracing.span("send notifications") as span:
        span.set("messaging.batch.message_count", 3)

        assert span.traceparent is None


def test_without_a_collector_the_callers_trace_is_carried_on() -> None:
    with tracing.span("send notifications", parent=CALLER) as span:
        assert span.traceparent == CALLER


def test_without_a_collector_opentelemetry_is_not_even_imported() -> None:
    program = (
        "import sys\n"
        "from notification_service.observability import tracing\n"
        "tracing.configure('notes', 'api')\n"
        "with tracing.span('x'): pass\n"
        "tracing.shutdown()\n"
        "sys.exit('opentelemetry' in sys.modules)\n"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_without_a_collector_a_span_costs_next_to_nothing() -> None:
    def work() -> None:
        with tracing.span("process email", kind="consumer", parent=CALLER) as span:
            assert span.traceparent

    best = min(timeit.repeat(work, number=1000, repeat=10)) / 1000

    assert best < 5e-6


def test_without_a_collector_exceptions_pass() -> None:
    with pytest.raises(KeyError), tracing.span("process email"):
        raise KeyError


def test_opentelemetrys_own_switch_turns_it_off(
    monkeypatch: pytest.MonkeyPatch, collector: Collector
) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")

    assert not tracing.configure("notes", "api", endpoint=collector.url)


# --- on ----------------------------------------------------------------------------------------------


def test_spans_arrive_at_the_collector_with_all_they_hold(traced: Collector) -> None:
    attributes: dict[str, tracing.Attribute] = {"messaging.system": "embedded", "sampled": True, "share": 0.5}
    with tracing.span("send notifications", kind="producer", attributes=attributes) as span:
        span.set("messaging.batch.message_count", 3)

    tracing.shutdown()

    arrived = traced.spans()["send notifications"]
    assert arrived.kind == Span.SpanKind.SPAN_KIND_PRODUCER
    assert plain(arrived.attributes) == {**attributes, "messaging.batch.message_count": 3}
    assert arrived.end_time_unix_nano >= arrived.start_time_unix_nano > 0
    assert traced.resource()["service.name"] == "notes"
    assert traced.resource()["service.instance.id"].startswith("worker-")
    assert set(traced.paths) == {"/v1/traces"}


def test_the_environment_may_name_the_collector(
    monkeypatch: pytest.MonkeyPatch, collector: Collector
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"{collector.url}/base/")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "theirs")
    assert tracing.configure("notes", "api")
    with tracing.span("x"):
        pass

    tracing.shutdown()

    assert collector.paths == ["/base/v1/traces"]
    assert collector.resource()["service.name"] == "theirs"


@pytest.mark.parametrize("kind", ["server", "producer", "consumer", "client", "internal"])
def test_each_kind_is_told(traced: Collector, kind: tracing.Kind) -> None:
    with tracing.span("x", kind=kind):
        pass

    tracing.shutdown()

    assert Span.SpanKind.Name(traced.spans()["x"].kind) == f"SPAN_KIND_{kind.upper()}"


def test_one_trace_leads_from_the_request_to_the_provider_call(traced: Collector) -> None:
    """The header is what travels with the message: the worker knows nothing else of the request."""
    with (
        tracing.span("POST /v1/notifications", kind="server", parent=CALLER),
        tracing.span("send notifications", kind="producer") as sending,
    ):
        carried = sending.traceparent
    with (
        tracing.span("process email", kind="consumer", parent=carried),
        tracing.span("smtp", kind="client"),
    ):
        pass

    tracing.shutdown()

    spans = traced.spans()
    path = ["POST /v1/notifications", "send notifications", "process email", "smtp"]
    assert {spans[name].trace_id.hex() for name in path} == {TRACE_ID}
    assert [spans[name].parent_span_id.hex() for name in path] == [
        "00f067aa0ba902b7",
        *(spans[name].span_id.hex() for name in path[:-1]),
    ]


def test_the_header_names_the_span_itself(traced: Collector) -> None:
    with tracing.span("x") as span:
        header = span.traceparent

    tracing.shutdown()

    arrived = traced.spans()["x"]
    assert header == f"00-{arrived.trace_id.hex()}-{arrived.span_id.hex()}-01"
    assert tracing.valid_traceparent(header) == header


def test_a_batch_is_linked_to_the_traces_of_its_items(traced: Collector) -> None:
    with tracing.span("receive email", kind="consumer", links=[CALLER, None, "nonsense", OTHER]):
        pass

    tracing.shutdown()

    links = [
        f"00-{link.trace_id.hex()}-{link.span_id.hex()}-01" for link in traced.spans()["receive email"].links
    ]
    assert links == [CALLER, OTHER]


def test_of_an_exception_only_its_type_is_told(traced: Collector) -> None:
    with pytest.raises(ConnectionError), tracing.span("smtp", kind="client"):
        raise ConnectionError("no relay for ann@example.com")

    tracing.shutdown()

    arrived = traced.spans()["smtp"]
    assert plain(arrived.attributes) == {"error.type": "builtins.ConnectionError"}
    assert arrived.status.code == Status.StatusCode.STATUS_CODE_ERROR
    assert b"ann@example.com" not in arrived.SerializeToString()


def test_a_malformed_parent_begins_a_new_trace(traced: Collector) -> None:
    with tracing.span("x", parent="nonsense") as span:
        header = span.traceparent

    tracing.shutdown()

    assert tracing.valid_traceparent(header) == header is not None
    assert traced.spans()["x"].parent_span_id == b""


async def test_concurrent_tasks_keep_their_own_parents(traced: Collector) -> None:
    async def work(name: str) -> None:
        with tracing.span(f"outer {name}"):
            await asyncio.sleep(0.001)
            with tracing.span(f"inner {name}"):
                await asyncio.sleep(0.001)

    await asyncio.gather(*(work(str(number)) for number in range(5)))
    await asyncio.to_thread(tracing.shutdown)

    spans = traced.spans()
    assert all(
        spans[f"inner {number}"].parent_span_id == spans[f"outer {number}"].span_id for number in range(5)
    )


def test_what_the_caller_does_not_sample_is_not_sent_and_still_carried_on(traced: Collector) -> None:
    with tracing.span("x", parent=CALLER.removesuffix("01") + "00") as span:
        header = span.traceparent

    tracing.shutdown()

    assert header is not None
    assert header.startswith(f"00-{TRACE_ID}-")
    assert header.endswith("-00")
    assert traced.spans() == {}


def test_the_sampler_is_chosen_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, collector: Collector
) -> None:
    """A tenth by parentbased_traceidratio: what a caller samples is sent all the same."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.0")
    tracing.configure("notes", "api", endpoint=collector.url)
    with tracing.span("ours"), tracing.span("below ours"):
        pass
    with tracing.span("theirs", parent=CALLER):
        pass

    tracing.shutdown()

    assert list(collector.spans()) == ["theirs"]


def test_a_collector_that_is_down_disturbs_nobody(free_port: int) -> None:
    tracing.configure("notes", "api", endpoint=f"http://127.0.0.1:{free_port}")
    with tracing.span("x") as span:
        assert span.traceparent
    before = time.monotonic()

    tracing.shutdown()

    assert time.monotonic() - before < 4


# --- header ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (CALLER, CALLER),
        (CALLER[:-2] + "00", CALLER[:-2] + "00"),
        (f"cc-{TRACE_ID}-00f067aa0ba902b7-01-what-the-future-brings", CALLER),
        (f"01-{TRACE_ID}-00f067aa0ba902b7-03", CALLER),
        (None, None),
        ("", None),
        ("nonsense", None),
        (CALLER.upper(), None),
        (f" {CALLER}", None),
        (f"{CALLER}\n", None),
        (f"{CALLER}-more", None),
        (CALLER.replace("00-4", "ff-4"), None),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", None),
        (f"00-{TRACE_ID}-{'0' * 16}-01", None),
        (f"00-{TRACE_ID[:-1]}-00f067aa0ba902b7-01", None),
        (f"cc-{TRACE_ID}-00f067aa0ba902b7-01.what", None),
        (CALLER.replace("4bf9", "４bf9"), None),
    ],
)
def test_only_a_header_after_w3c_trace_context_is_taken(header: str | None, expected: str | None) -> None:
    assert tracing.valid_traceparent(header) == expected


@given(st.text(alphabet="0123456789abcdef-ABC \n", max_size=60))
def test_what_is_taken_is_always_a_header_of_version_00(text: str) -> None:
    taken = tracing.valid_traceparent(text)

    assert taken is None or (len(taken) == 55 and tracing.valid_traceparent(taken) == taken)
